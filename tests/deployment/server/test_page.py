"""The page's policy allows its own script and style and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json

from running_server import RunningServer

from transformer_cli.deployment.server.page import security_policy


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_has_the_hashes_of_script_and_style() -> None:
    page = "<!doctype html><style>p{}</style><p onclick='x()'>é</p><script type='module'>\nf('é')\n</script>"
    policy = security_policy(page)
    assert f"script-src 'sha256-{digest(chr(10) + 'f(' + chr(39) + 'é' + chr(39) + ')' + chr(10))}';" in policy
    assert f"style-src 'sha256-{digest('p{}')}';" in policy
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "connect-src 'self'" in policy


def test_the_pages_are_served_without_the_network(server: RunningServer) -> None:
    for path in ("/", "/docs"):
        status, headers, content = server.request("GET", path)
        assert status == 200 and headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in headers["content-security-policy"]
        assert b"src=" not in content and b"https://" not in content.replace(b"https://www.w3.org", b"")
    status, _, content = server.request("GET", "/openapi.json")
    document = json.loads(content)
    assert status == 200 and document["openapi"].startswith("3.")
    fields = document["components"]["schemas"]["TranslateRequest"]["properties"]
    assert {"q", "source", "target", "alternatives", "glossary", "stream"} <= set(fields)
    known = set(document["components"]["schemas"])
    refs = {part.partition('"')[0] for part in content.decode().split("#/components/schemas/")[1:]}
    assert refs <= known
