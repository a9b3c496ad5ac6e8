"""Our calls of EventBridge are those of boto3, over connections that come and go."""

import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from missions.domain.events import Event
from missions.publishing.eventbridge import EventBridge, Refused

from local.doubles.http import Handler, serve
from tests.conftest import sample
from tests.tls import make_certificate

REGION = "eu-central-1"
EVENT = Event.model_validate(sample("mission.created")["detail"])
TAKEN = (200, b'{"FailedEntryCount":0,"Entries":[{"EventId":"e"}]}')
SIGNED = {"host", "content-type", "x-amz-date", "x-amz-target", "x-amz-security-token", "authorization"}


class Recorder:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.connections: list[Any] = []
        self.status, self.answer = TAKEN
        self.closes = False

    def handler(self) -> type[Handler]:
        recorder = self

        class Api(Handler):
            def setup(self) -> None:
                recorder.connections.append(self.request)
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                recorder.asked.append((self.path, headers, body))
                self.send(recorder.status, recorder.answer)
                self.close_connection = recorder.closes

        return Api


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    made = Recorder()
    with serve(made.handler()) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", f"http://{address}")
        yield made


@pytest.mark.parametrize("token", [None, "a-session-token"])
def test_a_call_is_the_one_that_boto3_makes_to_the_byte(
    asked: Recorder, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    for signer in ("botocore.auth", "botocore.crt.auth"):  # which boto3 takes where awscrt is installed
        monkeypatch.setattr(f"{signer}.get_current_datetime", lambda **_: datetime(2026, 11, 26, 12, tzinfo=UTC))
    strange = EVENT.model_copy(update={"payload": EVENT.payload.model_copy(update={"name": 'ü "\u2028 𝄞'})})
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793")
    assert EventBridge("missions", REGION).publish([strange]) == [None]
    ours = asked.asked.pop()
    boto3.Session().client("events", region_name=REGION).put_events(
        Entries=[
            {
                "Source": "missions_service",
                "DetailType": "mission.created",
                "Detail": strange.detail,
                "Time": datetime.fromtimestamp(strange.timestamp, UTC),
                "EventBusName": "missions",
                "TraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793",
            }
        ]
    )
    path, headers, body = asked.asked.pop()
    assert (ours[0], ours[2]) == (path, body)
    assert {name: ours[1].get(name) for name in SIGNED} == {name: headers.get(name) for name in SIGNED}
    assert ("x-amz-security-token" in headers) == bool(token)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (400, b'{"__type":"ThrottlingException","message":"slower"}'),
        (400, b'{"__type":"com.amazonaws.events#ValidationException","message":"no"}'),
        (413, b'{"__type":"RequestEntityTooLargeException"}'),
        (500, b""),
        (503, b"{}"),
    ],
)
def test_an_error_has_the_code_that_boto3_gives_it(asked: Recorder, status: int, answer: bytes) -> None:
    asked.status, asked.answer = status, answer
    config = boto3.session.Config(retries={"total_max_attempts": 1})
    with pytest.raises(ClientError) as theirs:
        boto3.Session().client("events", region_name=REGION, config=config).describe_event_bus(Name="x")
    with pytest.raises(Refused) as ours:
        EventBridge("missions", REGION).publish([EVENT])
    assert ours.value.code == theirs.value.response["Error"]["Code"]


@pytest.mark.parametrize(("status", "answer"), [(200, b"<html>"), (502, b"<html>"), (200, b"\xff"), (400, b"[1]")])
def test_an_answer_that_is_none_of_eventbridge_is_never_taken_for_the_events_own_fault(
    asked: Recorder, status: int, answer: bytes
) -> None:
    asked.status, asked.answer = status, answer
    with pytest.raises(Refused) as refused:
        EventBridge("missions", REGION).publish([EVENT])
    assert refused.value.code in ("BadAnswer", str(status))


def test_calls_share_a_connection(asked: Recorder) -> None:
    bus = EventBridge("missions", REGION)
    assert [bus.publish([EVENT]) for _ in range(5)] == [[None]] * 5
    assert len(asked.connections) == 1


def test_calls_at_the_same_time_have_a_connection_each(asked: Recorder) -> None:
    bus = EventBridge("missions", REGION)
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(bus.publish([EVENT]))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == [[None]] * 8
    assert {json.loads(body)["Entries"][0]["Detail"] for _, _, body in asked.asked} == {EVENT.detail}


def test_a_connection_that_was_closed_while_nobody_used_it_costs_no_event(asked: Recorder) -> None:
    bus = EventBridge("missions", REGION)
    asked.closes = True  # without a word: the answers before promised to keep it
    assert [bus.publish([EVENT]) for _ in range(3)] == [[None]] * 3
    assert (len(asked.asked), len(asked.connections)) == (3, 3)


def test_a_new_connection_that_breaks_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks(Handler):
        calls = 0

        def do_POST(self) -> None:
            Breaks.calls += 1
            self.close_connection = True

    with serve(Breaks) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", f"http://{address}")
        with pytest.raises(ConnectionError):
            EventBridge("missions", REGION).publish([EVENT])
    assert Breaks.calls == 1


def test_without_an_endpoint_it_is_that_of_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_EVENTBRIDGE", raising=False)
    client = boto3.Session().client("events", region_name=REGION)
    assert EventBridge("missions", REGION)._url == client.meta.endpoint_url


def test_only_a_server_that_is_vouched_for_is_spoken_to(
    asked: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    class Secure(asked.handler()):  # type: ignore[misc]
        def setup(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
            super().setup()

        def handle(self) -> None:
            with self.request:
                super().handle()

    with serve(Secure) as address:
        for host, authority, works in (
            (address, str(certificate), True),
            (address, None, False),
            (address.replace("127.0.0.1", "localhost"), str(certificate), False),
        ):
            monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", f"https://{host}")
            monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
            if authority:
                monkeypatch.setenv("AWS_CA_BUNDLE", authority)
            bus = EventBridge("missions", REGION)
            if works:
                assert bus.publish([EVENT]) == [None]
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    bus.publish([EVENT])


def test_without_credentials_it_says_so(asked: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises((RuntimeError, BotoCoreError), match="credentials"):
        EventBridge("missions", REGION).publish([EVENT])
    assert asked.asked == []
