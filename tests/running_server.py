"""A server in a process of its own, and what clients send it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import threading
from queue import Queue
from typing import Any

from conftest import CLI, ENVIRONMENT


class RunningServer:
    """A `serve` process. A thread reads its log all the time: a full pipe would stop the server."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [*CLI, "serve", *map(str, arguments), "--port", "0"],
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
        )
        self.log: list[str] = []
        started: Queue[int | None] = Queue()
        self._reader = threading.Thread(target=self._read_log, args=(started,), daemon=True)
        self._reader.start()
        port = started.get()
        assert port is not None, f"the server did not start: {self.log}"
        self.port = port

    def _read_log(self, started: Queue[int | None]) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            if match := re.search(r"serving on http://[\w.:]+:(\d+)", line):
                started.put(int(match[1]))
            else:
                self.log.append(line)
        started.put(None)

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of the answer; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            if body is not None and not isinstance(body, bytes):
                body, headers = json.dumps(body).encode(), {"content-type": "application/json", **headers}
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """(status, parsed answer)."""
        status, _, content = self.request("POST", path, body, **headers)
        return status, json.loads(content)

    def translate(self, q: Any, **fields: Any) -> Any:
        """The answer to a request that must succeed."""
        status, answer = self.post("/translate", {"q": q, "source": "en", "target": "de", **fields})
        assert status == 200, answer
        return answer

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """(exit code, stderr)."""
        self.process.send_signal(number)
        self._wait()
        return self.process.returncode, "".join(self.log)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._wait()

    def _wait(self) -> None:
        self.process.wait(timeout=30)
        self._reader.join(timeout=30)
