"""The packages of the extra `serve`."""

from __future__ import annotations

from importlib.util import find_spec

from transformer_cli.errors import ConfigError

PACKAGES = ("starlette", "uvicorn", "h11", "python_multipart", "prometheus_client", "sentencex")


def require_serve() -> None:
    """Raises: ConfigError naming the packages that are not installed."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"this needs the packages {', '.join(missing)}, which are not installed",
            hint='install this package with the extra [serve]: pip install -e ".[serve]"',
        )
