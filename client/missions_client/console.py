"""The console on this machine, for an API that wants signed requests: they are signed with the caller's credentials.

Anybody on this machine may load the files of the page, as anybody may at the API. Who asks the API through this server
must have its key. It comes in the fragment of the address, which no browser sends, and is sent in a header, which no
page of another origin can do.
"""

import json
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import httpx

from missions_client.errors import one_line
from missions_client.transport import unreachable

KEY = "x-missions-key"
OPERATE = "/console/operate"
CONFIG = "/console/config.json"
API = re.compile(r"/api/missions(/[^?]*)?(\?.*)?")
FILES = re.compile(r"/console(/[A-Za-z0-9_.-]+)*")
LOCAL = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?")
PASSED = {"content-type", "idempotency-key", "if-match", "if-none-match"}  # headers of requests
KEPT = {
    "content-type", "date", "etag", "retry-after", "cache-control", "content-security-policy",
    "cross-origin-opener-policy", "referrer-policy", "x-content-type-options",
}  # fmt: skip
"""Headers of answers."""
MAX_BODY = 1024 * 1024
PATIENCE = 35  # seconds

Operate = Callable[[Any], Any]


class Server(ThreadingHTTPServer):
    """Serves who has the key, on this machine alone: what it signs counts as the caller's own."""

    daemon_threads = True

    def __init__(self, port: int, api: str, auth: httpx.Auth, operate: Operate | None = None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.api, self.operate = api, operate
        self.client = httpx.Client(auth=auth, timeout=PATIENCE, verify=api.startswith("https:"))
        self.key = secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def address(self, page: str = "/") -> str:
        """Where a browser opens this page of the console, such as /missions/build-7."""
        return f"{self.url}/#key={self.key}{page}"

    def server_close(self) -> None:
        super().server_close()
        self.client.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves in the middle is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds without a request, or without the rest of one

    def do_GET(self) -> None:
        """A file of the console, or a request to the API."""
        if (body := self._body()) is None:
            return None
        path = self.path.partition("?")[0]
        if path == CONFIG:
            config = {"signed": True} | ({"operate": True} if self.server.operate else {})
            return self._send(200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, _json(config))
        if path == "/" or (FILES.fullmatch(path) and not _climbs(path)):
            return self._forward("/console" if path == "/" else path, body, signed=False)
        return self._to_api(body)

    def do_POST(self) -> None:
        """A request to the API, or to the operator function."""
        if (body := self._body()) is None:
            return None
        if (self.command, self.path) != ("POST", OPERATE) or not self.server.operate:
            return self._to_api(body)
        if not self._has_key():
            return None
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            return self._told(400, "The body must be JSON")
        try:
            answer = self.server.operate(payload)
        except Exception as error:  # of the function, of AWS, of the network: the page says it
            return self._told(503, f"The operator function did not answer: {error}")
        return self._send(200, {"Content-Type": "application/json"}, _json(answer))

    do_DELETE = do_POST

    def _body(self) -> bytes | None:
        """The body, which is read in any case: what is left of it would be the next request. None if it is refused."""
        lengths = self.headers.get_all("content-length", ["0"])
        if not LOCAL.fullmatch(self.headers.get("host", "").lower()):
            refused = 403, "This host is not served"  # a page could have a name that leads to 127.0.0.1
        elif "transfer-encoding" in self.headers or len(lengths) > 1 or not re.fullmatch("[0-9]{1,9}", lengths[0]):
            refused = 411, "Content-Length must be given, once"
        elif int(lengths[0]) > MAX_BODY:
            refused = 413, "Request Entity Too Large"
        else:
            return self.rfile.read(int(lengths[0]))
        self.close_connection = True
        self._told(*refused)
        return None

    def _has_key(self) -> bool:
        if secrets.compare_digest(self.headers.get(KEY, "").encode(), self.server.key.encode()):
            return True
        self._told(401, "Open the address that `missions console` printed")
        return False

    def _to_api(self, body: bytes) -> None:
        if not API.fullmatch(self.path) or _climbs(self.path):
            self._told(404, "Not Found")
        elif self._has_key():
            self._forward(self.path, body)

    def _forward(self, path: str, body: bytes, signed: bool = True) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() in PASSED}
        path, _, query = path.partition("?")
        if query:  # a signature counts only with %20, where browsers write +
            path += "?" + urlencode(parse_qsl(query, keep_blank_values=True), quote_via=quote)
        try:
            sign_in = httpx.USE_CLIENT_DEFAULT if signed else None
            answer = self.server.client.request(
                self.command, self.server.api + path, content=body, headers=headers, auth=sign_in
            )
        except httpx.RequestError as error:
            return self._told(503, str(unreachable(self.server.api, error)))
        except Exception as error:  # whatever the credentials come from
            return self._told(503, f"The request was not signed: {error}")
        kept = {name: value for name, value in answer.headers.items() if name.lower() in KEPT}
        return self._send(answer.status_code, kept, answer.content)

    def _told(self, status: int, message: str) -> None:
        self._send(status, {"Content-Type": "application/json"}, _json({"message": one_line(message)}))

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status not in (204, 304):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The page polls; nobody wants to read that."""


def _climbs(path: str) -> bool:
    """Whether a server may take the path for another one."""
    parts = path.partition("?")[0].lower().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").split("/")
    return ".." in parts or "." in parts or "\\" in path


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
