"""make console: the console for a stack in AWS, on this machine; requests are signed with the caller's credentials."""

import json
import os
import re
import secrets
import sys
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

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

KEY = "x-missions-key"  # the header in which the page shows that its address was opened
PASSED = {"content-type", "idempotency-key", "if-match", "if-none-match"}  # headers to the API
KEPT = {"content-type", "date", "etag", "retry-after"}  # headers of its answers
API = re.compile(r"/api/missions(?P<below>/[^?#]*)?(\?.*)?")
MAX_BODY = 1024 * 1024
PATIENCE = 35  # seconds

Operate = Callable[[Any], Any]


class Server(ThreadingHTTPServer):
    """Serves who has the key, on this machine alone: what it signs counts as the caller's own.

    Anybody may load the files of the page. The key comes in the fragment of the address, which no browser sends, and
    goes in a header, which no page of another origin can send.
    """

    daemon_threads = True

    def __init__(self, port: int, url: str, auth: AuthBase | None, operate: Operate) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.api, self.operate = url.rstrip("/"), operate
        self.session = requests.Session()
        self.session.auth = auth
        self.key = secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.address = f"{self.url}/#key={self.key}"

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
        config = {"operate": True, "signed": True}
        if found := console.page(path, self.headers.get("if-none-match", ""), config):
            return self._send(found["statusCode"], found["headers"], found["body"].encode())
        return self._forward(body) if self._has_key() else None

    def do_POST(self) -> None:
        """A request to the API, or to the operator function."""
        if (body := self._body()) is None or not self._has_key():
            return None
        if ("POST", self.path) != console.OPERATE:
            return self._forward(body)
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            return self._told(400, "The body must be JSON")
        try:
            answer = json.dumps(self.server.operate(payload)).encode()
        except Exception as error:  # of the function, of AWS, of the network: the page says it
            return self._told(503, f"The operator function did not answer: {error}")
        return self._send(200, {"Content-Type": "application/json"}, answer)

    do_DELETE = do_POST

    def _body(self) -> bytes | None:
        """The body, which is read in any case: what is left of it would be the next request. None if it is refused."""
        lengths = self.headers.get_all("content-length", ["0"])
        if not LOCAL.fullmatch(self.headers.get("host", "").lower()):
            self._told(403, "This host is not served")  # a page could have a name that leads to 127.0.0.1
        elif "transfer-encoding" in self.headers or len(lengths) > 1 or not re.fullmatch("[0-9]{1,9}", lengths[0]):
            self._told(411, "Content-Length must be given, once")
        elif int(lengths[0]) > MAX_BODY:
            self._told(413, "Request Entity Too Large")
        else:
            return self.rfile.read(int(lengths[0]))
        self.close_connection = True
        return None

    def _has_key(self) -> bool:
        if secrets.compare_digest(self.headers.get(KEY, "").encode(), self.server.key.encode()):
            return True
        self._told(401, "Open the address that make console printed")
        return False

    def _forward(self, body: bytes) -> None:
        asked = API.fullmatch(self.path)
        if not asked or {".", ".."} & set(unquote(asked["below"] or "").split("/")):
            return self._told(404, "Not Found")
        headers = {name: value for name, value in self.headers.items() if name.lower() in PASSED}
        try:
            answer = self.server.session.request(
                self.command, self.server.api + self.path, data=body, headers=headers, timeout=PATIENCE,
                allow_redirects=False,
            )  # fmt: skip
        except (requests.RequestException, BotoCoreError, ValueError) as error:
            return self._told(503, f"The API did not answer, or the request was not signed: {type(error).__name__}")
        kept = {name: value for name, value in answer.headers.items() if name.lower() in KEPT}
        return self._send(answer.status_code, kept, answer.content)

    def _told(self, status: int, message: str) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
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
    told = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}
    if not {"ApiUrl", "OperatorFunctionName"} <= told.keys():
        raise CannotStart(f"The stack {stack} is not deployed yet, or is not one of Missions")
    return told


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
