"""API Gateway (HTTP API, payload format 2.0) on one machine, as an ASGI application: it answers as a client sees it.

The names in brackets below are pages of the API Gateway Developer Guide, where each rule comes from:
https://docs.aws.amazon.com/apigateway/latest/developerguide/{name}.html
"Observed" marks what no page says, and what others measured: the place is named with it.
"""

import asyncio
import json
import os
import re
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import uvicorn

from local import console, serving
from local.eventbridge import ACCOUNT, LOCAL
from local.processes import ROOT
from local.template import template

OPENAPI = ROOT / "functions/get_openapi/openapi.json"

# [http-api-quotas]
MAX_BODY = 10 * 1024 * 1024  # bytes
MAX_HEADERS = 10_240  # bytes of the request line and the values of the headers
TIMEOUT = 30.0  # seconds that a function may take

MESSAGES = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
FOREIGN_HOST = (
    "This API runs on one machine and takes only requests to 127.0.0.1, localhost and [::1]. "
    "Use one of these names in the URL."
)
FOREIGN_ORIGIN = (
    "This API runs on one machine and takes no requests of foreign web pages. "
    "To let the pages of one origin in, start it with CORS_ORIGIN set to this origin, such as http://localhost:8080."
)
# The other bodies are given to the function in base64. Observed: github.com/ministackorg/ministack/pull/766
TEXT = {"application/json", "application/javascript", "application/xml"}
HOP_BY_HOP = {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

Headers = tuple[tuple[str, str], ...]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def _api() -> dict[str, Any]:
    """The properties of the API in the template."""
    properties: dict[str, Any] = template()["Resources"]["Api"]["Properties"]
    return properties


@dataclass(frozen=True)
class Route:
    """A route of the template, such as GET /api/missions/{mission_id}, and the function behind it.

    Of `scopes` a token must have one, where there are any; None lets everybody in.
    """

    method: str
    path: str
    function: str
    scopes: tuple[str, ...] | None = None

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def pattern(self) -> re.Pattern[str]:
        """Of its path; {proxy+} takes all that follows. [http-api-develop-routes]"""
        greedy = re.sub(r"\\{(\w+)\\\+\\}", r"(?P<\1>.+)", re.escape(self.path))
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", greedy))


def routes() -> list[Route]:
    """The routes of template.yaml, those without a parameter first, as API Gateway prefers them."""
    paths = _api()["DefinitionBody"]["paths"]
    found = []
    for resource in template()["Resources"].values():
        properties = resource.get("Properties", {})
        for event in properties.get("Events", {}).values():
            if event["Type"] == "HttpApi":
                method, path = event["Properties"]["Method"].upper(), event["Properties"]["Path"]
                security = paths[path][method.lower()]["security"]
                scopes = tuple(scope for scheme in security for scope in scheme["caller"]) if security else None
                found.append(Route(method, path, Path(properties["CodeUri"]).name, scopes))
    return sorted(found, key=lambda route: ("{" in route.path, route.path))


class Told(NamedTuple):
    """What became of a request; text that came from the client may hold anything."""

    request_id: str
    time: float  # Unix seconds
    seconds: float
    source_ip: str
    user_agent: str
    method: str
    path: str  # as it was sent, without the query
    route: str  # such as GET /api/missions; empty without one
    status: int
    bytes: int
    namespace: str  # empty if the token names none
    caller: str  # the ARN of who signed
    subject: str  # of the token
    integration_error: str
    authorizer_error: str


@cache
def _log_format() -> dict[str, str]:
    """The fields of the template's access log, and the variable that each one holds."""
    fields: dict[str, str] = json.loads(_api()["AccessLogSettings"]["Format"])
    return fields


def access_log(told: Told) -> dict[str, str]:
    """What the access log of the template says. Variables without a value are "-". [http-api-logging-variables]"""
    known = {
        "$context.requestId": told.request_id,
        "$context.requestTime": _clock(told.time),
        "$context.identity.sourceIp": told.source_ip,
        "$context.identity.userArn": told.caller,
        "$context.authorizer.claims.sub": told.subject,
        "$context.routeKey": told.route,
        "$context.status": str(told.status),
        "$context.responseLength": str(told.bytes),
        "$context.responseLatency": str(round(told.seconds * 1000)),
        "$context.integrationErrorMessage": told.integration_error,
        "$context.authorizer.error": told.authorizer_error,
    }
    return {name: known[variable] or "-" for name, variable in _log_format().items()}


def _clock(moment: float) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(moment))


class Refused(Exception):
    """An answer that API Gateway gives itself. The client is not told the reason; the access log is."""

    def __init__(self, status: int, message: str = "", *, reason: str = "", headers: Headers = ()) -> None:
        super().__init__(reason or message)
        self.status, self.message, self.reason, self.headers = status, message or MESSAGES[status], reason, headers


