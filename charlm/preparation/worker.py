"""A process that works on pieces: tasks come on stdin, a line each, and answers go to stdout.

It ends when its stdin does, and so with the process that has started it.
"""

import errno
import json
import os
import signal
import sys
from contextlib import suppress

from charlm import streams
from charlm.errors import CharlmError
from charlm.preparation.work import do


def main() -> None:
    """Answers every task with what was found, or with what is wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that has started it decides
    streams.prepare()
    for line in sys.stdin:
        try:
            answer = {"found": do(json.loads(line))}
        except CharlmError as error:
            answer = {"refused": str(error)}
        except OSError as error:
            answer = {"failed": [error.errno, error.strerror, error.filename]}
        except MemoryError:
            answer = {"failed": [errno.ENOMEM, os.strerror(errno.ENOMEM)]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # nobody waits for the answer any more
        main()
