"""make console: the console for a stack in AWS, on this machine; requests are signed with the caller's credentials."""

import json
import os
import secrets
import sys
from collections.abc import Callable
from functools import partial
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import requests
from botocore.exceptions import BotoCoreError, ClientError
from requests.auth import AuthBase

from local import console
from local.eventbridge import LOCAL
from local.lines import console as terminal
from local.lines import safe
from local.smoke import sign_in
from local.stack import CannotStart

COOKIE = "missions-console"
PASSED = {"content-type", "idempotency-key", "if-match", "if-none-match"}  # headers to the API
KEPT = {"content-type", "etag", "retry-after"}  # headers of its answers
MAX_BODY = 1024 * 1024
PATIENCE = 35  # seconds

Operate = Callable[[Any], Any]


class Server(ThreadingHTTPServer):
    """Serves who has the key, on this machine alone: what it signs counts as the caller's own."""

    daemon_threads = True

    def __init__(self, port: int, url: str, auth: AuthBase | None, operate: Operate | None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url, self.auth, self.operate = url.rstrip("/"), auth, operate
        self.key = secrets.token_urlsafe(24)
        self.address = f"http://127.0.0.1:{self.server_port}/?key={self.key}"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A file of the console, or a request to the API."""
        asked = urlsplit(self.path)
        if asked.path == "/" and secrets.compare_digest(parse_qs(asked.query).get("key", [""])[0], self.server.key):
            cookie = f"{COOKIE}={self.server.key}; HttpOnly; SameSite=Strict; Path=/"
            return self._send(303, {"Location": "/", "Set-Cookie": cookie}, b"")
        if not self._trusted():
            return None
        config = {"operate": True} if self.server.operate else {}
        if found := console.page(asked.path, self.headers.get("if-none-match", ""), config):
            return self._send(found["statusCode"], found["headers"], found["body"].encode())
        return self._forward()

    def do_POST(self) -> None:
        """A request to the API, or to the operator function."""
        if not self._trusted():
            return None
        if ("POST", self.path) != console.OPERATE or not self.server.operate:
            return self._forward()
        if console.PROOF not in self.headers:
            return self._told(403, "This is for the console alone.")
        try:
            answer = self.server.operate(json.loads(self._body()))
        except (ValueError, RecursionError):
            return self._told(400, "The body must be JSON.")
        except (BotoCoreError, ClientError, RuntimeError) as error:
            return self._told(503, f"The operator function did not answer: {error}")
        return self._send(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    do_DELETE = do_POST

    def _trusted(self) -> bool:
        """Whether the page that this server gave out asks, and not another one, nor another user of this machine."""
        host = self.headers.get("host", "").lower()
        own = LOCAL.fullmatch(host) and self.headers.get("origin", f"http://{host}").lower() == f"http://{host}"
        cookie = SimpleCookie(self.headers.get("cookie", "")).get(COOKIE)
        if own and cookie and secrets.compare_digest(cookie.value, self.server.key):
            return True
        self.close_connection = True  # its body is not read
        self._told(403, "Open the address that make console printed.")
        return False

    def _body(self) -> bytes:
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True
            raise ValueError("the body is too large, or of an unknown length")
        return self.rfile.read(int(length))

    def _forward(self) -> None:
        if not self.path.startswith("/api/missions"):
            return self._told(404, "Not Found")
        try:
            body = self._body()
            headers = {name: value for name, value in self.headers.items() if name.lower() in PASSED}
            answer = requests.request(
                self.command, self.server.url + self.path, data=body, headers=headers, auth=self.server.auth,
                timeout=PATIENCE, allow_redirects=False,
            )  # fmt: skip
        except ValueError:
            return self._told(413, "Request Entity Too Large")
        except (requests.RequestException, BotoCoreError) as error:
            return self._told(503, f"{type(error).__name__}: the API did not answer, or the request was not signed")
        kept = {name: value for name, value in answer.headers.items() if name.lower() in KEPT}
        return self._send(answer.status_code, kept, answer.content)

    def _told(self, status: int, message: str) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status not in (204, 304):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The page polls; nobody wants to read that."""


def invoke(client: Any, function: str, payload: Any) -> Any:
    """Invoke the operator function. Raises RuntimeError when it failed."""
    answer = client.invoke(FunctionName=function, Payload=json.dumps(payload))
    said = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise RuntimeError(said.get("errorMessage", "it failed"))
    return said


def outputs(stack: str) -> dict[str, str]:
    """The outputs of a stack of CloudFormation. Raises CannotStart."""
    try:
        (found,) = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise CannotStart(f"The stack {stack} cannot be read: {error}") from None
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}


def main(environment: str) -> int:
    """Serve until Ctrl-C."""
    try:
        found = outputs(f"missions-{environment}")
        url, function = found["ApiUrl"], found["OperatorFunctionName"]
        operate = partial(invoke, boto3.client("lambda"), function)
        server = Server(int(os.environ.get("PORT") or 0), url, sign_in(url, os.environ.get("TOKEN", "")), operate)
    except (CannotStart, OSError, ValueError) as error:
        terminal.print(f"[red]{safe(error)}[/]")
        return 1
    terminal.print(f"The console of {safe(url)}, with your credentials: [bold]{server.address}[/]\nCtrl-C ends it.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
