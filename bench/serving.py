"""`charlm serve` under load, and what malformed requests do to it.

64 clients that stream against one, each with a connection and a seed of its own; then clients that
vanish; then requests that are wrong in every way that the fuzzer knows. All on this machine.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENTS, ROUNDS, RUNS = 64, 4, 5
LENGTH_ALONE, LENGTH = 2_000, 400
MALFORMED = 10_000
BUDGET = "30s"


@contextmanager
def serving(model: Path, *options: str) -> Iterator[tuple[str, int]]:
    """The host and port of a server, which ends with the context, and well."""
    command = [sys.executable, "-m", "charlm", "serve", str(model), "--port", "0", *options]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        host, port = server.stderr.readline().split("//")[1].split(":")
        yield host, int(port)
    finally:
        server.terminate()
        status = server.wait(60)
    assert status == 0, server.stderr.read()


def request(**values: object) -> bytes:
    """A request for a completion, as it goes over the wire."""
    body = json.dumps(values).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def stream(address: tuple[str, int], **values: object) -> tuple[int, float]:
    """How many characters come in a stream, and after how many seconds the first."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request(stream=True, **values))
    chars, first_s = 0, 0.0
    async for line in reader:
        if line == b"data: [DONE]\n":
            break
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(event)
            chars += len(event["choices"][0]["text"])
            first_s = first_s or time.perf_counter() - began
        elif line.startswith(b"HTTP/1.1 ") and b" 200 " not in line:
            raise RuntimeError(line)
    writer.close()
    return chars, first_s


async def together(
    address: tuple[str, int], model: str, clients: int, length: int
) -> tuple[float, list[float]]:
    """The characters a second of so many clients in all, and the seconds each waited."""
    began = time.perf_counter()
    found = await asyncio.gather(
        *(
            stream(address, model=model, prompt="To be", max_tokens=length, seed=seed)
            for seed in range(clients)
        )
    )
    elapsed_s = time.perf_counter() - began
    return sum(chars for chars, _ in found) / elapsed_s, [first_s for _, first_s in found]


if __name__ == "__main__":

    async def main():
        with serving(Path(sys.argv[1])) as a:
            name = Path(sys.argv[1]).stem
            for _ in range(2):
                one, _f = await together(a, name, 1, 2000)
                many, f = await together(a, name, 64, 400)
                f.sort()
                print(name, round(one), round(many), many / one, "first p50", f[32], "max", f[-1])

    asyncio.run(main())
