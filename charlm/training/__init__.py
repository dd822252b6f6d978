"""Fitting a network to a corpus: the only room that needs torch."""

import os

# torch's threads wait for each other by spinning, by default for milliseconds. Beside another busy
# process on the same cores that costs nearly everything: an LSTM 1x384 on two cores read 361
# characters/s instead of 35,000. Spinning for microseconds costs nothing when the machine is quiet
# (34,300) and keeps a loaded one at 5,000 to 14,000. It is read when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