class _Gone(Exception):
    """The client went away before its request was complete."""


class Answer(NamedTuple):
    """What the client gets."""

    status: int
    headers: Headers
    body: bytes


class Request:
    """A request, and what became known of it on its way."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.began = time.perf_counter()
        self.time = time.time()
        self.id = urlsafe_b64encode(os.urandom(11)).decode()  # of the form that API Gateway uses
        self.method: str = scope["method"]
        self.path: str = scope["raw_path"].decode("latin-1")
        self.query: str = scope["query_string"].decode("latin-1")
        self.source_ip: str = scope["client"][0]
        self.port: int = scope["server"][1]
        self.headers: dict[
            str, str
        ] = {}  # of the same name are joined by commas [http-api-develop-integrations-lambda]
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]},{text}" if key in self.headers else text
        local = LOCAL.fullmatch(self.headers.get("host", "").lower())
        self.host = local[1] if local else ""  # without the port; empty if it is a foreign one
        self.route: Route | None = None
        self.authorizer: dict[str, Any] = {}
        self.integration_error = self.authorizer_error = ""

    def size(self) -> int:
        """The bytes that count for MAX_HEADERS."""
        line = len(self.method) + len(self.path) + len(self.query) + len(" ? HTTP/1.1\r\n")
        return line + sum(map(len, self.headers.values()))

    def event(self, route: Route, parameters: dict[str, str], body: bytes) -> dict[str, Any]:
        """The payload for the function; what has the same name is joined by commas.

        [http-api-develop-integrations-lambda]
        """
        headers = {name: value for name, value in self.headers.items() if name not in HOP_BY_HOP}
        cookies = headers.pop("cookie", "")
        forwarded = headers.get("x-forwarded-for")
        headers["x-forwarded-for"] = f"{forwarded}, {self.source_ip}" if forwarded else self.source_ip
        headers["x-forwarded-port"] = str(self.port)
        headers["x-forwarded-proto"] = "http"
        event: dict[str, Any] = {
            "version": "2.0",
            "routeKey": route.key,
            "rawPath": self.path,
            "rawQueryString": self.query,
            "headers": headers,
            "requestContext": {
                "accountId": ACCOUNT,
                "apiId": "local",
                "domainName": self.host,
                "domainPrefix": self.host.partition(".")[0],
                "http": {
                    "method": self.method,
                    "path": self.path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": self.source_ip,
                    "userAgent": headers.get("user-agent", ""),
                },
                "requestId": self.id,
                "routeKey": route.key,
                "stage": "$default",
                "time": _clock(self.time),
                "timeEpoch": int(self.time * 1000),
            },
            "isBase64Encoded": False,
        }
        if self.authorizer:
            event["requestContext"]["authorizer"] = self.authorizer
        if cookies:
            event["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
        if self.query:
            joined: dict[str, str] = {}
            for name, value in parse_qsl(self.query, keep_blank_values=True):
                joined[name] = f"{joined[name]},{value}" if name in joined else value
            event["queryStringParameters"] = joined
        if parameters:
            event["pathParameters"] = parameters
        if body:
            headers.setdefault("content-length", str(len(body)))
            event["body"], event["isBase64Encoded"] = _text(body, headers.get("content-type", ""))
        return event


def _text(body: bytes, content_type: str) -> tuple[str, bool]:
    """The body as text, and whether that is base64."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in TEXT:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass  # what API Gateway does then is not known; base64 loses nothing
    return b64encode(body).decode(), True


def _mapped(answer: Any) -> Answer:
    """What a function answered. Without a statusCode all of it is the body. [http-api-develop-integrations-lambda]

    Raises an exception if it is not of this form.
    """
    if not isinstance(answer, dict) or "statusCode" not in answer:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return Answer(200, (("content-type", "application/json"),), text.encode())
    status, body = int(answer["statusCode"]), answer.get("body") or ""
    if not 200 <= status <= 599 or not isinstance(body, str):
        raise ValueError("it has no statusCode from 200 to 599, or a body that is not text")
    content = b64decode(body, validate=True) if answer.get("isBase64Encoded") else body.encode()
    headers = {"content-type": "text/plain;charset=utf-8"} if content else {}
    headers |= {name.lower(): str(value) for name, value in (answer.get("headers") or {}).items()}
    kept = [each for each in headers.items() if each[0] not in HOP_BY_HOP and each[0] != "content-length"]
    kept += [("set-cookie", cookie) for cookie in answer.get("cookies") or ()]
    for name, value in kept:
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            raise ValueError("it has a header that HTTP does not allow")
    return Answer(status, tuple(kept), content)


