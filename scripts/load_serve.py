#!/usr/bin/env python
"""Load and faults for `transformer-cli serve`, on the loopback interface only.

    scripts/load_serve.py throughput RUN TEXT            # 1, 8 and 64 clients, compared with `translate`
    scripts/load_serve.py identity RUN TEXT              # 10,000 requests, compared with `translate`
    scripts/load_serve.py overload RUN TEXT              # many more clients than capacity, then a few
    scripts/load_serve.py stop RUN TEXT --count 50       # SIGTERM under load
    scripts/load_serve.py reload RUN TEXT --count 50     # SIGHUP under load

RUN is a run directory or a bundle, TEXT a file of source sentences. Every mode starts its own server, and ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

CLI = [sys.executable, "-m", "transformer_cli"]
CLIENTS = (1, 8, 64)
MIN_RATIO = 0.8
"""Required share of the throughput of `translate`, with the most clients."""


class Server:
    """A `serve` process on a free port of the loopback interface."""

    def __init__(self, run: Path, options: Sequence[str]) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed with the process)
        self.process = subprocess.Popen(
            [*CLI, "serve", f"en-de={run}", "--port", "0", *options], stderr=self.log, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not (match := re.search(r"serving on http://127.0.0.1:(\d+)", self.read_log())):
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"the server did not start:\n{self.read_log()}")
            time.sleep(0.1)
        self.port = int(match[1])

    def read_log(self) -> str:
        """What the server has written."""
        self.log.seek(0)
        return self.log.read()

    def memory(self) -> float:
        """Resident memory in MB."""
        return _memory_of(self.process.pid, "VmRSS")

    def peak_memory(self) -> float:
        """Largest resident memory in MB."""
        return _memory_of(self.process.pid, "VmHWM")

    def cpu(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> dict[str, int]:
        """Send SIGTERM; the result is that of `wait`."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> dict[str, int]:
        """Exit code, and the last entry of the log: counts of accepted and answered requests."""
        code = self.process.wait(timeout=120)
        last = json.loads(self.read_log().strip().rpartition("\n")[2])
        return {"code": code, "accepted": last.get("accepted", -1), "answered": last.get("answered", -2)}

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running_server(run: Path, options: Sequence[str]) -> Iterator[Server]:
    """A server that is ended at the end of the context."""
    server = Server(run, options)
    try:
        yield server
    finally:
        server.kill()


