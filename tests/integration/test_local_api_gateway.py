"""The local API Gateway, served for real: what functions get, what clients get, and who is let in."""

import json
import re
import socket
import threading
import time
from asyncio import sleep
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from http.client import HTTPMessage, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlencode

import botocore.auth
import pytest
import uvicorn
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from local import api_gateway
from local.api_gateway import MAX_BODY, MAX_HEADERS, Gateway, Told, access_log, config
from local.eventbridge import REGION
from local.processes import unused_port
from local.template import template

LIST, CREATE, MINT, HEALTH = "GET /api/missions", "POST /api/missions", "POST /_local/token", "GET /api/missions/health"
MISSION = "/api/missions/{mission_id}"
PAGE = "https://app.example.com"
TEXT = "text/plain;charset=utf-8"
OTHER_KEY = RSAKey.generate_key(2048)


class Reply(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    """A gateway that is served, the function behind all of its routes, and a client."""

    def __init__(self, **options: Any) -> None:
        self.invoked: list[tuple[str, Any]] = []
        self.told: list[Told] = []
        self.gateway = Gateway(self.invoke, on_request=self.told.append, **options)
        self.port = unused_port()
        self.reset()

    def reset(self) -> None:
        self.invoked.clear()
        self.told.clear()
        self.answer: Any = {"statusCode": 200}  # an exception is raised
        self.seconds = 0.0  # that the function takes

    async def invoke(self, function: str, event: Any) -> Any:
        answer = self.answer
        self.invoked.append((function, event))
        await sleep(self.seconds)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def event(self) -> Any:
        """What the function got, which was invoked once."""
        ((_, event),) = self.invoked
        return event

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def send(self, line: str = LIST, *headers: str, body: bytes = b"") -> Reply:
        """Send a request just so, with a Host and a Content-Length if it has none; wait until it is told of."""
        names = {header.partition(":")[0].lower() for header in headers}
        more = [] if "host" in names else [f"Host: 127.0.0.1:{self.port}"]
        if body and names.isdisjoint({"content-length", "transfer-encoding"}):
            more.append(f"Content-Length: {len(body)}")
        sent = "\r\n".join((f"{line} HTTP/1.1", *headers, *more, "", "")).encode("latin-1") + body
        with self.connect() as connection, HTTPResponse(connection, method=line.partition(" ")[0]) as response:
            connection.sendall(sent)
            response.begin()
            reply = Reply(response.status, response.headers, response.read())
        if reply.body != b"Invalid HTTP request received.":  # the gateway never saw that
            wait_for(lambda: any(told.request_id == reply.headers["apigw-requestid"] for told in self.told))
        return reply


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


@contextmanager
def serving(**options: Any) -> Iterator[Api]:
    api = Api(**options)
    served = uvicorn.Server(config(api.gateway, api.port))
    thread = threading.Thread(target=served.run)
    thread.start()
    try:
        wait_for(lambda: served.started)
        yield api
    finally:
        served.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def served() -> Iterator[Callable[..., Api]]:
    """An API for each set of options, kept for the next test that asks for them."""
    with ExitStack() as stack:
        yield cache(lambda **options: stack.enter_context(serving(**options)))


@pytest.fixture
def start(served: Callable[..., Api]) -> Callable[..., Api]:
    def start(**options: Any) -> Api:
        served(**options).reset()
        return served(**options)

    return start


@pytest.fixture
def api(start: Callable[..., Api]) -> Api:
    """An API that lets everybody in."""
    return start()


@pytest.fixture
def jwt_api(start: Callable[..., Api]) -> Api:
    return start(sign_in="jwt", namespace_claim="tenant")


@pytest.fixture
def iam_api(start: Callable[..., Api]) -> Api:
    return start(sign_in="iam")


def token(api: Api, **asked: str) -> str:
    return f"Authorization: Bearer {api.send(MINT, body=urlencode(asked).encode()).json['access_token']}"


def forged(api: Api, key: Any = None, header: Any = None, **claims: Any) -> str:
    """A token with other claims, signed by the key of the issuer or by another one; None leaves a claim out."""
    own = api.gateway._authorizer.__self__._key  # type: ignore[union-attr]
    now = int(time.time())
    given = {"iss": f"http://127.0.0.1:{api.port}", "aud": "missions", "sub": "me", "iat": now, "exp": now + 60}
    kept = {name: value for name, value in (given | claims).items() if value is not None}
    head = {"alg": "RS256", "kid": own.kid} | (header or {})
    return jwt.encode(head, kept, key or own, algorithms=[head["alg"]])


def signed(
    api: Api, line: str, body: bytes = b"", secret: str = "local", scope: str = f"{REGION}/execute-api", **more: str
) -> list[str]:
    """The headers of a request that an AWS client signed."""
    (method, path), (region, service) = line.split(), scope.split("/")
    headers = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in more.items()}
    request = AWSRequest(method, f"http://127.0.0.1:{api.port}{path}", headers, body)
    SigV4Auth(Credentials("local", secret), service, region).add_auth(request)
    return [f"{name}: {value}" for name, value in request.headers.items()]


