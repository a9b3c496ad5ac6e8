"""Publishing: what a hanging EventBridge costs a write, and how fast the relay drains an outbox."""

import functools
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import boto3
import redis
from missions import emitter, relay
from missions.charter import Event
from missions.eventbridge import EventBridge
from missions.settings import settings

from benchmarks import floor
from benchmarks.report import Report
from benchmarks.timing import Contender, check, side_by_side
from benchmarks.ways import our_way
from benchmarks.world import (
    CONTENT,
    WRITES,
    forget,
    load,
    log_at,
    new_ids,
    outbox,
    port,
    request,
    server,
    service,
    use,
)
from tests.lambda_double import sandbox
from tests.strict_eventbridge import StrictEventBridge, strict_eventbridge

BUS = "missions"


def measure(report: Report, *, quick: bool) -> None:
    os.environ |= {"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    with server() as client, strict_eventbridge() as bus:
        os.environ["AWS_ENDPOINT_URL_EVENTBRIDGE"] = bus.url
        hanging(report, client, bus, rounds=8 if quick else 30)
        bus.fault = ""
        after_response(report, client, bus, rounds=10 if quick else 60)
        draining(report, client, bus, events=2_000 if quick else 10_000, rounds=2 if quick else 3)


def hanging(report: Report, client: redis.Redis, bus: StrictEventBridge, rounds: int) -> None:
    """With EventBridge hanging, a write takes as long as without a bus, but for the first that meets it."""
    log_at(logging.CRITICAL)
    emitter.PAUSE = 1e9
    use(port(client), bus=BUS)
    bus.fault = "hang"
    started = time.perf_counter()
    answer = service()["create_mission"](request("create_mission", body={"id": "first", **CONTENT}), None)
    waited = time.perf_counter() - started
    check(answer["statusCode"] == 201 and bus.calls == 1 and waited > 0.5, "EventBridge did not hang")
    check(client.xlen(floor.KEYS.outbox) == 2, "the events of a write that met it are not in the outbox")

    def turn_to(bus_name: str) -> None:  # the pause stays on, as set_event_stream is not called
        os.environ["EVENT_BUS_NAME"] = bus_name
        forget()

    paused = our_way(client, begin=lambda: turn_to(BUS))
    without = our_way(client, publishing=False, begin=lambda: turn_to(""))
    for operation in WRITES:
        samples = side_by_side(
            {"paused": paused.contender(operation), "without": without.contender(operation)}, rounds=rounds, batch=25
        )
        report.compare("EventBridge hangs", operation, samples["paused"], samples["without"], "no bus", "<=", 1.2)
    check(bus.calls == 1, "the pause ended while it was measured")
    report.facts["first_write_that_meets_a_hanging_eventbridge_seconds"] = waited


def after_response(report: Report, client: redis.Redis, bus: StrictEventBridge, rounds: int) -> None:
    """The response time of a write with 50 ms more in PutEvents: AWS's runtime client beside a double of its APIs."""
    environment = {"REDIS_URL": f"redis://127.0.0.1:{port(client)}", "EVENT_BUS_NAME": BUS}
    with sandbox("create_mission", environment) as running:

        def prepare(delay: float, count: int) -> list[dict[str, Any]]:
            running.wait_until_idle()
            bus.delay = delay
            bus.events.clear()
            return [request("create_mission", body={"id": each, **CONTENT}) for each in new_ids(count)]

        def verify(inputs: Sequence[Any], answers: Sequence[Any]) -> None:
            check(all(answer["statusCode"] == 201 for answer, _ in answers), "a mission was not created")
            running.wait_until_idle()
            check(len(bus.events) == 2 * len(inputs), f"{len(bus.events)} events arrived, not {2 * len(inputs)}")

        def invoke(event: dict[str, Any]) -> tuple[Any, float]:
            return running.invoke(event)

        samples = side_by_side(
            {
                name: Contender(invoke, functools.partial(prepare, delay), verify)
                for name, delay in (("slow", 0.05), ("fast", 0.0))
            },
            rounds=rounds,
            batch=1,
            warm_up=0,  # a call right after another would wait for its events
        )
        check(len(running.extensions) == 1, "there is no extension")
    bus.delay = 0
    report.compare(
        "publishing", "create_mission, PutEvents 50 ms slower", samples["slow"], samples["fast"], "as it is", "<=", 1.05
    )


def draining(report: Report, client: redis.Redis, bus: StrictEventBridge, events: int, rounds: int) -> None:
    """The relay against a bare loop of PutEvents with the same events, ten a call."""
    relay.MIN_AGE = 0
    use(port(client), bus=BUS)
    stream = EventBridge(BUS, read_timeout=5)
    bare = boto3.client("events", region_name=settings().aws_region)

    def waiting() -> list[str]:
        client.flushall()
        load(client, new_ids(events // 2), publish=1)
        return outbox(client)

    def relay_input(_: int) -> Sequence[None]:
        waiting()
        bus.events.clear()
        return [None]

    def bare_input(_: int) -> Sequence[list[list[Any]]]:
        entries = [stream._entry(Event.from_facts("default", facts)) for facts in waiting()]
        bus.events.clear()
        return [[entries[first : first + emitter.BATCH] for first in range(0, len(entries), emitter.BATCH)]]

    def drain(_: None) -> int:
        outcome = relay.Report()
        relay.drain(stream, ["default"], outcome)
        return outcome.published

    def put(batches: list[list[Any]]) -> int:
        return sum(len(bare.put_events(Entries=batch)["Entries"]) for batch in batches)

    def verify(_: Sequence[object], answers: Sequence[int]) -> None:
        arrived = {event["id"] for event in bus.events}
        check(list(answers) == [events] and len(arrived) == events, f"{len(arrived)} events arrived, not {events}")

    def verify_relay(inputs: Sequence[object], answers: Sequence[int]) -> None:
        verify(inputs, answers)
        check(client.xlen(floor.KEYS.outbox) == 0, "the relay left events in the outbox")

    samples = side_by_side(
        {"relay": Contender(drain, relay_input, verify_relay), "bare": Contender(put, bare_input, verify)},
        rounds=rounds,
        batch=1,
        warm_up=0,
    )
    report.compare(
        "relay", f"drains {events:,} events", samples["relay"], samples["bare"], "a bare loop of PutEvents", "<=", 1.5
    )
