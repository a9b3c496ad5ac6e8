"""The sweeper: what a run costs that finds nothing due, however many missions there are, and how long it takes when
many are due at once.
"""

import logging
import time

import redis
from missions import runtime, sweeper
from missions.log import logger
from missions.publishing.eventbridge import EventBridge
from rich.progress import track

from benchmarks import world
from benchmarks.proxy import proxy
from benchmarks.publishing import BUS, Turn, event_bridge
from benchmarks.recording import FAR, lives, load, replay
from benchmarks.report import Report, Row
from benchmarks.store import DUE
from benchmarks.timing import Batch, Contender, check, shown, side_by_side

FEW = 1_000
DEADLINE: world.Members = (("deadline", int(FAR) / 1e6),)
TIMEOUT: world.Members = (("timeout", 1),)  # in seconds, the shortest
DAYS = 1 / 86_400  # that a finished mission is kept: a second
DELAY = 0.012  # seconds that a PutEvents takes


def measure(report: Report, *, quick: bool) -> None:
    logger.setLevel(logging.WARNING)
    idle(report, 100_000 if quick else 1_000_000, rounds=4 if quick else 10)
    with world.server() as client, event_bridge() as bus:
        ending(report, client, bus, 2_000 if quick else 10_000)


def idle(report: Report, many: int, rounds: int) -> None:
    """A run that finds nothing due, with many missions that all have a deadline, against the same with few."""

    def run(_: object) -> sweeper.Report:
        done = sweeper.Report()
        sweeper.sweep(done, lambda: None)
        return done

    def contender(port: int) -> Contender:
        here = world.sandbox(port)

        def batch(times: int) -> Batch:
            runtime.replace(here)
            done = yield run, range(times)
            check(done == [sweeper.Report()] * times, "a run of the sweeper found something")

        return batch

    with world.server() as large, world.server() as small, proxy(world.port_of(large)) as way:
        for client, count in ((large, many), (small, FEW)):
            for _ in track(range(100), f"{count:,} missions", console=report.console, transient=True):
                load(client, world.new_ids(count // 100), kinds=[DEADLINE])
            filed = client.zcard(DUE)
            check(filed == count, f"{filed} missions are filed, not {count}")
        ways = {"many": contender(world.port_of(large)), f"{FEW:,} missions": contender(world.port_of(small))}
        samples = side_by_side(ways, rounds, 5, 1)
        report.compare("sweeper", f"nothing is due, {many:,} missions", samples, 1.5)
        proxied = {"it": contender(way.port)}
        trips = max(side_by_side(proxied, 1, 5, 1, clock=lambda: way.round_trips)["it"].seconds)
        check(trips > 0, "the proxy did not see the sweeper")
        report.add(Row("sweeper", f"nothing is due, {many:,} missions: round trips", f"{trips}", "", trips, 5))


def ending(report: Report, client: redis.Redis, bus: Turn, count: int) -> None:
    """So many that are due at once: half ran too long, and become FAILED, half were kept long enough, and go."""
    kinds = ((TIMEOUT, ("create", "start")), (world.PLAIN, ("create", "start", "complete")))
    for also, steps in kinds:
        writes = lives(world.new_ids(count // 2), steps, publishing=False, also=also, days=DAYS)
        replay(client, writes, forget=True)
    time.sleep(1.1)  # until the last one is due
    bus(delay=DELAY)
    runtime.replace(world.sandbox(world.port_of(client), bus=BUS, retention_days=DAYS))
    stream = EventBridge(BUS, world.REGION, timeout=5)
    done = sweeper.Report()
    started = time.perf_counter()
    sweeper.sweep(done, lambda: stream)
    took = time.perf_counter() - started
    _, events = bus()
    half = count // 2
    check((done.failed, done.removed, done.left, done.unread) == (half, half, 0, 0), f"the sweeper says {done}")
    statuses = client.hmget(world.NAMES.stats, "RUNNING", "FAILED", "COMPLETED")
    check(statuses == ["0", str(half), "0"], f"{statuses} missions are RUNNING, FAILED and COMPLETED")
    check(events == 2 * half, f"{events} events arrived, not {2 * half}")
    check(client.xlen(world.OUTBOX) == 0, "events are left in the outbox")
    name = f"{count:,} are due at once, {DELAY * 1000:.0f} ms a PutEvents, in s"
    report.add(Row("sweeper", name, shown(took), f"{half:,} FAILED, {half:,} removed", took, 30))