@pytest.mark.parametrize(
    ("line", "function", "route", "mission_id"),
    [
        (CREATE, "create_mission", CREATE, None),
        (LIST, "list_missions", LIST, None),
        ("GET /api/missions/a%20b%2Fc%C3%A9+d", "get_mission", f"GET {MISSION}", "a b/cé+d"),
        ("POST /api/missions/m-1/status", "update_status", f"POST {MISSION}/status", "m-1"),
        ("POST /api/missions/health/log", "append_log_entry", f"POST {MISSION}/log", "health"),
        ("GET /api/missions/m-1/log?limit=1", "get_log", f"GET {MISSION}/log", "m-1"),
        ("GET /api/missions/stats/overview", "get_stats", "GET /api/missions/stats/overview", None),
        ("GET /api/missions/openapi.json", "get_openapi", "GET /api/missions/openapi.json", None),
        (HEALTH, "health", HEALTH, None),
    ],
)
def test_a_route_leads_to_its_function_with_the_parameter_decoded(
    api: Api, line: str, function: str, route: str, mission_id: str | None
) -> None:
    assert api.send(line).status == 200
    assert [name for name, _ in api.invoked] == [function]
    assert api.event["routeKey"] == api.event["requestContext"]["routeKey"] == api.told[0].route == route
    assert api.event.get("pathParameters") == ({"mission_id": mission_id} if mission_id else None)


@pytest.mark.parametrize(
    "line", [f"DELETE {LIST[4:]}", f"HEAD {LIST[4:]}", f"{LIST}/", "GET /API/missions", f"{LIST}/a/b"]
)
def test_without_a_route_it_is_not_found(api: Api, line: str) -> None:
    reply = api.send(line)
    assert (reply.status, reply.headers["content-type"], api.invoked) == (404, "application/json", [])
    assert line.startswith("HEAD") or reply.json == {"message": "Not Found"}


