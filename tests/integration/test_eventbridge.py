"""Our calls of EventBridge are those of boto3, over connections that come and go."""

import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from missions.aws import Refused
from missions.domain.events import Event
from missions.publishing import eventbridge
from missions.publishing.eventbridge import EventBridge

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
        self.delay = 0.0

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
                time.sleep(recorder.delay)
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
    config = Config(retries={"total_max_attempts": 1})
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


@pytest.mark.parametrize("region", [REGION, "us-east-1", "cn-north-1"])
def test_without_an_endpoint_it_is_that_of_the_region(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_EVENTBRIDGE", raising=False)
    client = boto3.Session().client("events", region_name=region)
    assert EventBridge("missions", region)._api.url == f"{client.meta.endpoint_url}/"


def test_the_endpoint_of_all_services_counts_where_there_is_none_of_its_own(
    asked: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert EventBridge("missions", REGION).publish([EVENT]) == [None]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{os.environ['AWS_ENDPOINT_URL_EVENTBRIDGE']}/below/")
    monkeypatch.delenv("AWS_ENDPOINT_URL_EVENTBRIDGE")
    assert EventBridge("missions", REGION).publish([EVENT]) == [None]
    assert [path for path, _, _ in asked.asked] == ["/", "/below/"]


@pytest.mark.parametrize("url", ["events.example.com", "ftp://events.example.com", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", url)
    with pytest.raises(ValueError, match="must be a URL like https://events"):
        EventBridge("missions", REGION)


def test_without_a_region_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(NoRegionError):
        EventBridge("missions", None)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
    assert ".us-east-2." in EventBridge("missions", None)._api.url
    assert f".{REGION}." in EventBridge("missions", REGION)._api.url


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"Entries": [{}]}, "NoEventId"),
        ({"Entries": [{"EventId": ""}]}, "NoEventId"),
        ({"Entries": [{"EventId": "e", "ErrorCode": "InternalFailure"}]}, "InternalFailure"),
        ({"Entries": []}, "NoAnswer"),
        ({"Entries": [{"EventId": "e"}] * 2}, "NoAnswer"),
        ({"Entries": None}, "NoAnswer"),
        ({"Entries": {"0": 1}}, "NoAnswer"),
        ({"Entries": ["e"]}, "NoAnswer"),
        ({}, "NoAnswer"),
    ],
)
def test_an_event_was_taken_only_when_its_own_entry_says_so(asked: Recorder, answer: Any, error: str) -> None:
    asked.answer = json.dumps(answer).encode()
    assert EventBridge("missions", REGION).publish([EVENT]) == [error]


def test_a_time_out_is_not_tried_again(asked: Recorder) -> None:
    bus = EventBridge("missions", REGION, timeout=0.2)
    bus.publish([EVENT])
    asked.delay = 1
    with pytest.raises(TimeoutError):
        bus.publish([EVENT])
    assert len(asked.asked) == 2


def test_a_long_trace_is_cut_to_what_eventbridge_takes(asked: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "R" * 600)
    EventBridge("missions", REGION).publish([EVENT])
    ((_, _, body),) = asked.asked
    assert json.loads(body)["Entries"][0]["TraceHeader"] == "R" * 500


@pytest.mark.parametrize(
    ("code", "error"),
    [("ResourceNotFoundException", RuntimeError), ("ThrottlingException", Refused), ("AccessDeniedException", Refused)],
)
def test_only_a_bus_that_is_not_there_is_said_not_to_exist(asked: Recorder, code: str, error: type[Exception]) -> None:
    asked.status, asked.answer = 400, json.dumps({"__type": code}).encode()
    with pytest.raises(error):
        EventBridge.existing("missions", REGION)


def test_whether_there_is_a_bus_is_asked_within_a_deadline(asked: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventbridge, "DESCRIBE", 0.1)
    asked.delay = 2
    with pytest.raises(TimeoutError):
        EventBridge.existing("missions", REGION)


def test_credentials_that_were_renewed_sign_the_next_call(asked: Recorder) -> None:
    bus = EventBridge("missions", REGION)
    names = iter(["first", "second"])
    good = RefreshableCredentials.create_from_metadata(
        metadata(next(names)), refresh_using=lambda: metadata(next(names)), method="container-role"
    )
    session: Any = bus._api._session
    session._credentials = good
    bus.publish([EVENT])
    vars(good)["_expiry_time"] = datetime.now(UTC)
    bus.publish([EVENT])
    keys = [headers["authorization"].partition("Credential=")[2].partition("/")[0] for _, headers, _ in asked.asked]
    assert keys == ["first", "second"]


def metadata(name: str) -> dict[str, str]:
    expires = datetime.now(UTC) + timedelta(hours=6)
    return {"access_key": name, "secret_key": "s", "token": "t", "expiry_time": expires.isoformat()}


def test_only_a_server_that_is_vouched_for_is_spoken_to(
    asked: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    class Secure(asked.handler()):  # type: ignore[misc]
        def setup(self) -> None:
            self.request: Any = context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
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
                asked.closes = True
                assert [bus.publish([EVENT]) for _ in range(3)] == [[None]] * 3  # each time it was closed meanwhile
                asked.closes = False
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
