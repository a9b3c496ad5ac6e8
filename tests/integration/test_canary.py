"""The canary calls every function of the API, also when some fail; and only a direct invocation names its namespace."""

import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
from botocore.config import Config

from functions.canary import app
from local.api_gateway import routes
from local.processes import unused_port
from tests.conftest import Answer, Listener, fresh_sandbox, invoke, sample

ROUTES = {route.function: route.key for route in routes() if route.key != "GET /console/{proxy+}"}
EVERY = [  # of a namespace, each of which a mission lets be called after the one before
    *("create_mission", "get_mission", "list_missions", "claim_mission", "heartbeat", "append_log_entry", "get_log"),
    *("cancel_missions", "retry_mission", "get_stats", "get_history", "delete_mission"),
]
OF_THE_FIRST = [  # steps that are about the first mission
    *("create_mission", "get_mission", "claim_mission", "heartbeat", "append_log_entry", "get_log"),
    *("cancel_missions", "retry_mission", "delete_mission"),
]
OF_THE_SECOND = ["update_status", "update_status", "list_missions", "delete_mission"]
HEALTH = "/api/missions/health"
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:"
Reply = tuple[int, dict[str, str], Any]  # status, headers, JSON

# What AWS answers, as botocore's model of Lambda has it (data/lambda/2015-03-31): the type is in a header
THROTTLED: Reply = (
    429,
    {"x-amzn-errortype": "TooManyRequestsException", "retry-after": "1"},
    {"Type": "User", "message": "Rate Exceeded.", "Reason": "ConcurrentInvocationLimitExceeded"},
)
ASLEEP: Reply = (409, {"x-amzn-errortype": "SnapStartNotReadyException"}, {"Type": "User", "Message": "Initializing"})
UNAVAILABLE: Reply = (200, {}, {"statusCode": 503, "headers": {}, "body": '{"code": "store_unavailable"}'})
NO_PROXY_ANSWER: Reply = (200, {}, None)