def test_a_function_gets_the_request_in_payload_format_2(api: Api) -> None:
    path, query = "/api/missions/a%20b/log", "tag=x&tag=y%26&empty="
    sent = (
        "X-Many: one|x-many: two|Cookie: a=1; b=2|User-Agent: me|X-Forwarded-For: 9.9.9.9|Host: LOCALHOST|TE: trailers"
    )
    reply = api.send(f"POST {path}?{query}", *sent.split("|"), "Content-Type: text/plain", body="é".encode())
    event, context = api.event, api.event["requestContext"]
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", path, query)
    assert event["queryStringParameters"] == {"tag": "x,y&", "empty": ""}
    assert (event["pathParameters"], event["cookies"]) == ({"mission_id": "a b"}, ["a=1", "b=2"])
    assert (event["body"], event["isBase64Encoded"]) == ("é", False)
    named = {"x-many": "one,two", "user-agent": "me", "host": "LOCALHOST", "x-forwarded-for": "9.9.9.9, 127.0.0.1"}
    added = {"x-forwarded-port": str(api.port), "x-forwarded-proto": "http"}
    assert event["headers"] == named | added | {"content-type": "text/plain", "content-length": "2"}
    client = {"protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "me"}
    assert context["http"] == {"method": "POST", "path": path} | client
    assert (context["domainName"], context["stage"], context["accountId"]) == ("localhost", "$default", "123456789012")
    assert context["requestId"] == reply.headers["apigw-requestid"]
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context["time"])
    assert abs(context["timeEpoch"] / 1000 - time.time()) < 5
    api.reset()
    api.send()
    assert event.keys() - api.event.keys() == {"body", "cookies", "queryStringParameters", "pathParameters"}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("APPLICATION/JSON;charset=utf-8", '{"a": "é"}'.encode(), True),
        ("text/csv", b"a,b", True),
        ("application/octet-stream", b"a", False),
        ("", b"{}", False),
        ("application/json", b"\xff\x00", False),
    ],
)
def test_a_body_that_is_not_text_is_in_base64(
    api: Api, content_type: str, body: bytes, text: bool, chunked: bool
) -> None:
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    encoding = ["Transfer-Encoding: chunked"] if chunked else []
    api.send(CREATE, f"Content-Type: {content_type}", *encoding, body=chunks if chunked else body)
    assert api.event["isBase64Encoded"] is not text
    assert api.event["body"] == (body.decode() if text else b64encode(body).decode())
    assert api.event["headers"]["content-length"] == str(len(body))


@pytest.mark.parametrize(
    ("answer", "status", "content_type", "body"),
    [
        ({"statusCode": 201, "headers": {"Content-Type": "a/b"}, "body": "{}"}, 201, "a/b", b"{}"),
        ({"statusCode": "202", "body": "é"}, 202, TEXT, "é".encode()),
        ({"statusCode": 404, "body": None, "headers": None, "cookies": None}, 404, None, b""),
        ({"statusCode": 200, "body": "/wA=", "isBase64Encoded": True}, 200, TEXT, b"\xff\0"),
        ({"statusCode": 204, "body": "lost"}, 204, TEXT, b""),
        ({"statusCode": 304, "headers": {"ETag": "1"}}, 304, None, b""),
        (
            {"statusCode": 200, "headers": {"Content-Length": "9", "Transfer-Encoding": "x"}, "body": "1"},
            200,
            TEXT,
            b"1",
        ),
        ({"a": 1}, 200, "application/json", b'{"a": 1}'),
        ("text", 200, "application/json", b"text"),
        (None, 200, "application/json", b"null"),
    ],
)
def test_a_client_gets_what_the_function_answered(
    api: Api, answer: Any, status: int, content_type: str | None, body: bytes
) -> None:
    api.answer = answer
    reply = api.send()
    assert (reply.status, reply.headers["content-type"], reply.body) == (status, content_type, body)
    assert api.told[0].status == status


def test_headers_and_cookies_of_an_answer_reach_the_client(api: Api) -> None:
    api.answer = {
        "statusCode": 200,
        "headers": {"ETag": '"1"', "X-N": 5, "X-L": "é"},
        "cookies": ["a=1; Secure", "b=2"],
    }
    headers = api.send().headers
    assert (headers["etag"], headers["x-n"], headers["x-l"]) == ('"1"', "5", "é")
    assert headers.get_all("set-cookie") == ["a=1; Secure", "b=2"]


NONSENSE: list[tuple[str, list[Any]]] = [
    ("statusCode", ["secret", None, True, 0, 199, 600, [200]]),
    ("body", [5, {"a": 1}, "\ud800"]),
    ("headers", [["a"], {"a b": "1"}, {"": "1"}, {"é": "1"}, {5: "1"}]),
    ("headers", [{"x": value} for value in ("a\r\nSet-Cookie: b", "a\n", "☃", "\0")]),
    ("cookies", [5, [5], ["a=1\r\nX: y"]]),
]


