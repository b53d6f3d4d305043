"""Start, stop and reload of the server: damaged models, signals under load, slow clients."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from conftest import CLI, ENVIRONMENT, cli
from running_server import RunningServer
from uvicorn import Config

from transformer_cli.deployment.server.process import TranslationServer

GOOD = {"q": "The cat sees the house today.", "source": "en", "target": "de"}


def serve(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A `serve` that is expected to fail."""
    command = [*CLI, "serve", *map(str, arguments), "--port", "0"]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)


@pytest.mark.parametrize(
    ("damage", "code", "message"),
    [
        (lambda run: shutil.rmtree(run / "checkpoints"), 4, "no checkpoint"),
        (lambda run: (run / "tokenizer.model").write_bytes(b"x"), 4, "not a SentencePiece model"),
        (lambda run: flip(next(run.glob("checkpoints/step_*500")) / "model.safetensors"), 4, "model.safetensors"),
    ],
)
def test_a_damaged_model_is_refused_before_the_port_opens(
    damage: Callable[[Path], object], code: int, message: str, toy_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(toy_run, tmp_path / "run", symlinks=True))
    for name in ("best", "last"):
        (run / "checkpoints" / name).unlink()
        (run / "checkpoints" / name).symlink_to("step_000000500")
    damage(run)
    done = serve(f"a={toy_run}", f"b={run}")
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert "serving on" not in done.stderr


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_mistakes_are_refused(toy_run: Path, server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# no key\n")
    for arguments, code, message in (
        ((toy_run, toy_run), 2, "two models are called"),
        ((toy_run, "--port", server.port), 2, "cannot be opened"),
        ((toy_run, "--api-key-file", tmp_path / "none"), 2, "cannot be read"),
        ((toy_run, "--api-key-file", tmp_path / "empty"), 2, "has no keys"),
        ((toy_run, "--beam", 0), 2, "beam"),
        ((tmp_path / "none",), 4, "no such run"),
    ):
        done = cli("serve", *arguments) if "--port" in arguments else serve(*arguments)
        assert done.returncode == code and message in str(done.stderr), done.stderr


def load(server: RunningServer, results: list[int | str], stop: threading.Event) -> list[threading.Thread]:
    """Clients that send requests until `stop`, and add each answer's status, or why there is none."""

    def client() -> None:
        while not stop.is_set():
            try:
                results.append(server.post("/translate", GOOD)[0])
            except ConnectionRefusedError:
                return
            except Exception as error:
                results.append(repr(error))
                return

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_accepted_is_answered_before_the_end(number: signal.Signals, toy_run: Path) -> None:
    running = RunningServer(f"en-de={toy_run}")
    try:
        results: list[int | str] = []
        threads = load(running, results, threading.Event())
        time.sleep(0.7)
        code, log = running.stop(number)
        for thread in threads:
            thread.join()
    finally:
        running.close()
    answered = [result for result in results if result == 200]
    assert code == 0 and answered and f'"accepted": {len(answered)}, "answered": {len(answered)}' in log


def test_a_newer_model_takes_over_without_a_lost_request(toy_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(toy_run, tmp_path / "run", symlinks=True))
    weights = (run / "checkpoints/step_000000250/model.safetensors").read_bytes()
    best = run / "checkpoints/best"

    def use(name: str) -> None:
        best.unlink()
        best.symlink_to(name)

    def score() -> float:
        ((sentence,),) = running.translate(GOOD["q"], details=True)["sentences"]
        return float(sentence["score"])

    use("step_000000500")
    running = RunningServer(f"en-de={run}")
    try:
        results: list[int | str] = []
        stop = threading.Event()
        threads = load(running, results, stop)
        old = score()
        use("step_000000250")
        assert score() == old
        running.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while (new := score()) == old:
            assert time.monotonic() < deadline
        (run / "checkpoints/step_000000250/model.safetensors").write_bytes(weights[:-1])
        running.process.send_signal(signal.SIGHUP)  # refused
        while 'reloads_total{result="refused"} 1.0' not in running.request("GET", "/metrics")[2].decode():
            assert time.monotonic() < deadline
        assert score() == new
        stop.set()
        for thread in threads:
            thread.join()
        code, log = running.stop()
    finally:
        running.close()
    assert set(results) == {200} and code == 0
    assert log.count('"event": "reloaded"') == 1 and log.count("the old models remain") == 1


def test_a_signal_during_a_reload_starts_another_one() -> None:
    """The first reload may have read the files before they changed."""
    begun: list[asyncio.Event] = []

    async def reload() -> None:
        begun.append(asyncio.Event())
        await begun[-1].wait()

    async def scenario() -> None:
        application: Any = MagicMock()
        application.service.reload = reload
        application.service.settings.api_key_file = None
        server = TranslationServer(Config(application), application, on_start=print)
        for expected in (1, 1, 1):  # signals
            server._start_reload()
            await asyncio.sleep(0)
            assert len(begun) == expected
        begun[0].set()
        while len(begun) < 2:
            await asyncio.sleep(0)
        begun[1].set()
        assert server._reloading
        await server._reloading
        assert len(begun) == 2
        application.service.metrics.reloads.labels.assert_called_with("done")

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_a_slow_head_is_closed_and_a_slow_body_is_refused(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are 5 and 10 seconds; meanwhile others are served."""
    begun = b"POST /translate HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n"
    slow_head = socket.create_connection(("127.0.0.1", server.port), timeout=40)
    slow_body = socket.create_connection(("127.0.0.1", server.port), timeout=40)
    start = time.monotonic()
    slow_head.sendall(begun)
    slow_body.sendall(begun + b"\r\n12345")
    assert server.translate(GOOD["q"])["translatedText"]
    assert slow_head.recv(1000) == b"" and 4 < time.monotonic() - start < 9
    assert b"408" in slow_body.recv(1000) and time.monotonic() - start < 30
    slow_head.close()
    slow_body.close()


def test_the_demo_prints_its_address(toy_run: Path) -> None:
    command = [*CLI, "demo", str(toy_run), "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
    assert process.stderr
    lines = iter(process.stderr)
    assert any("open http://127.0.0.1:" in line for line in lines)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_log_that_nobody_reads_does_not_stop_the_server(toy_run: Path) -> None:
    """The pipe of stderr takes 64 KiB, which is less than 500 entries."""
    command = [*CLI, "serve", f"en-de={toy_run}", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
    try:
        assert process.stderr
        port = int(process.stderr.readline().rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(1000):
            connection.request("GET", "/health")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.communicate()
