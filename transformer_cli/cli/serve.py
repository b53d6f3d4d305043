"""`serve` and `demo`: models as an HTTP service with a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from transformer_cli.cli.options import Device, schema_options, value
from transformer_cli.cli.terminal import notify
from transformer_cli.deployment.server.settings import ServerSettings
from transformer_cli.schema import DecodingConfig

NETWORK, LIMITS = "Network", "Limits"
DEFAULTS = ServerSettings()
EXAMPLES = (
    "transformer-cli serve runs/mine",
    "transformer-cli serve en-de=runs/mine de-en=model.zip --port 8080 --engine auto",
)
DEMO_EXAMPLES = ("transformer-cli demo runs/mine",)
Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        help="Run directories, bundles or CTranslate2 exports. NAME=MODEL names one, best by its languages: "
        "en-de=runs/mine.",
    ),
]


@schema_options(
    DecodingConfig, "beam", "length_penalty", "protect", "engine", "precision", "threads", defaults=False
)
def serve(
    models: Models,
    host: Annotated[
        str,
        value(
            "--host", "ADDRESS", f"Address to listen on; {DEFAULTS.host} (default): this computer only.", NETWORK
        ),
    ] = DEFAULTS.host,
    port: Annotated[
        int, value("--port", "N", f"Port; {DEFAULTS.port} by default; 0: a free one.", NETWORK, min=0, max=65535)
    ] = DEFAULTS.port,
    api_key_file: Annotated[
        Path | None,
        value("--api-key-file", "FILE", "Keys, one per line, of which every client needs one.", NETWORK),
    ] = None,
    overrides: dict[str, Any] | None = None,
    device: Device = "auto",
    max_bytes: Annotated[
        int, value("--max-bytes", "N", f"Bytes of a request; {DEFAULTS.max_bytes:,} by default.", LIMITS, min=1)
    ] = DEFAULTS.max_bytes,
    max_lines: Annotated[
        int, value("--max-lines", "N", f"Lines of a request; {DEFAULTS.max_lines:,} by default.", LIMITS, min=1)
    ] = DEFAULTS.max_lines,
    max_queue: Annotated[
        int,
        value(
            "--max-queue",
            "N",
            f"Sentences that may wait for a model; {DEFAULTS.max_queue:,} by default.",
            LIMITS,
            min=1,
        ),
    ] = DEFAULTS.max_queue,
    max_requests: Annotated[
        int,
        value(
            "--max-requests",
            "N",
            f"Concurrent requests of a client; {DEFAULTS.max_requests} by default.",
            LIMITS,
            min=1,
        ),
    ] = DEFAULTS.max_requests,
    max_connections: Annotated[
        int,
        value(
            "--max-connections", "N", f"Open connections; {DEFAULTS.max_connections} by default.", LIMITS, min=1
        ),
    ] = DEFAULTS.max_connections,
    max_document_bytes: Annotated[
        int,
        value(
            "--max-document-bytes",
            "N",
            f"Bytes of a document; {DEFAULTS.max_document_bytes:,} by default.",
            LIMITS,
            min=1,
        ),
    ] = DEFAULTS.max_document_bytes,
    timeout: Annotated[
        float,
        value("--timeout", "SECONDS", f"Time for a request; {DEFAULTS.timeout:g} by default.", LIMITS, min=0.1),
    ] = DEFAULTS.timeout,
) -> None:
    """Serve models over HTTP, with LibreTranslate's API and a web page.

    SIGTERM and Ctrl-C: answer what was accepted, then exit. SIGHUP: open the models again, without a pause.
    """
    limits = max_bytes, max_lines, max_queue, max_requests, max_connections, timeout, max_document_bytes
    settings = ServerSettings(host, port, api_key_file, *limits)
    _run(models, overrides or {}, device, settings, lambda address: notify(f"serving on {address}"))


@schema_options(DecodingConfig, "beam", "protect", "engine", defaults=False)
def demo(
    models: Models,
    overrides: dict[str, Any] | None = None,
    device: Device = "auto",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
) -> None:
    """Open a web page that translates, on this computer only. Ctrl-C ends it."""
    from webbrowser import open as open_browser

    def show(address: str) -> None:
        notify(f"open {address} in a browser; Ctrl-C ends the server")
        if not no_browser:
            open_browser(address)

    _run(models, overrides or {}, device, ServerSettings(port=0), show)


def _run(
    models: list[str], overrides: dict[str, Any], device: str, settings: ServerSettings, on_start: Any
) -> None:
    from transformer_cli.deployment.server.requirements import require_serve

    require_serve()
    from transformer_cli.deployment.server.models import ModelFile
    from transformer_cli.deployment.server.process import run_server

    run_server([ModelFile.parse(model) for model in models], overrides, device, settings, on_start)