def _memory_of(pid: int, key: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024


class Connection:
    """A client's connection; it is kept, and opened again when the server has closed it.

    `received`: the beginning of the answer to the last request.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.received = b""
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def request(self, body: bytes, path: str = "/translate") -> tuple[int, bytes]:
        """(status, body) of the answer. Raises: ConnectionError; OSError."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        assert self.reader
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.received = b""
        try:
            answer = await self.reader.readuntil(b"\r\n\r\n")
            self.received = answer
            length = int(re.findall(rb"content-length: (\d+)", answer, re.IGNORECASE)[0])
            content = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            self.received = self.received or getattr(error, "partial", b"")
            self.close()
            raise ConnectionError("the connection was closed") from None
        if b"connection: close" in answer.lower():
            self.close()
        return int(answer[9:12]), content

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


def encode_request(line: str) -> bytes:
    """A request for the translation of one line."""
    fields = {"q": line, "source": "en", "target": "de", "split_sentences": False}
    return json.dumps(fields).encode()


async def run_clients(
    port: int, lines: Sequence[str], clients: int, check: Callable[[int, int, str], object]
) -> list[float]:
    """Send each line as a request, from so many clients that wait for each answer. Returns seconds per request."""
    waiting, seconds = iter(range(len(lines))), []

    async def client() -> None:
        connection = Connection(port)
        for number in waiting:
            start = time.perf_counter()
            status, content = await connection.request(encode_request(lines[number]))
            seconds.append(time.perf_counter() - start)
            check(number, status, json.loads(content).get("translatedText", ""))
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds


def translate(run: Path, lines: Sequence[str], options: Sequence[str]) -> tuple[list[str], float, float]:
    """What the command translates the lines to, and its lines per second and per CPU second, without its start."""
    times, cpu_times = [], []
    for part in (lines[:1], lines):
        text, start = "".join(line + "\n" for line in part).encode(), time.perf_counter()
        cpu = _children_cpu()
        done = subprocess.run([*CLI, "translate", str(run), *options], input=text, capture_output=True, check=True)
        times.append(time.perf_counter() - start)
        cpu_times.append(_children_cpu() - cpu)
    count = len(lines) - 1
    return (
        done.stdout.decode().split("\n")[:-1],
        count / (times[1] - times[0]),
        count / (cpu_times[1] - cpu_times[0]),
    )


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Checker:
    """Compares answers with the translations of the command."""

    def __init__(self, expected: Sequence[str]) -> None:
        self.expected = expected
        self.statuses: Counter[int] = Counter()
        self.different: list[int] = []

    def __call__(self, number: int, status: int, text: str) -> None:
        self.statuses[status] += 1
        if status == 200 and text != self.expected[number % len(self.expected)]:
            self.different.append(number)


def throughput(run: Path, lines: list[str], arguments: argparse.Namespace) -> list[str]:
    """Lines per second and per CPU second, and latencies."""
    failures, most = [], max(arguments.clients)
    print(
        "| | lines/s | of `translate` | lines per CPU s | of `translate` | p50 ms | p95 ms | p99 ms | different |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with running_server(run, arguments.options) as server:
        for _ in range(arguments.rounds):
            expected, rate, cpu_rate = translate(run, lines, arguments.options)
            print(f"| `translate`, {len(lines)} lines | {rate:.0f} | 1 | {cpu_rate:.0f} | 1 | | | | |", flush=True)
            for clients in arguments.clients:
                part = lines if clients > 4 else lines[: len(lines) // 4]
                checker = Checker(expected)
                start, cpu = time.perf_counter(), server.cpu()
                seconds = asyncio.run(run_clients(server.port, part, clients, checker))
                own, own_cpu = len(part) / (time.perf_counter() - start), len(part) / (server.cpu() - cpu)
                shown = " | ".join(f"{1000 * percentile(seconds, share):.0f}" for share in (0.5, 0.95, 0.99))
                print(
                    f"| {clients} clients, {len(part)} requests | {own:.0f} | {own / rate:.2f} | {own_cpu:.0f} | "
                    f"{own_cpu / cpu_rate:.2f} | {shown} | {len(checker.different)} |",
                    flush=True,
                )
                if clients == most and own / rate < MIN_RATIO:
                    failures.append(f"{most} clients: {own / rate:.2f} of translate")
        print(f"resident memory: {server.memory():.0f} MB, at most {server.peak_memory():.0f} MB")
    return failures


def identity(run: Path, lines: list[str], arguments: argparse.Namespace) -> list[str]:
    """Requests of one line in random order from 64 clients: none lost, mixed up or different from the command."""
    count = arguments.count or 10_000
    expected, _, _ = translate(run, lines, arguments.options)
    numbers = [arguments.rng.randrange(len(lines)) for _ in range(count)]
    checker = Checker([expected[number] for number in numbers])
    with running_server(run, arguments.options) as server:
        before, start = server.memory(), time.perf_counter()
        seconds = asyncio.run(run_clients(server.port, [lines[number] for number in numbers], 64, checker))
        print(
            f"{len(seconds):,} answers in {time.perf_counter() - start:.0f} s, by status {dict(checker.statuses)}"
        )
        print(f"different from the command's translation: {len(checker.different)}")
        for number in checker.different[:10]:
            print(f"  line {numbers[number] + 1}")
        print(f"memory: {before:.0f} MB before, {server.memory():.0f} MB after")
        counts = server.stop()
    print(f"the server's counts: {counts}")
    failed = len(checker.different) or checker.statuses[200] != count or counts["accepted"] != counts["answered"]
    return ["not every request was answered with the command's translation"] if failed else []


def overload(run: Path, lines: list[str], arguments: argparse.Namespace) -> list[str]:
    """Many more clients than the server accepts, for `--count` seconds: refused at once; then it serves."""
    duration = arguments.count or 20
    options = [*arguments.options, "--max-requests", "16", "--max-connections", "400"]
    refused: list[float] = []
    statuses: Counter[str] = Counter()

    async def client(port: int, end: float) -> None:
        connection = Connection(port)
        while time.perf_counter() < end:
            start = time.perf_counter()
            try:
                status, _ = await connection.request(encode_request(arguments.rng.choice(lines)))
            except (ConnectionError, OSError):
                statuses["closed"] += 1
                await asyncio.sleep(0.1)
                continue
            statuses[str(status)] += 1
            if status in (429, 503):
                refused.append(time.perf_counter() - start)
                await asyncio.sleep(arguments.rng.uniform(0.5, 1.5))  # as Retry-After says

    async def crowd(port: int) -> None:
        end = time.perf_counter() + duration
        await asyncio.gather(*(client(port, end) for _ in range(320)))

    with running_server(run, options) as server:
        before = server.memory()
        asyncio.run(crowd(server.port))
        grown = server.memory() - before
        checker = Checker(lines)
        seconds = asyncio.run(run_clients(server.port, lines[:20], 4, checker))
    slow = 1000 * percentile(refused, 0.99)
    print(f"320 clients, 16 requests at a time, {duration} s: answers by status {dict(statuses)}")
    print(
        f"refusals: p50 {1000 * percentile(refused, 0.5):.1f} ms, p99 {slow:.1f} ms; memory grew by {grown:.0f} MB"
    )
    print(f"then 4 clients: {dict(checker.statuses)}, p95 {1000 * percentile(seconds, 0.95):.0f} ms")
    return ["the server did not recover"] if checker.statuses[200] != 20 else []


def stop(run: Path, lines: list[str], arguments: argparse.Namespace) -> list[str]:
    """SIGTERM at a random moment under load: every request that the server accepted is answered."""
    failures, totals = [], Counter[str]()
    for trial in range(arguments.count or 50):
        server = Server(run, arguments.options)
        try:
            counts = asyncio.run(_stop_once(server, lines, arguments.rng))
        finally:
            server.kill()
        totals.update(counts)
        lost = (
            counts["cut"] or counts["accepted"] != counts["answered"] or counts["answered"] != counts["received"]
        )
        if lost or counts["code"]:
            failures.append(f"trial {trial}: {dict(counts)}")
    print(f"{arguments.count or 50} stops: {dict(totals)}")
    return failures


async def _stop_once(server: Server, lines: Sequence[str], rng: random.Random) -> Counter[str]:
    """Counts of what the clients received, and of the server's log."""
    counts: Counter[str] = Counter()

    async def client(number: int) -> None:
        connection = Connection(server.port)
        while True:
            try:
                await connection.request(encode_request(lines[number % len(lines)]))
            except ConnectionError:
                counts["cut" if connection.received else "not accepted"] += 1
                return
            except OSError:
                return  # the port is closed
            counts["received"] += 1
            number += 1

    clients = [asyncio.create_task(client(number)) for number in range(16)]
    await asyncio.sleep(rng.uniform(0.2, 1.5))
    server.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*clients)
    counts.update(await asyncio.to_thread(server.wait))
    return counts


def reload(run: Path, lines: list[str], arguments: argparse.Namespace) -> list[str]:
    """SIGHUP under load: every request is answered, with the command's translation."""
    count = arguments.count or 50
    expected, _, _ = translate(run, lines, arguments.options)
    checker, stopped = Checker(expected), False

    async def client(port: int, number: int) -> None:
        connection = Connection(port)
        while not stopped:
            status, content = await connection.request(encode_request(lines[number % len(lines)]))
            checker(number, status, json.loads(content).get("translatedText", ""))
            number += 7

    async def trials(server: Server) -> None:
        nonlocal stopped
        clients = [asyncio.create_task(client(server.port, number)) for number in range(8)]
        for trial in range(count):
            server.process.send_signal(signal.SIGHUP)
            while server.read_log().count('"event": "reloaded"') <= trial and not any(c.done() for c in clients):
                await asyncio.sleep(0.05)
        stopped = True
        await asyncio.gather(*clients)

    with running_server(run, arguments.options) as server:
        before = server.memory()
        asyncio.run(trials(server))
        print(f"{count} reloads: {dict(checker.statuses)}, {len(checker.different)} different")
        print(f"memory: {before:.0f} MB before, {server.memory():.0f} MB after")
    failed = checker.different or set(checker.statuses) != {200}
    return ["requests were refused or translated differently"] if failed else []


MODES: dict[str, Callable[[Path, list[str], argparse.Namespace], list[str]]] = {
    "throughput": throughput,
    "identity": identity,
    "overload": overload,
    "stop": stop,
    "reload": reload,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("run", type=Path)
    parser.add_argument("text", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=0, help="trials or requests")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, default=1000, help="lines of TEXT that are used")
    parser.add_argument("--engine", default="torch")
    arguments = parser.parse_args()
    arguments.options = ["--engine", arguments.engine]
    arguments.rng = random.Random(arguments.seed)
    text = arguments.text.read_text(encoding="utf-8").split("\n") if arguments.text else []
    failures = MODES[arguments.mode](
        arguments.run, [line for line in text if line.strip()][: arguments.lines], arguments
    )
    for failure in failures:
        print(f"FAILED: {failure}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
