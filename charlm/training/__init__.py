"""Fitting a network to a corpus: the only room that needs torch."""

import os

# torch's threads wait for each other by spinning, by default for milliseconds. Beside two busy
# processes on the same two cores that costs nearly everything: an LSTM 1x384 read 361 characters/s
# instead of 35,000. With 1,000 to 10,000 spins it read 4,600 to 14,200 there, and 34,300 to 34,500
# on a quiet machine. The variable is read when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
