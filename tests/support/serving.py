"""A `charlm serve` in a process of its own, for tests."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass

PATIENCE_S = 60  # the cores may be busy


@dataclass
class Served:
    """A running server: its process, and where it listens."""

    process: subprocess.Popen
    address: tuple[str, int]

    @property
    def url(self):
        return f"http://{self.address[0]}:{self.address[1]}"

    def get(self, path, **headers):
        """The status and the text that a GET gives."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def complete(self, **values):
        """The status and the object that a request for a completion gives."""
        body = json.dumps(values).encode()
        request = urllib.request.Request(f"{self.url}/v1/completions", data=body)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def metric(self, name):
        """The sum of a metric's values over its labels."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name
        )

    def end(self, number=signal.SIGTERM):
        """Its exit status and what it said last, after a signal."""
        self.process.send_signal(number)
        said = self.process.stderr.read().decode()
        return self.process.wait(PATIENCE_S), said


@contextmanager
def serving(*args, environment=None):
    """A server of those models with those options; it is ended, and must end well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "charlm", "serve", "--port", "0", *map(str, args)],
        stderr=subprocess.PIPE,
        env=os.environ | (environment or {}),
    )
    try:
        line = process.stderr.readline().decode()
        assert line.startswith("charlm: http://127.0.0.1:"), line
        host, port = line.strip().removeprefix("charlm: http://").split(":")
        served = Served(process, (host, int(port)))
        yield served
        if process.poll() is None:
            status, said = served.end()
            assert (status, "Traceback" in said) == (0, False), said
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
