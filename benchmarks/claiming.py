"""Claims: many workers that take all missions at once, each exactly once; what a claim takes then, and its round trips.

Each worker is a process with a sandbox and a connection of its own. The events stay in the outbox.
"""

import json
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from typing import Any, NamedTuple
from unittest.mock import patch
from uuid import uuid4

import redis
from missions import runtime
from missions.log import logger

from benchmarks import world
from benchmarks.proxy import proxy
from benchmarks.recording import load
from benchmarks.report import Report, Row
from benchmarks.timing import Sample, check, shown

WORKERS = 32
DELAY = 0.001  # seconds that a network adds to each round trip


class Claimed(NamedTuple):
    """A claim: what it got, in how many seconds, and the scripts that it ran."""

    mission_id: str
    seconds: float
    scripts: int


def measure(report: Report, *, quick: bool) -> None:
    logger.setLevel(logging.WARNING)
    count = 2_000 if quick else 10_000
    with world.server() as client, proxy(world.port_of(client)) as way:
        claim_all(report, client, world.port_of(client), count, "")
        way.calibrate(DELAY)
        claim_all(report, client, way.port, count, f", {DELAY * 1000:.0f} ms a round trip")


def claim_all(report: Report, client: redis.Redis, port: int, count: int, network: str) -> None:
    """All missions, by workers that begin together and go on until there is none."""
    client.flushall()
    load(client, world.new_ids(count), kinds=[world.PLAIN])
    context = multiprocessing.get_context("fork")  # else each would import everything again
    start = context.Barrier(WORKERS + 1)
    pipes, processes = [], []
    for _ in range(WORKERS):
        here, there = context.Pipe()
        processes.append(context.Process(target=_work, args=(port, start, there), daemon=True))
        processes[-1].start()
        there.close()  # so that a worker that fails is noticed
        pipes.append(here)
    start.wait(60)
    started = time.perf_counter()
    claims = [Claimed(*each) for pipe in pipes for each in pipe.recv()]
    took = time.perf_counter() - started
    for process in processes:
        process.join()
    check_claims(client, claims, count)
    sample, name = Sample([each.seconds for each in claims]), f"{WORKERS} workers, {count:,} missions{network}"
    trips = [each.scripts for each in claims]
    mean, again = sum(trips) / count, sum(each > 2 for each in trips) / count
    report.add(Row("claims", f"{name}, each taken once", shown(took), f"{count / took:,.0f} a second"))
    report.add(Row("claims", f"{name}: a claim", str(sample)))
    report.add(Row("claims", f"{name}: round trips of a claim", f"{mean:.3f}", f"{max(trips)} at most", mean, 2.1))
    report.add(Row("claims", f"{name}: claims that had to try again", f"{again:.2%}"))


def check_claims(client: redis.Redis, claims: Sequence[Claimed], count: int) -> None:
    """Raise NotDone unless each mission was claimed once, and is RUNNING in the store."""
    times = Counter(each.mission_id for each in claims)
    check(len(times) == len(claims) == count, f"{len(claims)} claims got {len(times)} missions of {count}")
    running = client.hget(world.NAMES.stats, "RUNNING")
    check(running == str(count), f"{running!r} missions are RUNNING, not {count}")
    events = client.xlen(world.OUTBOX)
    check(events == count, f"{events} entries are in the outbox, not {count}")


def _work(port: int, start: Any, told: Pipe) -> None:
    """Claim until no mission waits, and tell it."""
    here = world.sandbox(port, emitter=world.Later())
    runtime.replace(here)
    handler = world.functions()["claim_mission"]
    script, ran = here.connection.script, 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal ran
        ran += 1
        return script(*args, **options)

    here.store.check_health(str(uuid4()))  # it connects
    claims = []
    with patch.object(here.connection, "script", counted):
        start.wait(60)
        while True:
            event, ran = world.request("claim_mission"), 0
            before = time.perf_counter()
            answer = handler(event, None)
            seconds = time.perf_counter() - before
            if answer["statusCode"] == 204:
                break
            check(answer["statusCode"] == 200, f"a claim answered {answer}")
            claims.append(Claimed(json.loads(answer["body"])["id"], seconds, ran))
    told.send(claims)
