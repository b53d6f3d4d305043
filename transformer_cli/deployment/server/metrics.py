"""Metrics in the format of Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SENTENCES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Bounds of the buckets of the histograms."""


class Metrics:
    """The counters of a server."""

    def __init__(self, queues: Callable[[], Iterable[tuple[str, int]]]) -> None:
        """`queues`: returns the name of each model and the number of sentences that wait for it."""
        self._lock = threading.Lock()
        self.registry = prometheus.CollectorRegistry()
        more: dict[str, Any] = {"registry": self.registry, "namespace": "transformer_cli"}
        self.requests = prometheus.Counter("requests", "Requests by path and status.", ["path", "status"], **more)
        self.seconds = prometheus.Histogram(
            "request_seconds", "Time of requests.", ["path"], buckets=SECONDS, **more
        )
        self.active = prometheus.Gauge("active_requests", "Requests that are being answered.", **more)
        self.sentences = prometheus.Counter("sentences", "Sentences translated.", ["model"], **more)
        self.tokens = prometheus.Counter(
            "tokens", "Tokens of sentences and translations.", ["model", "side"], **more
        )
        self.documents = prometheus.Counter("documents", "Documents translated, by format.", ["format"], **more)
        self.batches = prometheus.Histogram(
            "batch_sentences", "Sentences searched together.", buckets=SENTENCES, **more
        )
        self.reloads = prometheus.Counter("reloads", "Reloads of the models, by result.", ["result"], **more)
        self.registry.register(_Queues(queues))

    def add_sentences(self, model: str, count: int, source_tokens: int, target_tokens: int) -> None:
        """Count translated sentences; from any thread."""
        with self._lock:
            self.sentences.labels(model).inc(count)
            self.tokens.labels(model, "source").inc(source_tokens)
            self.tokens.labels(model, "target").inc(target_tokens)

    def add_batch(self, sentences: int) -> None:
        """Count a batch."""
        self.batches.observe(sentences)

    def add_request(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def render(self) -> tuple[bytes, str]:
        """The metrics, and their media type."""
        return prometheus.generate_latest(self.registry), prometheus.CONTENT_TYPE_LATEST


class _Queues:
    """The lengths of the queues at the time of a request for the metrics."""

    def __init__(self, queues: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self._queues = queues

    def collect(self) -> Iterator[Any]:
        gauge = GaugeMetricFamily("transformer_cli_queue_sentences", "Sentences that wait.", labels=["model"])
        for model, waiting in self._queues():
            gauge.add_metric([model], waiting)
        yield gauge
