"""The web page: one file, and the policy that allows its own script and style and nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

PAGE = Path(__file__).with_name("page.html")
NO_PAGE = "<!doctype html><title>transformer-cli</title><p>The API is described at <a href='/docs'>/docs</a>."
ELEMENT = re.compile(r"<(script|style)\b[^>]*>(.*?)</\1>", re.DOTALL | re.IGNORECASE)


def read_page() -> tuple[bytes, dict[str, str]]:
    """The page, and its headers."""
    content = PAGE.read_bytes() if PAGE.is_file() else NO_PAGE.encode()
    return content, {"content-security-policy": security_policy(content.decode("utf-8"))}


def security_policy(page: str) -> str:
    """The Content-Security-Policy of a page: its inline scripts and styles by hash, requests to this server."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in ELEMENT.findall(page):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind.lower()].append(f"'sha256-{digest}'")
    sources = {kind: " ".join(found) or "'none'" for kind, found in hashes.items()}
    return (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
