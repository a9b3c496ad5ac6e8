"""A TCP proxy that adds a delay to each round trip, as the way to Redis in a VPC does, and counts the round trips."""

import select
import socket
import socketserver
import statistics
import threading
import time
import timeit
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import redis


@dataclass
class Proxy:
    """A running proxy. A round trip is all that a client sends before it has an answer.

    A client's first round trips (HELLO, CLIENT) are counted as well, so count on warm connections.
    """

    target: int
    port: int = 0
    delay: float = 0.0
    round_trips: int = 0

    def serve(self, client: socket.socket, *_: object) -> None:
        """Carry what one client and the server say, until one of them is gone."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as server:
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            last = server
            while True:
                for speaker in select.select((client, server), (), ())[0]:
                    if speaker is client and last is server:
                        self.round_trips += 1
                        time.sleep(self.delay)
                    if not (chunk := speaker.recv(1 << 20)):
                        return
                    (server if speaker is client else client).sendall(chunk)
                    last = speaker

    def added(self) -> float:
        """The delay that it really gives: the median of PING through it less that of PING directly, in seconds."""
        medians = []
        for port in (self.port, self.target):
            with redis.Redis(port=port) as client:
                client.ping()
                medians.append(statistics.median(timeit.repeat(client.ping, number=1, repeat=300)))
        return medians[0] - medians[1]

    def calibrate(self, wanted: float = 0.0005) -> float:
        """Set the delay so that about this much is added, the proxy's own time included; gives what is really added."""
        self.delay = wanted
        for _ in range(2):
            self.delay = max(0.0, self.delay + wanted - self.added())
        return self.added()


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy before this port of the loopback interface, without a delay as yet."""
    state = Proxy(target)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), state.serve) as listener:  # type: ignore[arg-type]
        listener.daemon_threads, state.port = True, listener.server_address[1]
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield state
        listener.shutdown()
