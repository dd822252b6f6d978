"""Fitting a network to a corpus: the only room that needs torch."""

import ctypes
import os
import sys

# torch's threads wait for each other by spinning, by default for milliseconds. Beside two busy
# processes on the same two cores that costs nearly everything: an LSTM 1x384 read 361 characters/s
# instead of 35,000. With 1,000 to 10,000 spins it read 4,600 to 14,200 there, and 34,300 to 34,500
# on a quiet machine. The variable is read when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# An update's arrays are as large as the last one's, but glibc gives memory of their size back to
# the system each time, which then clears it anew, page by page. Kept, and in large pages, an LSTM
# 1x512 of 32 rows read 18,500 characters/s instead of 13,300, and a minLSTM took half the time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
    TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # of malloc.h
    libc.mallopt(MMAP_MAX, 0)
    libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(TOP_PAD, 1 << 26)