class Aws(ThreadingHTTPServer):
    """Lambda's Invoke API, behind which the real handlers are, and API Gateway with its open route.

    It answers with `instead` for these functions ("API Gateway" for that), and keeps the events that came.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.instead: dict[str, Reply] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def called(self) -> set[str]:
        return {function for function, _ in self.events}

    def invoke(self, arn: str, event: dict[str, Any]) -> Reply:
        function, _, alias = arn.removeprefix(ARN).partition(":")
        if not arn.startswith(ARN) or alias != "live":
            return 403, {"x-amzn-errortype": "AccessDeniedException"}, {"Message": f"not authorized: {arn}"}
        self.events.append((function, event))
        if function in self.instead:
            return self.instead[function]
        try:
            answer = importlib.import_module(f"functions.{function}.app").handler(event, None)
        except Exception as error:
            told = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": []}
            return 200, {"x-amz-function-error": "Unhandled"}, told
        return 200, {"x-amz-executed-version": "7"}, answer

    def ask(self, path: str) -> Reply:
        if "API Gateway" in self.instead:
            return self.instead["API Gateway"]
        if path != HEALTH:
            return 403, {}, {"message": "Forbidden"}  # the caller did not sign
        answer = importlib.import_module("functions.health.app").handler(sample("health"), None)
        return answer["statusCode"], answer["headers"], json.loads(answer["body"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer goes out as a whole: in pieces each would wait 40 ms for an ACK
    server: Aws

    def do_GET(self) -> None:
        self._reply(*self.server.ask(self.path))

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        version, functions, arn, invocations = self.path.removeprefix("/").split("/")
        assert (version, functions, invocations) == ("2015-03-31", "functions", "invocations")
        assert self.headers.get("x-amz-invocation-type", "RequestResponse") == "RequestResponse"
        assert "/lambda/aws4_request" in self.headers["authorization"]
        self._reply(*self.server.invoke(unquote(arn), event))

    def _reply(self, status: int, headers: dict[str, str], value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, each in headers.items():
            self.send_header(name, each)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def aws(stream: Listener, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """What the canary calls, on an empty store."""
    with Aws() as server:
        environment = {
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL_LAMBDA": server.url,
            "API_URL": server.url,
            "FUNCTIONS": json.dumps({function: f"{ARN}{function}:live" for function in ROUTES}),
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run() -> None:
    app.handler(sample("canary"), None)


def failures() -> list[str]:
    """What the error of a run names, one step a line."""
    with pytest.raises(RuntimeError) as raised:
        run()
    return str(raised.value).splitlines()


def test_a_run_calls_every_function_of_the_api_by_its_own_route(aws: Aws, stream: Listener) -> None:
    run()
    assert {function: event["routeKey"] for function, event in aws.events} == ROUTES
    assert len(aws.events) == 18  # with API Gateway, 19 steps, for which it has time (template.yaml)
    assert len({event["requestContext"]["requestId"] for _, event in aws.events}) == len(aws.events)
    assert len(stream.events) == 13  # each of the seven writes appends to the log, too
    assert {event.meta["namespace"] for event in stream.events} == {"canary"}


def test_a_run_leaves_no_mission(aws: Aws) -> None:
    for _ in range(3):
        run()
    assert invoke("list_missions", namespace="canary").body["missions"] == []
    stats = invoke("get_stats", namespace="canary").body["stats"]
    assert (stats["total"], stats["all_time"]["created"]) == (0, 6)


def test_what_a_failed_run_leaves_is_ended_and_removed_within_hours(aws: Aws) -> None:
    aws.instead["delete_mission"] = aws.instead["update_status"] = UNAVAILABLE
    failures()
    left = invoke("list_missions", namespace="canary").body["missions"]
    assert [(mission["status"], mission["retention"]) for mission in left] == [("PENDING", 3600), ("CANCELLED", 3600)]
    assert all(0 < mission["deadline"] - time.time() <= 3600 for mission in left)


def test_only_the_canarys_own_mission_is_taken(aws: Aws) -> None:
    """Another canary may run at the same moment."""
    invoke("create_mission", body={"id": "another", "name": "Canary", "tags": ["canary-1"]}, namespace="canary")
    run()
    (other,) = invoke("list_missions", namespace="canary").body["missions"]
    assert (other["id"], other["status"], other["version"]) == ("another", "PENDING", 1)


def test_a_run_works_with_tokens_that_name_namespaces(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMESPACE_CLAIM", "tenant")
    fresh_sandbox(Listener())
    run()


def test_missions_of_other_namespaces_are_not_seen_or_changed(aws: Aws) -> None:
    def seen(**namespace: Any) -> list[Any]:
        seen = ("list_missions", "get_stats", "get_history", "get_log")
        return [invoke(operation, **namespace).body for operation in seen]

    others: list[dict[str, Any]] = [{}, {"namespace": "acme"}]
    for other in others:
        invoke("create_mission", **other)
        invoke("update_status", body={"status": "RUNNING"}, **other)
        invoke("update_status", body={"status": "FAILED"}, **other)
        invoke("create_mission", body={"id": "waits", "name": "Canary"}, **other)
    before = [seen(**other) for other in others]
    run()
    assert [seen(**other) for other in others] == before


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (UNAVAILABLE, "503"),
        (THROTTLED, "TooManyRequestsException"),
        (ASLEEP, "SnapStartNotReadyException"),
        (NO_PROXY_ANSWER, "TypeError"),
    ],
    ids=["answers 503", "is throttled", "fell asleep", "answers nothing"],
)
def test_a_function_that_gives_no_good_answer_is_named_and_the_others_are_called(
    aws: Aws, reply: Reply, told: str
) -> None:
    aws.instead["get_stats"] = reply
    (failure,) = failures()
    assert failure.startswith("get_stats (GET /api/missions/stats/overview): expected 200 with")
    assert told in failure
    assert aws.called() == set(ROUTES)
    assert [function for function, _ in aws.events].count("get_stats") == 1  # it tries once


def test_a_function_that_raises_is_named_with_its_error(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(event: Any, context: Any) -> None:
        raise ValueError("no such luck")

    monkeypatch.setattr("functions.get_log.app.handler", handler)
    (failure,) = failures()
    assert "get_log" in failure
    assert "Unhandled" in failure
    assert "no such luck" in failure
    assert aws.called() == set(ROUTES)


def test_a_function_that_never_answers_is_named(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("functions.get_stats.app.handler", lambda event, context: over.wait(10))
    assert vars(app.LIMITS)["read_timeout"] > 10  # seconds, which a function may take
    monkeypatch.setattr(app, "LIMITS", app.LIMITS.merge(Config(read_timeout=0.2)))
    try:
        (failure,) = failures()
    finally:
        over.set()
    assert failure.startswith("get_stats")
    assert "ReadTimeoutError" in failure
    assert aws.called() == set(ROUTES)


def test_a_step_that_was_lost_is_noticed_by_the_steps_after_it(aws: Aws) -> None:
    """A function that answers well and does nothing."""
    entry = {"message": "The canary sings"}
    aws.instead["append_log_entry"] = 200, {}, {"statusCode": 201, "headers": {}, "body": json.dumps(entry)}
    (failure,) = failures()
    assert failure.startswith("get_log")


def test_a_console_without_its_page_is_noticed(aws: Aws) -> None:
    page = {"statusCode": 200, "headers": {}, "body": "<title>Something else</title>"}
    aws.instead["get_console"] = 200, {}, page
    (failure,) = failures()
    assert failure.startswith("get_console (GET /console): expected 200")


def test_a_first_mission_that_was_not_removed_is_noticed(aws: Aws) -> None:
    aws.instead["delete_mission"] = 200, {}, {"statusCode": 200, "headers": {}, "body": ""}
    named = [failure.partition(" (")[0] for failure in failures()]
    assert named == ["delete_mission", "list_missions", "delete_mission"]  # its tag finds the first one, too


def test_without_the_next_attempt_all_functions_are_still_called(aws: Aws) -> None:
    aws.instead["retry_mission"] = THROTTLED
    named = [failure.partition(" ")[0] for failure in failures()]
    assert named == ["retry_mission", *OF_THE_SECOND[:3]]  # what is removed twice is removed
    assert aws.called() == set(ROUTES)


def test_without_the_mission_all_functions_are_still_called(aws: Aws) -> None:
    aws.instead["create_mission"] = THROTTLED
    named = [failure.partition(" ")[0] for failure in failures()]
    assert named == [*OF_THE_FIRST, *OF_THE_SECOND]
    assert aws.called() == set(ROUTES)


@pytest.mark.parametrize("reply", [(429, {}, {"message": "Too Many Requests"}), (200, {}, {"status": "?"})], ids=repr)
def test_an_api_gateway_that_gives_no_good_answer_is_named(aws: Aws, reply: Reply) -> None:
    aws.instead["API Gateway"] = reply
    (failure,) = failures()
    assert failure.startswith(f"API Gateway (GET {HEALTH}): expected 200")
    assert str(reply[0]) in failure


def test_an_api_gateway_that_is_not_there_is_named(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_URL", f"http://127.0.0.1:{unused_port()}")
    (failure,) = failures()
    assert failure.startswith("API Gateway")
    assert aws.called() == set(ROUTES)


def test_a_function_that_nobody_told_the_canary_of_is_named(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {function: f"{ARN}{function}:live" for function in ROUTES if function != "health"}
    monkeypatch.setenv("FUNCTIONS", json.dumps(known))
    (failure,) = failures()
    assert failure.startswith("health")


def test_without_the_store_all_functions_are_called_and_one_error_names_all_that_failed(
    aws: Aws, stream: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{unused_port()}")
    fresh_sandbox(stream)
    told = failures()
    without_it = ["get_stats", "get_history", "health", "API Gateway"]
    assert [failure.partition(" (")[0] for failure in told] == [*OF_THE_FIRST, *OF_THE_SECOND, *without_it]
    assert all("503" in failure for failure in told)
    assert aws.called() == set(ROUTES)


# The namespace of a direct invocation


@pytest.fixture(params=["", "tenant"], ids=["without a claim", "with a claim"])
def claim(request: pytest.FixtureRequest, stream: Listener, monkeypatch: pytest.MonkeyPatch) -> str:
    """Without and with a claim that names the namespace."""
    monkeypatch.setenv("NAMESPACE_CLAIM", request.param)
    fresh_sandbox(stream)
    return str(request.param)


def through_the_api(operation: str, **changes: Any) -> Answer:
    """As a caller whose token names the namespace acme; without a configured claim that is `default`."""
    authorizer = {"authorizer": {"jwt": {"claims": {"tenant": "acme"}, "scopes": None}}}
    return invoke(operation, requestContext=sample(operation)["requestContext"] | authorizer, **changes)


def test_a_direct_invocation_names_its_namespace(claim: str, stream: Listener) -> None:
    assert invoke("create_mission", namespace="ops").status == 201
    assert stream.events[0].meta["namespace"] == "ops"
    assert through_the_api("get_mission").status == 404
    for operation in EVERY[1:]:
        assert invoke(operation, namespace="ops").status in (200, 201, 204), operation


def test_a_direct_invocation_comes_before_the_claim(claim: str, stream: Listener) -> None:
    assert through_the_api("create_mission", namespace="ops").status == 201
    assert stream.events[0].meta["namespace"] == "ops"


@pytest.mark.parametrize("bad", [None, "", "a}b", "a b", "x" * 129, "ops\n", ["ops"], {}, 5], ids=repr)
def test_a_direct_invocation_that_names_no_namespace_is_forbidden(
    claim: str, untouched: Callable[[], None], bad: Any
) -> None:
    for operation in EVERY:
        answer = through_the_api(operation, namespace=bad)
        assert (answer.status, answer.body["code"]) == (403, "forbidden"), operation


@pytest.mark.parametrize(
    "sent",
    [
        {"headers": {"namespace": "ops", "x-namespace": "ops"}},
        {"query": {"namespace": "ops"}},
        {"pathParameters": {"mission_id": "deploy-42", "namespace": "ops"}},
        {"stageVariables": {"namespace": "ops"}},
        {"cookies": ["namespace=ops"]},
        {"rawQueryString": "namespace=ops"},
    ],
    ids=repr,
)
def test_no_header_query_path_or_cookie_names_the_namespace(claim: str, stream: Listener, sent: dict[str, Any]) -> None:
    invoke("create_mission", namespace="ops")
    stream.events.clear()
    assert through_the_api("get_mission", **sent).status == 404
    assert through_the_api("create_mission", **sent).status == 201
    assert stream.events[0].meta["namespace"] == ("acme" if claim else "default")


def test_no_body_names_the_namespace(claim: str, stream: Listener) -> None:
    mine = "acme" if claim else "default"
    created = through_the_api("create_mission", body={"id": "m", "name": "n", "data": {"namespace": "ops"}})
    assert (created.status, stream.events[0].meta["namespace"]) == (201, mine)
    refused = through_the_api("create_mission", body={"id": "n", "name": "n", "namespace": "ops"})
    assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "/namespace")