def test_a_function_that_raises_or_answers_nonsense_is_an_internal_error(api: Api) -> None:
    wrong = [{"statusCode": 200, name: value} for name, values in NONSENSE for value in values]
    wrong += [{"statusCode": 200, "body": "no base64", "isBase64Encoded": True}]
    for answer in (*wrong, object(), RuntimeError("secret")):
        api.answer = answer
        reply = api.send()
        assert (reply.status, reply.json) == (500, {"message": "Internal Server Error"}), answer
        assert api.told[-1].integration_error
    assert api.told[-1].integration_error == "RuntimeError: secret"


def test_a_function_that_takes_too_long_is_answered_503(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(api_gateway, "TIMEOUT", 0.1)
    api.answer, api.seconds = RuntimeError("late"), 0.3
    reply = api.send()
    assert (reply.status, reply.json) == (503, {"message": "Service Unavailable"})
    assert "longer than" in api.told[0].integration_error
    api.answer, api.seconds = "well", 0.0
    assert api.send().body == b"well"
    assert caplog.records == []  # asyncio does not complain of the error


def test_a_body_of_ten_megabytes_is_taken_and_a_larger_one_is_not(api: Api) -> None:
    assert api.send(CREATE, "Content-Type: application/json", body=b"1" * MAX_BODY).status == 200
    assert len(api.event["body"]) == MAX_BODY == 10 * 1024 * 1024
    for encoding, body in (
        ("Content-Length: 10485761", b""),  # it is refused before it comes
        ("Content-Length: 10485761", b"1" * (MAX_BODY + 1)),
        ("Transfer-Encoding: chunked", b"800000\r\n%b\r\n" % (b"1" * 0x800000) * 2 + b"0\r\n\r\n"),
    ):
        reply = api.send(CREATE, encoding, body=body)
        assert (reply.status, reply.json) == (413, {"message": "Request Entity Too Large"})
    assert len(api.invoked) == 1


def test_headers_of_more_than_ten_kilobytes_are_refused(api: Api) -> None:
    for size, status in ((MAX_HEADERS - 200, 200), (MAX_HEADERS, 431)):
        assert api.send(LIST, f"X-A: {'a' * size}").status == status
        assert api.send(LIST, *(f"X-{number}: {'a' * (size // 50 + 1)}" for number in range(50))).status == status
        assert api.send(f"{LIST}?{'a' * size}").status == status
    assert len(api.invoked) == 3


@pytest.mark.parametrize("line", [CREATE, MINT, "GET /", "OPTIONS /api/missions"])
def test_a_foreign_name_or_web_page_is_refused(jwt_api: Api, line: str) -> None:
    own = f"127.0.0.1:{jwt_api.port}"
    hosts = ["evil.example", "localhost.evil.example:80", f"{own}@evil.example", "", "127.0.0.2", "localhost:80:80"]
    origins = ["https://evil.example", "null", "http://localhost:1", f"https://{own}", f"http://{own}.evil.example"]
    for header in (
        *(f"Host: {host}" for host in (*hosts, f"{own}\r\nHost: evil.example")),
        *(f"Origin: {origin}" for origin in (*origins, f"http://{own}\r\nOrigin: https://evil.example")),
    ):
        reply = jwt_api.send(line, header, "Access-Control-Request-Method: POST")
        assert reply.status == 403, header
        assert reply.json["message"] in (api_gateway.FOREIGN_HOST, api_gateway.FOREIGN_ORIGIN)
        assert "access-control-allow-origin" not in reply.headers
    assert jwt_api.invoked == []


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost", "LocalHost:5", "[::1]:8080"])
def test_the_names_of_this_machine_and_its_own_pages_are_let_in(api: Api, host: str) -> None:
    assert api.send(CREATE, f"Host: {host}", f"Origin: http://{host.lower()}").status == 200


@pytest.mark.parametrize("path", ["/api/missions/m-1", "/nothing"])
def test_a_preflight_is_answered_without_the_function(start: Callable[..., Api], path: str) -> None:
    api = start(cors_origin=PAGE, sign_in="jwt")
    reply = api.send(f"OPTIONS {path}", f"Origin: {PAGE}", "Access-Control-Request-Method: POST")
    assert (reply.status, reply.body, api.invoked) == (204, b"", [])
    assert {name: value for name, value in reply.headers.items() if name.startswith("access-control-")} == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET,POST,DELETE",
        "access-control-allow-headers": "authorization,content-type,idempotency-key,if-match,if-none-match,"
        "x-amz-content-sha256,x-amz-date,x-amz-security-token",
        "access-control-max-age": "3600",
    }


