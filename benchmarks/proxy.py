"""A TCP proxy that adds a delay to each round trip, as the way to Redis in a VPC does, and counts the round trips."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import redis

from benchmarks.timing import Contender, check, side_by_side


@dataclass
class Proxy:
    """A running proxy. A round trip is what a client sends before it waits for the answer; `commands` are their names.

    A client's first round trips (HELLO, CLIENT) are counted as well, so count on warm connections.
    """

    port: int = 0
    delay: float = 0.0
    round_trips: int = 0
    commands: list[str] = field(default_factory=list)

    def reset(self) -> None:
        self.seen()
        self.round_trips = 0
        self.commands.clear()

    def seen(self) -> tuple[int, list[str]]:
        """The round trips and the commands so far, when the last one is surely counted."""
        time.sleep(0.05)
        return self.round_trips, list(self.commands)


def _whole_commands(buffer: bytes) -> list[str] | None:
    """The names of the commands in a buffer (RESP arrays of bulk strings), or None while the last is incomplete."""
    names = []
    at = 0
    while at < len(buffer):
        end = buffer.find(b"\r\n", at)
        if end < 0:
            return None
        count = int(buffer[at + 1 : end])
        at = end + 2
        for number in range(count):
            end = buffer.find(b"\r\n", at)
            if end < 0:
                return None
            length = int(buffer[at + 1 : end])
            at = end + 2 + length + 2
            if at > len(buffer):
                return None
            if number == 0:
                names.append(buffer[end + 2 : at - 2].decode().upper())
    return names


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy before this port of the loopback interface, without a delay as yet."""
    state = Proxy()
    listener = socket.create_server(("127.0.0.1", 0))
    state.port = listener.getsockname()[1]

    def requests(client: socket.socket, server: socket.socket) -> None:
        buffer = b""
        with suppress(OSError):
            while chunk := client.recv(65536):
                if not buffer and state.delay:
                    time.sleep(state.delay)
                server.sendall(chunk)
                buffer += chunk  # counted while the server works, so that counting delays no one
                if (names := _whole_commands(buffer)) is not None:
                    state.round_trips += 1
                    state.commands += names
                    buffer = b""
        _shut(server)

    def replies(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while chunk := server.recv(1 << 20):
                client.sendall(chunk)
        _shut(client)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", target))
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for work in (requests, replies):
                    threading.Thread(target=work, args=(client, server), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield state
    finally:
        _shut(listener)
        listener.close()


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def added(state: Proxy, target: int, pings: int = 300) -> float:
    """The delay that the proxy really gives: the median of PING through it less that of PING directly, in seconds."""
    with redis.Redis(port=state.port) as through, redis.Redis(port=target) as direct:

        def ping(client: redis.Redis) -> Contender:
            return Contender(
                call=lambda _: client.ping(),
                prepare=range,
                verify=lambda _, answers: check(all(answers), "a PING was not answered"),
            )

        samples = side_by_side({"through": ping(through), "direct": ping(direct)}, rounds=5, batch=pings // 5)
    return samples["through"].median - samples["direct"].median


def calibrate(state: Proxy, target: int, wanted: float = 0.0005) -> float:
    """Set the delay so that about this much is added, the proxy's own time included; gives what is really added."""
    state.delay = wanted
    for _ in range(2):
        state.delay = max(0.0, state.delay + wanted - added(state, target))
    return added(state, target)
