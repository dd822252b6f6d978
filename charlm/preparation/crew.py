"""Several processes that work on pieces, or none: then the work is done in this one."""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from charlm.errors import DataError
from charlm.preparation.work import Found, Task, do

LARGE_BYTES = 1 << 26  # what is smaller is done before more processes have started


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def jobs_for(paths: Iterable[Path]) -> int:
    """How many processes are worth their while for these sources."""
    size_bytes = sum(path.stat().st_size for path in paths if path.is_file())
    return cores() if size_bytes >= LARGE_BYTES else 1


class Crew:
    """A context manager; the processes start with the first task and end with the context."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._started: list[subprocess.Popen[str]] = []
        self._idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()

    def __enter__(self) -> "Crew":
        self._pool = ThreadPoolExecutor(self.jobs)  # a thread waits for each process
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._started:
            process.kill()
        self._pool.shutdown(cancel_futures=True)
        for process in self._started:
            process.communicate()

    def work(self, tasks: Iterable[Task]) -> Iterator[Found]:
        """What is found in each piece, in the order of the tasks, which are not made far ahead.

        Raises DataError where a text cannot be used, and ChildProcessError where a process ended.
        """
        if self.jobs == 1:
            yield from map(do, tasks)
            return
        while len(self._started) < self.jobs:
            self._start()
        waiting: deque[Future[Found]] = deque()
        for task in tasks:
            waiting.append(self._pool.submit(self._hand_over, task))
            if len(waiting) >= 2 * self.jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _start(self) -> None:
        # It finds charlm where this process has found it, and no module in the current directory
        # (-P), and shares the cores with the others.
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        settings = {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "RAYON_NUM_THREADS": str(max(1, cores() // self.jobs)),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "charlm.preparation.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
            env=os.environ | settings,
            process_group=0,  # an interrupt is for the one that has started it
        )
        self._started.append(process)
        self._idle.put(process)

    def _hand_over(self, task: Task) -> Found:
        process = self._idle.get()
        assert process.stdin is not None
        assert process.stdout is not None
        line = ""
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            pass
        finally:
            self._idle.put(process)
        if not line.endswith("\n"):
            raise ChildProcessError(
                None, "it ended before its work was done, maybe for lack of memory", "a process"
            )
        answer = json.loads(line)
        if "refused" in answer:
            raise DataError(answer["refused"])
        if "failed" in answer:
            raise OSError(*answer["failed"])
        return answer["found"]