def test_the_page_that_may_call_can_read_answers(start: Callable[..., Api]) -> None:
    api = start(cors_origin=PAGE)
    api.answer = {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*", "ETag": "1"}}
    headers = api.send(LIST, f"Origin: {PAGE}").headers
    assert headers.get_all("access-control-allow-origin") == [PAGE]
    assert headers["access-control-expose-headers"] == "etag,idempotency-replayed,retry-after"
    assert headers["etag"] == "1"
    assert api.send(LIST, f"Origin: {PAGE}.evil.example").status == 403
    own = api.send(LIST, f"Origin: http://127.0.0.1:{api.port}")
    assert "access-control-expose-headers" not in own.headers
    for no_preflight in (f"Origin: {PAGE}", "Access-Control-Request-Method: POST"):
        assert api.send("OPTIONS /api/missions", no_preflight).status == 404
    assert len(api.invoked) == 2


def test_more_requests_than_the_limit_are_refused_until_time_has_passed(start: Callable[..., Api]) -> None:
    api = start(throttle=(5, 2))
    replies = [api.send() for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[2].json == {"message": "Too Many Requests"}
    assert len(api.invoked) == 2
    wait_for(lambda: api.send().status == 200)


def test_without_a_token_only_health_is_open(jwt_api: Api) -> None:
    reply = jwt_api.send()
    assert (reply.status, reply.json, jwt_api.invoked) == (401, {"message": "Unauthorized"}, [])
    assert reply.headers["www-authenticate"] == "Bearer"
    assert jwt_api.send(HEALTH).status == 200
    assert "authorizer" not in jwt_api.event["requestContext"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"key": OTHER_KEY}, "not signed by the issuer"),
        ({"header": {"kid": "another"}}, "does not name the key"),
        ({"aud": "another"}, "audience"),
        ({"aud": ["another"], "client_id": "missions"}, "audience"),
        ({"aud": None}, "audience"),
        ({"iss": "https://another.example"}, "another issuer"),
        ({"exp": 1}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "9999999999"}, "expired"),
        ({"nbf": 9_999_999_999}, "not valid yet"),
        ({"iat": 9_999_999_999}, "not valid yet"),
    ],
)
def test_a_token_that_is_not_good_is_refused(jwt_api: Api, changed: dict[str, Any], why: str) -> None:
    reply = jwt_api.send(LIST, f"Authorization: Bearer {forged(jwt_api, **changed)}")
    assert (reply.status, reply.json, jwt_api.invoked) == (401, {"message": "Unauthorized"}, [])
    assert why in jwt_api.told[-1].authorizer_error
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]


def test_what_is_no_token_of_the_issuer_is_refused(jwt_api: Api) -> None:
    public = jwt_api.send("GET /.well-known/jwks.json").json["keys"][0]
    head, claims, _ = forged(jwt_api).split(".")
    unsigned = b'{"alg":"none","kid":"%b"}' % public["kid"].encode()
    heads = [b64encode(each).decode().rstrip("=") for each in (unsigned, b"1", b"null", b'{"alg":[]}', b"[" * 5000)]
    for given in (
        forged(jwt_api, key=OctKey.import_key(public["n"]), header={"alg": "HS256"}),  # the public key as a secret
        *(f"{each}.{claims}.{end}" for each in (head, *heads) for end in ("", "YQ")),
        *("a", "..", "a.b.c", "a.b.c.d.e", "é", "\xff.\xff.\xff", "Basic bG9jYWw6", "Bearer"),
    ):
        assert jwt_api.send(LIST, f"Authorization: Bearer {given}").status == 401, given
    assert jwt_api.invoked == []


