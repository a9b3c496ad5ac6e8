"""API Gateway on one machine: the routes of template.yaml, payloads of format 2.0, and sandboxes to invoke.

A sandbox is a process that takes one request at a time, as in Lambda.
"""

import base64
import importlib
import json
import multiprocessing
import os
import re
import signal
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from aws_lambda_powertools.event_handler.openapi import swagger_ui
from samcli.yamlhelper import yaml_parse
from werkzeug.wrappers import Request, Response

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "template.yaml"
OPENAPI = ROOT / "functions/get_openapi/openapi.json"
SANDBOXES = 4
MAX_BODY = 10 * 1024 * 1024  # bytes, API Gateway's own limit
TIMEOUT = 30  # seconds, API Gateway's own limit


@dataclass(frozen=True)
class Route:
    """A route of the template, such as GET /api/missions/{mission_id}, and the function behind it."""

    method: str
    path: str
    function: str

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path)))


def routes() -> list[Route]:
    """The routes of template.yaml, those without a parameter first, as API Gateway prefers them."""
    found = []
    for resource in yaml_parse(TEMPLATE.read_text())["Resources"].values():
        properties = resource.get("Properties", {})
        for event in properties.get("Events", {}).values():
            if event["Type"] == "HttpApi":
                asked = event["Properties"]
                found.append(Route(asked["Method"].upper(), asked["Path"], Path(properties["CodeUri"]).name))
    return sorted(found, key=lambda route: ("{" in route.path, route.path))


@dataclass
class Context:
    """What Lambda passes beside the event."""

    function_name: str
    timeout: float = 55
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    aws_request_id: str = field(default_factory=lambda: str(uuid4()))
    started: float = field(default_factory=time.monotonic)

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:local:123456789012:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self.timeout - (time.monotonic() - self.started)))


def _prepare(environment: dict[str, str], functions: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the sandboxes
    os.environ.update(environment)
    for function in functions:
        importlib.import_module(f"functions.{function}.app")


def _invoke(function: str, event: dict[str, Any]) -> Any:
    try:
        return importlib.import_module(f"functions.{function}.app").handler(event, Context(function))
    except Exception as error:
        traceback.print_exc()
        raise FunctionError(f"{type(error).__name__}: {error}") from None  # any other may not survive the way back


class FunctionError(Exception):
    """A function raised; its traceback is on the console."""


class Gateway:
    """A WSGI application that answers as API Gateway does; `on_request` is told method, path, status and seconds."""

    def __init__(self, environment: dict[str, str], on_request: Callable[[str, str, int, float], None]) -> None:
        self._routes = routes()
        self._on_request = on_request
        functions = [route.function for route in self._routes]
        self._sandboxes = ProcessPoolExecutor(
            SANDBOXES, multiprocessing.get_context("spawn"), _prepare, (environment, functions)
        )

    def invoke(self, function: str, event: dict[str, Any]) -> "Future[Any]":
        """Invoke a function with a payload of one's own, as `aws lambda invoke` does."""
        return self._sandboxes.submit(_invoke, function, event)

    def close(self) -> None:
        """End the sandboxes, once what they are doing is done."""
        self._sandboxes.shutdown(cancel_futures=True)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        started = time.monotonic()
        request = Request(environ)
        response = self._answer(request)
        self._on_request(request.method, _raw_path(request), response.status_code, time.monotonic() - started)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        path = _raw_path(request)
        if path == "/docs":
            return Response(_docs(), content_type="text/html")
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match and route.method == request.method:
                break
        else:
            return _message(404, "Not Found")
        if (request.content_length or 0) > MAX_BODY:
            return _message(413, "Request Entity Too Large")
        parameters = {name: unquote(value) for name, value in match.groupdict().items()}
        try:
            answer = self.invoke(route.function, _event(route, request, parameters)).result(TIMEOUT)
        except TimeoutError:
            return _message(503, "Service Unavailable")
        except FunctionError:
            return _message(500, "Internal Server Error")
        body = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"]
        return Response(body, answer["statusCode"], answer["headers"])


@cache
def _docs() -> str:
    """A page to read the API by, from the bundle that powertools carries."""
    bundle = Path(swagger_ui.__file__).parent
    script, style = ((bundle / name).read_text() for name in ("swagger-ui-bundle.min.js", "swagger-ui.min.css"))
    return swagger_ui.generate_swagger_html(OPENAPI.read_text(), script, style, "", None)


def _message(status: int, text: str) -> Response:
    return Response(json.dumps({"message": text}), status, content_type="application/json")


def _raw_path(request: Request) -> str:
    return str(request.environ["RAW_URI"]).partition("?")[0]


def _event(route: Route, request: Request, parameters: dict[str, str]) -> dict[str, Any]:
    """The request in API Gateway's payload format 2.0."""
    raw = request.get_data()
    try:
        body, binary = raw.decode(), False
    except UnicodeDecodeError:
        body, binary = base64.b64encode(raw).decode(), True
    path = _raw_path(request)
    now = time.time()
    event = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": path,
        "rawQueryString": request.query_string.decode("latin-1"),
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": request.host,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.remote_addr,
                "userAgent": request.headers.get("User-Agent", ""),
            },
            "requestId": str(uuid4()),
            "routeKey": route.key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": binary,
    }
    query = {name: ",".join(values) for name, values in request.args.lists()}
    return event | {
        name: value
        for name, value in (("pathParameters", parameters), ("queryStringParameters", query), ("body", body))
        if value
    }