def _json(status: int, value: Any, headers: Headers = ()) -> Answer:
    return Answer(status, (("content-type", "application/json"), *headers), json.dumps(value).encode())


def _html(text: str) -> Answer:
    return Answer(200, (("content-type", "text/html; charset=utf-8"),), text.encode())


@cache
def _docs() -> Answer:
    """A page to read the API by, from the bundle that powertools carries."""
    from aws_lambda_powertools.event_handler.openapi import swagger_ui  # costs half a second

    bundle = Path(swagger_ui.__file__).parent
    script, style = ((bundle / name).read_text() for name in ("swagger-ui-bundle.min.js", "swagger-ui.min.css"))
    return _html(swagger_ui.generate_swagger_html(OPENAPI.read_text(), script, style, "", None))


class Bucket:
    """A token bucket: so many requests at once, and so many a second in the long run. [http-api-throttling]"""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._then = float(burst), time.monotonic()

    def take(self) -> bool:
        """Whether there is a token for one more request."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._then) * self._rate)
        self._then = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


async def _body(request: Request, receive: Receive) -> bytes:
    """The body. Raises Refused if it is too large, and _Gone."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BODY:
        raise Refused(413)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message["body"]
        if len(body) > MAX_BODY:
            raise Refused(413)
        if not message["more_body"]:
            return bytes(body)


