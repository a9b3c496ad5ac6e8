"""Publishing: what it costs a write's response, what a hanging EventBridge costs it, how fast the relay drains, and
what a run of it costs that finds nothing.
"""

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import boto3
import redis
from missions import runtime
from missions.domain.events import OutboxEntry
from missions.log import logger
from missions.publishing import emitter, relay
from missions.publishing.eventbridge import EventBridge
from missions.storage import keys
from missions.storage.outbox import Outbox

from benchmarks import world
from benchmarks.recording import lives, load, pipelined, replay, spread
from benchmarks.report import Report, Row
from benchmarks.timing import Batch, Contender, check, shown, side_by_side
from local.doubles.eventbridge import strict_eventbridge
from local.driven import DrivenSandbox, sandbox

BUS = "missions"
NAMESPACES, FEW = 60_000, 5
EVENTS = {"create_mission": 2, "update_status": 2, "append_log_entry": 1}  # of a write
Turn = Callable[..., tuple[int, int]]


@contextmanager
def event_bridge() -> Iterator[Turn]:
    """The strict double, in a process of its own: what it does takes no time from what is timed.

    Gives a function that tells the calls and events since its last call; its arguments are the double's state from now.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    process.start()

    def turn(**state: Any) -> tuple[int, int]:
        here.send(state)
        calls, events = here.recv()
        return calls, events

    aws = {"AWS_REGION": world.REGION, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    try:
        with patch.dict(os.environ, aws | {"AWS_ENDPOINT_URL_EVENTBRIDGE": here.recv()}):
            yield turn
    finally:
        process.terminate()


def _serve(benchmark: Any) -> None:
    with strict_eventbridge() as double:
        benchmark.send(double.url)
        while True:
            state = benchmark.recv()
            benchmark.send((double.calls, len({event["id"] for event in double.events})))
            double.events.clear()
            vars(double).update({"calls": 0, "fault": "", "delay": 0.0} | state)


def measure(report: Report, *, quick: bool) -> None:
    with world.server() as client, event_bridge() as bus:
        for operation in world.WRITES:
            response_times(report, client, bus, operation, requests=200 if quick else 2_000)
        hanging(report, client, bus, rounds=8 if quick else 30)
        for delay in (0.0, 0.012):
            draining(report, client, bus, 2_000 if quick else 10_000, delay, rounds=1 if quick else 3)
        idle(report, bus, rounds=4 if quick else 10)


def response_times(report: Report, client: redis.Redis, bus: Turn, operation: str, requests: int) -> None:
    """With publishing and without, one request after another: AWS's runtime client beside the local Lambda's APIs."""
    report.say(f"  {requests:,} requests each of {operation}")
    client.flushall()
    missions = world.new_ids(2 * (requests + 20))
    if operation != "create_mission":
        load(client, missions)
    bus()
    own = {"REDIS_URL": f"redis://127.0.0.1:{world.port_of(client)}"}
    with (
        sandbox(operation, own | {"EVENT_BUS_NAME": BUS}) as on,
        sandbox(operation, own | {"EVENT_BUS_NAME": ""}) as off,
    ):

        def batch(driven: DrivenSandbox, _: int) -> Batch:
            for each in (on, off):
                each.wait_until_idle()  # a request right after another would wait for its events, as in Lambda
            ((answer, _),) = yield driven.invoke, [world.request(operation, missions.pop())]
            check(answer.get("statusCode") in (200, 201), f"{operation} answered {answer}")

        ways = {"on": partial(batch, on), "switched off": partial(batch, off)}
        side_by_side(ways, 20, 1, 0)  # the first ones connect
        samples = side_by_side(ways, requests, 1, 0)
        on.wait_until_idle()
    _, events = bus()
    check(events == EVENTS[operation] * (requests + 20), f"{events} events arrived of {requests + 20} requests")
    check(client.xlen(world.OUTBOX) == 0, "events are left in the outbox")
    report.compare("publishing", f"{operation}, median", samples, 1.05)
    report.compare("publishing", f"{operation}, p99", samples, 1.05, at="p99")


def hanging(report: Report, client: redis.Redis, bus: Turn, rounds: int) -> None:
    """With EventBridge hanging, a write takes as long as without a bus, but for the first that meets it."""
    logger.setLevel(logging.CRITICAL)
    client.flushall()
    bus(fault="hang")
    paused, without = (world.sandbox(world.port_of(client), bus=name) for name in (BUS, ""))
    ways = {"paused": world.Way(client, world.functions(), paused),
            "no bus": world.Way(client, world.functions(), without, outbox=False)}  # fmt: skip
    runtime.replace(paused)
    with patch.object(emitter, "PAUSE", 1e6):
        started = time.perf_counter()
        ways["paused"].ask("create_mission", "first")
        waited = time.perf_counter() - started
    check(waited > 0.5 and client.xlen(world.OUTBOX) == 1, "EventBridge did not hang")
    for operation in world.WRITES:
        report.compare("EventBridge hangs", operation, world.take_turns(ways, operation, rounds), 1.2)
    calls, _ = bus()
    check(calls == 1, "the pause ended while it was measured")
    report.add(Row("EventBridge hangs", "the first write that meets it", shown(waited)))


def run_relay(stream: EventBridge, outbox: Outbox) -> relay.Report:
    """A run of the relay."""
    backlogs, outcome = relay.survey(outbox)
    relay.drain(outbox, stream, backlogs, outcome)
    return outcome


def draining(report: Report, client: redis.Redis, bus: Turn, events: int, delay: float, rounds: int) -> None:
    """The relay against a bare loop of PutEvents with the same events, ten a call, each answered after `delay`."""
    outbox = world.sandbox(world.port_of(client)).outbox
    stream = EventBridge(BUS, world.REGION, timeout=5)
    bare: Any = boto3.client("events", region_name=world.REGION)

    def put(entries: Sequence[Any]) -> None:
        for first in range(0, len(entries), relay.BATCH):
            bare.put_events(Entries=entries[first : first + relay.BATCH])

    def batch(work: Callable[[Any], Any], left: int, _: int) -> Batch:
        client.flushall()
        replay(client, lives(world.new_ids(events // 2)))
        waiting: list[OutboxEntry] = []
        after: str | None = "0-0"
        while after:
            page = outbox.read(world.NAMES.partition, after, events)
            waiting, after = waiting + page.entries, page.after
        bus(delay=delay)
        yield work, [[stream._entry(event) for entry in waiting for event in entry.envelopes()]]
        _, count = bus()
        check(count == events, f"{count} events arrived, not {events}")
        check(client.xlen(world.OUTBOX) == left, f"{client.xlen(world.OUTBOX)} entries are in the outbox, not {left}")

    ways = {
        "relay": partial(batch, lambda _: run_relay(stream, outbox), 0),
        "a bare loop": partial(batch, put, events // 2),
    }
    with patch.object(relay, "MIN_AGE", 0):
        samples = side_by_side(ways, rounds, 1, 0)
    name = f"drains {events:,} events, {delay * 1000:.0f} ms a PutEvents"
    report.compare("relay", name, samples, 4 if delay else None, ">=")


def idle(report: Report, bus: Turn, rounds: int) -> None:
    """A run that finds nothing, with so many namespaces stored, against the same with a few."""
    stream = EventBridge(BUS, world.REGION, timeout=5)
    bus()

    def contender(client: redis.Redis, count: int) -> Contender:
        outbox = world.sandbox(world.port_of(client)).outbox
        replay(client, spread(world.new_ids(count)), forget=True)
        _, found = relay.survey(outbox)
        stored = len(outbox.namespaces()[0])
        check(found.waiting == stored == count, f"{stored} namespaces, {found.waiting} entries wait, not {count}")
        pipelined(client, [["XTRIM", keys.outbox(each), "MAXLEN", "0"] for each in range(keys.PARTITIONS)])

        def batch(times: int) -> Batch:
            outcomes = yield partial(run_relay, stream), [outbox] * times
            check(outcomes == [relay.Report()] * times, "a run of the relay found something")

        return batch

    with world.server() as many, world.server() as few:
        ways = {"many": contender(many, NAMESPACES), f"{FEW} namespaces": contender(few, FEW)}
        samples = side_by_side(ways, rounds, 5, 1)
    check(bus() == (0, 0), "something was published")
    name = f"finds nothing, {NAMESPACES:,} namespaces"
    report.compare("relay", name, samples, 1.5)
    took = samples["many"].median
    report.add(Row("relay", f"{name}, in ms", shown(took), "", took * 1000, 300))
