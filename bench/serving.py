"""`charlm serve` under load, and what malformed requests do to it.

64 clients that stream against one, each with a connection of its own, and once more each with a
seed of its own, whose text may then not depend on the others; then clients that vanish; then
requests that are wrong in every way that the fuzzer knows. All on this machine.
"""

import asyncio
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.malformed import LARGEST_BODY, answer, harm, malformed, post
from bench.measure import figure, in_turn, tiny_shakespeare

CLIENTS, RUNS = 64, 5
LENGTH_ALONE, LENGTH = 2_000, 400
MALFORMED = 10_000
FOREVER = 100_000_000  # tokens
LAYERS, WIDTH, BUDGET = 2, 512, "60s"  # as in bench/sampling.py


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
    return post(json.dumps(values).encode())


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
    address: tuple[str, int], model: str, clients: int, length: int, *, seeded: bool = False
) -> tuple[float, list[float]]:
    """The characters a second of so many clients in all, and the seconds each waited."""
    began = time.perf_counter()
    found = await asyncio.gather(
        *(
            stream(address, model=model, prompt="To be", max_tokens=length, seed=seed)
            for seed in (range(clients) if seeded else [None] * clients)
        )
    )
    elapsed_s = time.perf_counter() - began
    return sum(chars for chars, _ in found) / elapsed_s, [first_s for _, first_s in found]


class Load:
    """Clients of a server at `address`, and how long each has waited for its first character."""

    def __init__(self, address: tuple[str, int], model: str) -> None:
        self.address = address
        self.model = model
        self.waits_s: list[float] = []

    def alone(self) -> float:
        """The characters a second of one client."""
        return asyncio.run(together(self.address, self.model, 1, LENGTH_ALONE))[0]

    def together(self) -> float:
        """The characters a second of CLIENTS at once, all of them added up."""
        rate, waits_s = asyncio.run(together(self.address, self.model, CLIENTS, LENGTH))
        self.waits_s += waits_s
        return rate

    def seeded(self) -> float:
        """The same where each client has a seed."""
        return asyncio.run(together(self.address, self.model, CLIENTS, LENGTH, seeded=True))[0]


def vanish(address: tuple[str, int], model: str, length: int) -> float:
    """The seconds until a place is free whose client went away in the middle of a long text."""
    asked = {"model": model, "prompt": "a", "max_tokens": length, "stream": True}
    with socket.create_connection(address) as connection:
        connection.sendall(request(**asked))
        while b"data: " not in connection.recv(1 << 16):
            pass
        assert answer(address, request(model=model, max_tokens=1))[0] == 429
    began = time.perf_counter()
    while answer(address, request(model=model, max_tokens=1))[0] != 200:
        time.sleep(0.001)
    return time.perf_counter() - began


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "charlm", "train", str(tiny_shakespeare()), "-o", str(run)]
        shape = ["--layers", str(LAYERS), "--width", str(WIDTH)]
        options = [*shape, "--budget", BUDGET, "--seed", "1"]
        subprocess.run([*command, *options], check=True)
        with serving(run) as address:
            load = Load(address, run.name)
            load.alone()
            found = in_turn(RUNS, alone=load.alone, together=load.together, seeded=load.seeded)
        how = f"lstm {LAYERS}x{WIDTH}, {BUDGET} on tiny Shakespeare; streams,"
        how += f" median of {RUNS} in turn"
        figure("one client", found["alone"], "chars/s", how=how)
        figure(f"{CLIENTS} clients in all", found["together"], "chars/s", how=how)
        ratio = found["together"] / found["alone"]
        figure(f"{CLIENTS} clients against one", ratio, "x", target="≥ 3", how=how)
        ratio = found["seeded"] / found["alone"]
        figure(f"{CLIENTS} clients with seeds against one", ratio, "x", how=how)
        p99_s = sorted(load.waits_s)[int(0.99 * len(load.waits_s))]
        how = f"99th percentile of {len(load.waits_s)} streams, {CLIENTS} at a time, no error"
        figure("time to the first character", p99_s, "s", how=how)
        forever = ("--max-tokens", str(FOREVER), "--max-answer", str(FOREVER), "--timeout", "1h")
        with serving(run, *forever, "--rows", "1", "--queue", "0") as address:
            waits_s = [vanish(address, run.name, FOREVER) for _ in range(20)]
        figure("until a vanished client's place is free", max(waits_s), "s", how="longest of 20")
        with serving(run, "--max-body", str(LARGEST_BODY)) as address:
            rng = random.Random(1)
            harms = Counter(harm(address, malformed(rng, run.name)) for _ in range(MALFORMED))
            wrong = MALFORMED - harms.pop(None)
            print(dict(harms), file=sys.stderr)
            assert answer(address, request(model=run.name, max_tokens=5))[0] == 200
        how = f"of {MALFORMED:,}; after them a right one is answered"
        figure("malformed requests not answered with 4xx", wrong, "", target="0", how=how)


if __name__ == "__main__":
    main()