@pytest.mark.parametrize("prefix", ["Bearer ", "bearer  ", ""])
@pytest.mark.parametrize("changed", [{}, {"aud": ["other", "missions"]}, {"aud": None, "client_id": "missions"}])
def test_a_good_token_lets_its_caller_in(jwt_api: Api, changed: dict[str, Any], prefix: str) -> None:
    assert jwt_api.send(LIST, f"Authorization: {prefix}{forged(jwt_api, **changed)}").status == 200


def test_the_function_gets_the_claims_as_text(jwt_api: Api) -> None:
    jwt_api.send(LIST, f"Authorization: {forged(jwt_api, iat=5, exp=9_999_999_999, groups=['a', 1], admin=True)}")
    issued = {"iss": f"http://127.0.0.1:{jwt_api.port}", "aud": "missions", "iat": "5", "exp": "9999999999"}
    claims = issued | {"sub": "me", "groups": "[a 1]", "admin": "true"}
    assert jwt_api.event["requestContext"]["authorizer"] == {"jwt": {"claims": claims, "scopes": None}}
    assert (jwt_api.told[0].subject, jwt_api.told[0].namespace) == ("me", "")


@pytest.mark.parametrize("how", ["query", "form", "json"])
def test_a_token_is_minted_as_it_is_asked_for(jwt_api: Api, how: str) -> None:
    asked = {"namespace": "red", "sub": "ada", "scope": "a b", "expires_in": 60}
    body = {"query": "", "form": urlencode(asked), "json": json.dumps(asked)}[how]
    line = f"{MINT}?{urlencode(asked)}" if how == "query" else MINT
    minted = jwt_api.send(line, f"Content-Type: application/{how}", body=body.encode())
    assert minted.headers["cache-control"] == "no-store"
    assert (minted.json["token_type"], minted.json["expires_in"]) == ("Bearer", 60)
    jwt_api.send(LIST, f"Authorization: Bearer {minted.json['access_token']}")
    claims = jwt_api.event["requestContext"]["authorizer"]["jwt"]["claims"]
    assert (claims["tenant"], claims["sub"], claims["scope"]) == ("red", "ada", "a b")
    assert int(claims["exp"]) - int(claims["iat"]) == 60
    assert (jwt_api.told[-1].subject, jwt_api.told[-1].namespace) == ("ada", "red")


UNKNOWN, DEEP = ['{"admin": 1}', "admin=1", "sub=a&aud=b"], "[" * 100_000
LIVES = ['{"expires_in": %s}' % life for life in ("null", "[]", "1e999", "NaN", "1" * 5000)]  # noqa: UP031
TEXTS = ['{"%s": %s}' % (name, text) for name in ("sub", "scope", "namespace") for text in ("5", r'"\ud800"')]  # noqa: UP031


@pytest.mark.parametrize("body", [*UNKNOWN, *LIVES, *TEXTS, "expires_in=x", "{", "5", "null", '"text"', "[1]", DEEP])
def test_a_token_that_nobody_can_mint_is_refused(jwt_api: Api, body: str) -> None:
    kind = "x-www-form-urlencoded" if "=" in body else "json"
    reply = jwt_api.send(MINT, f"Content-Type: application/{kind}", body=body.encode())
    assert reply.status == 400
    assert reply.json["message"]


def test_a_namespace_needs_a_claim(start: Callable[..., Api]) -> None:
    api = start(sign_in="jwt")
    reply = api.send(f"{MINT}?namespace=red")
    assert (reply.status, "NAMESPACE_CLAIM" in reply.json["message"]) == (400, True)
    assert api.send(LIST, token(api)).status == 200
    assert api.told[-1].namespace == "default"


