"""Every fault, in the midst of traffic: nothing that was acknowledged is lost, and every event arrives.

A third of the operations runs before the fault, a third under it and a third after it; `System.account` is the proof.
"""

import itertools
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from missions import runtime
from missions.storage import scripts
from missions.storage.connection import Connection, connect
from missions.storage.scripts import Script

from tests.conftest import fresh_sandbox
from tests.faults.harness import KEYS, OneServer, bus_fault, no_fault

pytestmark = pytest.mark.usefixtures("a_connection_for_each_thread")
Fault = Callable[[OneServer], AbstractContextManager[None]]


def after(seconds: float, action: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


@contextmanager
def valkey_killed_and_restarted(system: OneServer) -> Iterator[None]:
    def kill() -> None:
        system.kill()
        time.sleep(0.3)
        system.restart()

    timer = after(0.05, kill)
    yield
    timer.join()


@contextmanager
def valkey_paused_past_the_timeout(system: OneServer) -> Iterator[None]:
    # Longer than two answers are waited for: one may be that of an acknowledgement, which its caller does not wait for.
    timers = [after(0.05, lambda: system.signal(signal.SIGSTOP)), after(5, lambda: system.signal(signal.SIGCONT))]
    yield
    for timer in timers:
        timer.join()


@contextmanager
def connections_reset_before_the_reply(system: OneServer) -> Iterator[None]:
    """Every 20th answer of the server is thrown away and its connection reset: the script has run."""
    listener = socket.create_server(("127.0.0.1", 0))
    answers = itertools.count(1)
    resets = []

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", system.server.port)) as server:
            while request := client.recv(1 << 20):
                server.sendall(request)
                answer = server.recv(1 << 20)
                if next(answers) % 20 == 0 and b"EVALSHA" in request:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    resets.append(answer)
                    return
                client.sendall(answer)

    def accept() -> None:
        try:
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()
        except OSError:
            pass  # closed

    threading.Thread(target=accept, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", f"redis://127.0.0.1:{listener.getsockname()[1]}")
        fresh_sandbox()
        yield
    assert resets
    listener.close()
    fresh_sandbox()


@contextmanager
def script_cache_flushed(system: OneServer) -> Iterator[None]:
    done = threading.Event()

    def flush() -> None:
        while not done.wait(0.01):
            system.redis.script_flush()

    thread = threading.Thread(target=flush)
    thread.start()
    yield
    done.set()
    thread.join()


@contextmanager
def out_of_memory(system: OneServer) -> Iterator[None]:
    system.redis.config_set("maxmemory", "1mb")
    yield
    system.redis.config_set("maxmemory", "0")


@contextmanager
def key_of_a_wrong_type(system: OneServer) -> Iterator[None]:
    system.redis.rename(KEYS.stats, "aside")
    system.redis.set(KEYS.stats, "in the way")
    yield
    system.redis.rename("aside", KEYS.stats)


@contextmanager
def readonly_replica(system: OneServer) -> Iterator[None]:
    system.redis.replicaof("127.0.0.1", 1)  # nothing listens there; what it has it keeps
    yield
    system.redis.replicaof("NO", "ONE")


@contextmanager
def clock_set_back(system: OneServer) -> Iterator[None]:
    """The scripts see a clock that was set back by an hour."""
    back = "(function() local t = redis.call('TIME') return {tostring(t[1] - 3600), t[2]} end)()"

    changed = []

    def patched(name: str) -> Script:
        text = scripts.load(name).text.replace("redis.call('TIME')", back)
        assert "TIME" not in text.replace(back, ""), f"{name} sees another clock"
        changed.append(back in text)
        return Script.of(text)

    here = fresh_sandbox()
    here.connection = Connection(connect(here.settings).nodes, patched)
    yield
    assert any(changed)
    fresh_sandbox()


@contextmanager
def eventbridge_refused(system: OneServer) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as closed:
        patch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", f"http://127.0.0.1:{closed.getsockname()[1]}")
        closed.close()
        fresh_sandbox()
        assert runtime.current.settings.event_bus_name
        yield
    fresh_sandbox()


FAULTS: dict[str, Fault] = {
    "none": no_fault,
    "Valkey killed and restarted": valkey_killed_and_restarted,
    "Valkey paused past the time-out": valkey_paused_past_the_timeout,
    "connection reset before the reply": connections_reset_before_the_reply,
    "script cache flushed": script_cache_flushed,
    "out of memory": out_of_memory,
    "key of a wrong type": key_of_a_wrong_type,
    "read-only replica": readonly_replica,
    "clock set back an hour": clock_set_back,
    "EventBridge refuses connections": eventbridge_refused,
    "EventBridge hangs": bus_fault("hang"),
    "EventBridge throttles": bus_fault("throttle"),
    "EventBridge denies access": bus_fault("denied"),
    "EventBridge answers 500": bus_fault("error"),
    "EventBridge fails in part": bus_fault("partial"),
    "EventBridge answers an empty 200": bus_fault("empty"),
    "EventBridge resets connections": bus_fault("reset"),
}


# Where Redis itself is hurt, callers are told; nothing else reaches them.
TOLD = {
    "Valkey killed and restarted",
    "Valkey paused past the time-out",
    "out of memory",
    "key of a wrong type",
    "read-only replica",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_acknowledged_is_lost(system: OneServer, operations: int, fault: str) -> None:
    figures = system.run(operations, FAULTS[fault])
    assert figures.operations == operations
    assert figures.acknowledged > operations / 5
    # Of the many retries after a reset a few are reset as well.
    assert (figures.unknown > 0) == (fault in TOLD) or fault == "connection reset before the reply"
