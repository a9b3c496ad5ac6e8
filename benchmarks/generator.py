"""A load generator for where redis-benchmark is not: processes that keep many connections busy, a request each."""

import multiprocessing
import os
import selectors
import socket
import time
from collections.abc import Sequence
from multiprocessing.queues import Queue

from benchmarks.timing import check

Outcome = tuple[float, float, int]  # began, ended, errors


def rate(port: int, words: Sequence[str], random: str, clients: int, requests: int) -> float:
    """Requests a second. In each, the word `random` is replaced by 12 digits that no other request has."""
    context = multiprocessing.get_context("spawn")
    outcomes: Queue[Outcome] = context.Queue()
    processes = max(1, min(4, (os.cpu_count() or 2) - 1))
    parts = [
        context.Process(
            target=_load,
            args=(port, list(words), random, clients // processes, requests // processes, number, outcomes),
        )
        for number in range(processes)
    ]
    for part in parts:
        part.start()
    ended = [outcomes.get(timeout=300) for _ in parts]
    for part in parts:
        part.join()
    errors = sum(each[2] for each in ended)
    check(errors == 0, f"{errors} requests were answered by an error")
    return requests / (max(each[1] for each in ended) - min(each[0] for each in ended))


def _load(
    port: int, words: list[str], random: str, clients: int, requests: int, number: int, outcomes: "Queue[Outcome]"
) -> None:
    encoded = [word.replace(random, f"{number:012}").encode() for word in words]
    text = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
    pieces = text.split(f"{number:012}".encode())
    following = number * 10**9
    waiting = selectors.DefaultSelector()

    def send(connection: socket.socket) -> None:
        nonlocal following
        following += 1
        connection.sendall((b"%012d" % following).join(pieces))

    started = time.monotonic()
    for _ in range(clients):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting.register(connection, selectors.EVENT_READ)
        send(connection)
    sent, answered, errors = clients, 0, 0
    while answered < requests:
        for key, _ in waiting.select():
            connection = key.fileobj  # type: ignore[assignment]
            answer = connection.recv(65536)  # the server writes an answer of this size in one piece
            errors += answer[:1] == b"-"
            answered += 1
            if sent < requests:
                sent += 1
                send(connection)
    outcomes.put((started, time.monotonic(), errors))