def test_a_token_needs_one_of_the_scopes_of_the_route(monkeypatch: pytest.MonkeyPatch) -> None:
    scoped = [replace(route, scopes=("read", "all")) for route in api_gateway.routes()]
    monkeypatch.setattr(api_gateway, "routes", lambda: scoped)
    with serving(sign_in="jwt") as api:
        for without in ("", "reads", "write"):
            reply = api.send(LIST, token(api, scope=without))
            assert (reply.status, reply.json, api.invoked) == (403, {"message": "Forbidden"}, [])
            assert "scopes" in api.told[-1].authorizer_error
        assert api.send(LIST, token(api, scope="write read")).status == 200
        assert api.event["requestContext"]["authorizer"]["jwt"]["scopes"] == ["read"]
        assert api.send(LIST, f"Authorization: {forged(api, scp=['all'])}").status == 200


def test_others_can_check_a_token_by_the_public_key(jwt_api: Api) -> None:
    about = jwt_api.send("GET /.well-known/openid-configuration").json
    assert about["issuer"] == f"http://127.0.0.1:{jwt_api.port}"
    (key,) = jwt_api.send(f"GET {about['jwks_uri'].removeprefix(about['issuer'])}").json["keys"]
    assert key.keys().isdisjoint({"d", "p", "q", "dp", "dq", "qi"})
    assert jwt.decode(token(jwt_api, sub="ada").split()[-1], RSAKey.import_key(key)).claims["sub"] == "ada"


@pytest.mark.parametrize(
    ("line", "body"),
    [
        (CREATE, b'{"a": 1}'),
        ("GET /api/missions?tag=b&tag=a&Q=a%20b&empty=&bare=%C3%A9~", b""),
        ("GET /api/missions/a%20b%2Fc", b""),
        ("POST /api/missions/m-1/log", b"\xff\x00"),
    ],
)
def test_what_an_aws_client_signed_is_let_in(iam_api: Api, line: str, body: bytes) -> None:
    assert iam_api.send(line, *signed(iam_api, line, body), body=body).status == 200
    iam = iam_api.event["requestContext"]["authorizer"]["iam"]
    assert (iam["accessKey"], iam["accountId"]) == ("local", "123456789012")
    assert iam_api.told[0].caller == iam["userArn"] == "arn:aws:iam::123456789012:user/local"


def test_what_was_not_signed_so_is_refused(iam_api: Api) -> None:
    line, body = f"{CREATE}?a=1", b"{}"
    good = signed(iam_api, line, body, x_extra="1")
    text = "\n".join(good)
    assert iam_api.send(line, *good, body=body).status == 200
    for what, sent, headers, content in (
        ("not at all", line, re.sub(r"\nAuthorization:.*", "", text).split("\n"), body),
        ("by another secret", line, signed(iam_api, line, body, secret="another"), body),
        ("for another region", line, signed(iam_api, line, body, scope="eu-west-3/execute-api"), body),
        ("for another service", line, signed(iam_api, line, body, scope=f"{REGION}/lambda"), body),
        ("another body", line, good, b"[]"),
        ("no body", line, good, b""),
        ("another hash", line, signed(iam_api, line, body, x_amz_content_sha256="0" * 64), body),
        ("another query", f"{CREATE}?a=2", good, body),
        ("another path", "POST /api/missions/m-1/log?a=1", good, body),
        ("another header", line, text.replace("x-extra: 1", "x-extra: 2").split("\n"), body),
        ("with a header more", line, text.replace("x-extra: 1\n", "").split("\n"), body),
        ("another host", line, [*good, f"Host: localhost:{iam_api.port}"], body),
        ("without a date", line, re.sub(r"X-Amz-Date:.*\n", "", text).split("\n"), body),
        ("with half a date", line, re.sub(r"(X-Amz-Date: \d{8}).*", r"\1", text).split("\n"), body),
        ("by nonsense", line, re.sub(r"(Signature=).*", r"\1é", text).split("\n"), body),
    ):
        assert headers != good or (sent, content) != (line, body), what
        reply = iam_api.send(sent, *headers, body=content)
        assert (reply.status, reply.json) == (403, {"message": "Forbidden"}), what
        assert iam_api.told[-1].authorizer_error, what
    assert len(iam_api.invoked) == 1
    assert iam_api.send(HEALTH).status == 200


