"""`python -IS forked.py SERVER ARGS` is `charlm ARGS`, in a child that a fork server makes.

It hands the child its streams, environment and working directory, passes on the signals that it
gets, and ends as the child ends. Where the environment has what only the start of an interpreter
reads, it starts one. It imports little, as it runs for each command of the tests.
"""

import array
import os
import signal
import socket
import sys

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def main(address: str, args: list[str]) -> None:
    """Runs the command, and does not come back."""
    environment = [f"{name}={value}" for name, value in os.environ.items()]
    request = os.fsencode("\0".join([os.getcwd(), *args, "", *environment]))
    open_streams = [number for number in range(3) if is_open(number)]
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    header = b"%d %s" % (len(request), b"".join(b"%d" % number for number in open_streams))
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", open_streams))
    server.sendmsg([header.ljust(32)], [rights] if open_streams else [])
    server.sendall(request)
    answers = server.makefile("rb")
    child = int(answers.readline())
    if not child:
        os.execv(sys.executable, [sys.executable, "-m", "charlm", *args])
    for number in PASSED_ON:
        signal.signal(number, lambda number, frame: os.kill(child, number))
    for number in open_streams:
        os.close(number)  # the child alone holds its pipes
    status = int(answers.readline())
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def is_open(number: int) -> bool:
    """Whether there is such a standard stream."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
