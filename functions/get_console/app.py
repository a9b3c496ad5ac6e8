"""GET /console and GET /console/{proxy+}: the console, the files of the folder console/."""

import json
import os
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

FOLDER = Path(__file__).with_name("console")
SELF = "'self'"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class File(NamedTuple):
    """A file as it is sent."""

    kind: str
    text: str
    etag: str


@cache
def files() -> dict[str, File]:
    """All files, by their paths below the folder. Nothing else can be asked for."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in TYPES:
            content = path.read_bytes()
            etag = f'"{b64encode(sha256(content).digest()[:12]).decode()}"'
            found[path.relative_to(FOLDER).as_posix()] = File(TYPES[path.suffix], content.decode(), etag)
    return found


def answer(name: str, if_none_match: str, config: dict[str, Any], sign_in_origins: str = "") -> dict[str, Any]:
    """Answer with a file, or with the configuration; the page may connect to these origins besides its own."""
    if name == "config.json":
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return _answer(200, headers | policies(sign_in_origins), json.dumps(config))
    if not name:  # relative addresses of the page begin beside /console
        return _answer(308, {"Location": "../console"}, "")
    file = files().get(name)
    if not file:
        return _answer(404, {"Content-Type": "text/plain; charset=utf-8"} | policies(), "There is no such file.\n")
    # A browser asks each time whether it is still the same: all files of a page are of one version
    headers = {"ETag": file.etag, "Cache-Control": "no-cache"} | policies(sign_in_origins)
    if file.etag in if_none_match:
        return _answer(304, headers, "")
    return _answer(200, headers | {"Content-Type": file.kind}, file.text)


def policies(sign_in_origins: str = "") -> dict[str, str]:
    """What the page may do: nothing but run its own scripts, and ask the API and the issuer."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src {' '.join((SELF, *sign_in_origins.split()))}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _answer(status: int, headers: dict[str, str], body: str) -> dict[str, Any]:
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer with a file; it takes neither the layer nor the store."""
    name = (event.get("pathParameters") or {}).get("proxy", "index.html")
    config = json.loads(os.environ.get("CONSOLE", "{}"))
    if not config.get("client_id"):
        return answer(name, event["headers"].get("if-none-match", ""), {})
    # The tokens of some issuers come from another origin than their description, as those of Cognito do
    origins = f"{_origin(config['issuer'])} {config.pop('token_origin', '')}"
    return answer(name, event["headers"].get("if-none-match", ""), config, origins)


def _origin(url: str) -> str:
    found = urlsplit(url)
    return f"{found.scheme}://{found.netloc}"