class Gateway:
    """An ASGI application that answers as API Gateway does, and refuses what a foreign web page might send.

    `invoke` takes the name of a function and an event. `sign_in` is nothing, "jwt" or "iam". `namespace_claim` is the
    claim that names a caller's namespace, and `cors_origin` the one origin whose pages may call. `throttle` holds the
    requests a second and at once; None takes all.
    """

    def __init__(
        self,
        invoke: Callable[[str, Any], Awaitable[Any]],
        *,
        on_request: Callable[[Told], None],
        sign_in: str | None = None,
        namespace_claim: str = "",
        cors_origin: str = "",
        throttle: tuple[float, int] | None = None,
    ) -> None:
        self._invoke = invoke
        self._on_request = on_request
        found = routes()
        self._fixed = {(route.method, route.path): route for route in found if "{" not in route.path}
        self._patterns = [(route, route.pattern) for route in found if "{" in route.path]
        self._namespace_claim = namespace_claim
        self._origin = cors_origin
        self._cors = _api()["DefinitionBody"]["x-amazon-apigateway-cors"]["Fn::If"][1]
        self._bucket = Bucket(*throttle) if throttle else None
        self._pages: dict[tuple[str, str], Callable[[Request, bytes], Any]] = {
            ("GET", "/docs"): lambda request, body: _docs(),
        }
        self._console: Callable[[Request], dict[str, Any]] = lambda request: {} if sign_in else {"operate": True}
        self._operate = not sign_in
        self._home = ""  # the one name under which the issuer of this machine is known
        self._authorizer: Callable[[Request, bytes, tuple[str, ...]], dict[str, Any]] | None = None
        if sign_in == "jwt":
            from local.sign_in import Issuer  # costs 0.1 seconds

            issuer = Issuer(namespace_claim)
            self._authorizer = issuer.authorize
            self._console, self._home = issuer.console, "127.0.0.1"
            self._pages |= {
                **dict.fromkeys(
                    (("GET", "/_local/token"), ("POST", "/_local/token")),
                    lambda request, body: _json(200, issuer.mint(request, body), (("cache-control", "no-store"),)),
                ),
                **dict.fromkeys(
                    (("GET", "/_local/authorize"), ("POST", "/_local/authorize")),
                    lambda request, body: Answer(*issuer.sign_in(request, body)),
                ),
                ("GET", "/.well-known/openid-configuration"): lambda request, body: _json(200, issuer.about(request)),
                ("GET", "/.well-known/jwks.json"): lambda request, body: _json(200, issuer.keys()),
            }
        elif sign_in == "iam":
            from local.sign_in import authorize_signature

            self._authorizer = authorize_signature
        elif sign_in:
            raise ValueError(f"'{sign_in}' is no way to sign in here; there are jwt and iam")

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        request = Request(scope)
        try:
            answer = await self._answer(request, receive)
        except Refused as refusal:
            answer = _json(refusal.status, {"message": refusal.message}, refusal.headers)
        except _Gone:
            return
        headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers]
        headers.append((b"apigw-requestid", request.id.encode()))
        if answer.status not in (204, 304):
            headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if answer.status in (204, 304) else answer.body
        await send({"type": "http.response.body", "body": body})  # does nothing if the client went away
        self._on_request(self._told(request, answer))

    async def _answer(self, request: Request, receive: Receive) -> Answer:
        origin = request.headers.get("origin")
        if not request.host:  # a page could have a name that leads to 127.0.0.1
            raise Refused(403, FOREIGN_HOST)
        if origin and origin not in (f"http://{request.headers['host'].lower()}", self._origin):
            raise Refused(403, FOREIGN_ORIGIN)
        if request.size() > MAX_HEADERS:
            raise Refused(431)
        if page := self._pages.get((request.method, request.path)):
            answer: Answer = await asyncio.to_thread(page, request, await _body(request, receive))
            return answer
        if request.method == "GET":
            if console.PATHS.fullmatch(request.path) and self._home not in ("", request.host):
                return Answer(307, (("location", f"http://{self._home}:{request.port}/"),), b"")
            known = request.headers.get("if-none-match", "")
            if found := console.page(request.path, known, self._console(request)):
                return _mapped(found)
        if (request.method, request.path) == console.OPERATE and self._operate:
            return await self._operated(request, await _body(request, receive))
        cors = bool(origin) and origin == self._origin
        if cors and request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return Answer(204, self._preflight(), b"")
        route, parameters = self._match(request)
        request.route = route
        if self._bucket and not self._bucket.take():
            raise Refused(429)
        body = await _body(request, receive)
        if self._authorizer and route.scopes is not None:
            try:
                request.authorizer = self._authorizer(request, body, route.scopes)
            except Refused as refusal:
                request.authorizer_error = refusal.reason
                raise
        answer = await self._integrate(request, route, request.event(route, parameters, body))
        return self._with_cors(answer) if cors else answer

    async def _operated(self, request: Request, body: bytes) -> Answer:
        """What the operator function answers to the console, as it answers `make operate`."""
        if not console.may_operate(request.headers):
            raise Refused(403, FOREIGN_ORIGIN)
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(400, "The body must be JSON") from None
        try:
            return _json(200, await self._invoke("operate_events", asked))
        except Exception as error:  # of the function: its store does not answer, or EventBridge
            request.integration_error = f"{type(error).__name__}: {error}"
            raise Refused(503) from None

    def _match(self, request: Request) -> tuple[Route, dict[str, str]]:
        """The route, and the parameters in its path, decoded. [http-api-develop-routes]"""
        if route := self._fixed.get((request.method, request.path)):
            return route, {}
        for route, pattern in self._patterns:
            if route.method == request.method and (match := pattern.fullmatch(request.path)):
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        raise Refused(404)

    async def _integrate(self, request: Request, route: Route, event: dict[str, Any]) -> Answer:
        """Invoke the function. One that takes too long is not waited for; what has not begun by then never does."""
        try:
            async with asyncio.timeout(TIMEOUT) as limit:
                return _mapped(await self._invoke(route.function, event))
        except Exception as error:  # of the function, or its answer has no such form
            if limit.expired():
                request.integration_error = f"The function took longer than {TIMEOUT:.0f} seconds"
                raise Refused(503) from None
            request.integration_error = f"{type(error).__name__}: {error}"
            raise Refused(500) from None

    def _preflight(self) -> Headers:
        """[http-api-cors]: also for paths without a route, and never for the function or the authorizer to answer."""
        return (
            ("access-control-allow-origin", self._origin),
            ("access-control-allow-methods", ",".join(self._cors["allowMethods"])),
            ("access-control-allow-headers", ",".join(self._cors["allowHeaders"])),
            ("access-control-max-age", str(self._cors["maxAge"])),
        )

    def _with_cors(self, answer: Answer) -> Answer:
        """[http-api-cors]: the answer of a function gets the headers of the configuration, and none of its own."""
        kept = tuple(each for each in answer.headers if not each[0].startswith("access-control-"))
        exposed = ("access-control-expose-headers", ",".join(self._cors["exposeHeaders"]))
        return answer._replace(headers=(*kept, ("access-control-allow-origin", self._origin), exposed))

    def _told(self, request: Request, answer: Answer) -> Told:
        claims = request.authorizer.get("jwt", {}).get("claims", {})
        return Told(
            request_id=request.id,
            time=request.time,
            seconds=time.perf_counter() - request.began,
            source_ip=request.source_ip,
            user_agent=request.headers.get("user-agent", ""),
            method=request.method,
            path=request.path,
            route=request.route.key if request.route else "",
            status=answer.status,
            bytes=len(answer.body),
            namespace=claims.get(self._namespace_claim, "") if self._namespace_claim else "default",
            caller=request.authorizer.get("iam", {}).get("userArn", ""),
            subject=claims.get("sub", ""),
            integration_error=request.integration_error,
            authorizer_error=request.authorizer_error,
        )


def config(gateway: Gateway, port: int) -> uvicorn.Config:
    """How to serve it, for this machine alone."""
    return serving.config(gateway, host="127.0.0.1", port=port, http="httptools", timeout_keep_alive=75)
