"""What an operation costs the store, and what a retry of the client library means."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import redis

from tests.cluster import Node
from tests.conftest import Listener, fresh_sandbox, invoke


def calls(redis_client: redis.Redis, work: Callable[[], object]) -> dict[str, int]:
    """How often each command was called meanwhile, those of scripts included."""
    redis_client.config_resetstat()
    work()
    stats = redis_client.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}


def test_a_full_page_of_a_log_is_read_once(stream: Listener, redis_client: redis.Redis) -> None:
    invoke("create_mission")
    for _ in range(2):
        invoke("append_log_entry", body={"entries": [{"message": "m"}] * 100})
    for query in ({"limit": "50"}, {"limit": "50", "order": "newest"}, {"limit": "200"}):
        assert calls(redis_client, partial(invoke, "get_log", query=query))["lrange"] == 1


def test_a_log_entry_neither_reads_nor_writes_what_the_caller_of_create_sent(
    stream: Listener, redis_client: redis.Redis
) -> None:
    invoke("create_mission", body={"id": "deploy-42", "name": "n", "data": {"x": "y" * 60_000}})
    seen = calls(redis_client, lambda: invoke("append_log_entry"))
    assert (seen["getrange"], seen["setrange"]) == (1, 1)
    assert "set" not in seen or seen["set"] == 1  # the token


def test_a_sandbox_asks_a_cluster_once_where_its_missions_are(stream: Listener, servers: list[Node]) -> None:
    for each in servers:
        each.client.config_resetstat()
    for operation in ("create_mission", "update_status", "append_log_entry", "get_mission", "list_missions", "get_log"):
        assert invoke(operation).status in (200, 201)
    moved = [each.client.info("errorstats").get("errorstat_MOVED", {"count": 0})["count"] for each in servers]
    assert sum(moved) == (len(servers) > 1)


@contextmanager
def first_answer_lost(port: int) -> Iterator[int]:
    """A way to this port that loses the first answer to a script, and the connection with it."""
    lost = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            while request := client.recv(1 << 20):
                server.sendall(request)
                answer = server.recv(1 << 20)
                if b"EVALSHA" in request and not answer.startswith(b"-") and not lost.is_set():
                    lost.set()
                    return
                client.sendall(answer)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()
    assert lost.is_set()


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k"}], ids=["without a key", "with a key"])
def test_a_silent_retry_of_the_client_library_is_no_replay_to_a_caller_who_sent_once(
    stream: Listener, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    invoke("create_mission", body={"name": "the scripts are known to the server"})
    owner = redis_client.get_connection_kwargs()["port"]
    with first_answer_lost(owner) as port, monkeypatch.context() as patch:
        patch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}")
        fresh_sandbox(stream)
        answer = invoke("create_mission", headers=headers)
    assert (answer.status, "idempotency-replayed" in answer.headers) == (201, False)
    assert invoke("get_mission").status in (200, 503)
    fresh_sandbox(stream)
    assert invoke("get_stats").body["stats"]["total"] == 2
    if headers:
        again = invoke("create_mission", headers=headers)
        assert (again.status, again.headers["idempotency-replayed"]) == (201, "true")