def test_a_signature_that_leaves_out_the_host_is_refused(iam_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    every = SigV4Auth.headers_to_sign

    def all_but_the_host(self: SigV4Auth, request: AWSRequest) -> Any:
        headers = every(self, request)
        del headers["host"]
        return headers

    monkeypatch.setattr(SigV4Auth, "headers_to_sign", all_but_the_host)
    headers = signed(iam_api, LIST)
    assert "SignedHeaders=content-type;x-amz-date," in headers[-1]
    assert iam_api.send(LIST, *headers).status == 403


@pytest.mark.parametrize(("minutes", "status"), [(-6, 403), (-4, 200), (4, 200), (6, 403)])
def test_a_signature_holds_for_five_minutes(
    iam_api: Api, monkeypatch: pytest.MonkeyPatch, minutes: int, status: int
) -> None:
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: moment)
    assert iam_api.send(LIST, *signed(iam_api, LIST)).status == status


def test_a_client_that_goes_away_harms_nobody(api: Api) -> None:
    head = f"{CREATE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n".encode()
    chunked = head.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")
    for sent in (head[:-2], head, head + b"{", chunked + b"2\r\n{"):
        with api.connect() as connection:
            connection.sendall(sent)
    assert api.send().status == 200
    assert len(api.invoked) == len(api.told) == 1  # who did not say all did not ask
    api.seconds = 0.1
    with api.connect() as connection:
        connection.sendall(head + b"{}")
        wait_for(lambda: len(api.invoked) == 2)
    wait_for(lambda: len(api.told) == 2)  # the function went on
    assert api.send().status == 200


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        ("GET /api/missions/%1B[2J%3Cb%3E", {200}),
        ("GET /api/missions/[red]<script>alert(1)", {200}),
        ("GET /<script>alert(1)</script>", {404}),
        ("GET /%0d%0aX:%20y", {404}),
        ("GET /\x1b[31m", {400, 404}),
        ("GET /é", {400}),
        ("<b>GET</b> /", {400}),
        ("\x1b[2JGET /", {400}),
    ],
)
def test_markup_and_escape_sequences_harm_nothing(api: Api, line: str, statuses: set[int]) -> None:
    reply = api.send(line, "User-Agent: [bold]<b>\x80")
    assert reply.status in statuses
    assert b"<" not in reply.body
    assert b"\x1b" not in reply.body
    assert [(told.path, told.user_agent) for told in api.told] in ([], [(line[4:], "[bold]<b>\x80")])
    assert api.send().status == 200


def test_each_request_is_told_once(jwt_api: Api) -> None:
    jwt_api.answer = {"statusCode": 201, "body": "12345"}
    replies = [jwt_api.send(line, "User-Agent: me") for line in ("GET /", "GET /nothing?a=1", LIST, HEALTH)]
    assert [told.request_id for told in jwt_api.told] == [reply.headers["apigw-requestid"] for reply in replies]
    assert [(told.status, told.route) for told in jwt_api.told] == [(200, ""), (404, ""), (401, LIST), (201, HEALTH)]
    assert jwt_api.told[1].path == "/nothing"
    last = jwt_api.told[3]
    assert (last.method, last.source_ip, last.user_agent, last.bytes) == ("GET", "127.0.0.1", "me", 5)
    assert (0 < last.seconds < 5, abs(last.time - time.time()) < 5) == (True, True)


def test_the_access_log_has_the_fields_of_the_template(jwt_api: Api) -> None:
    jwt_api.send()
    logged = access_log(jwt_api.told[0]._replace(time=0.0, seconds=0.0126))
    assert list(logged) == list(json.loads(template()["Resources"]["Api"]["Properties"]["AccessLogSettings"]["Format"]))
    assert logged.pop("request_id") == jwt_api.told[0].request_id
    seen = {"time": "01/Jan/1970:00:00:00 +0000", "ip": "127.0.0.1", "route": LIST, "status": "401"}
    unknown = dict.fromkeys(("caller", "subject", "integration_error"), "-")
    counted = {"bytes": str(len('{"message": "Unauthorized"}')), "milliseconds": "13"}
    assert logged == seen | unknown | counted | {"authorizer_error": "there is no token"}
