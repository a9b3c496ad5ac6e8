"""Handler time, from the API Gateway event to the response: against the floor, and against the specification's way
behind a proxy that adds a VPC's delay; a list against version 1's; round trips; a cluster against a single server;
many missions against few.
"""

import logging
import random
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import redis
from missions import runtime, service
from missions.domain.models import MissionPage, MissionQuery
from missions.log import logger
from missions.publishing.emitter import Emitter
from missions.storage.connection import OPTIONS, Connection
from missions.storage.link import Link
from missions.storage.nodes import Nodes
from rich.progress import track

from benchmarks import floor, specification, version1, world
from benchmarks.proxy import Proxy, proxy
from benchmarks.recording import load, replay
from benchmarks.report import Report, Row
from benchmarks.timing import Batch, check, shown, side_by_side

STORED = 10_000
FEW = 1_000
LISTENER: Any = SimpleNamespace(publish=lambda events: [None] * len(events))  # an event stream that takes all


def measure(report: Report, *, quick: bool) -> None:
    logger.setLevel(logging.WARNING)
    rounds = 10 if quick else 40
    own: Any = {"decode_responses": True, "single_connection_client": True}  # as the service has it
    with world.server() as client, redis.Redis(port=world.port_of(client), **own) as bare:
        load(client, world.new_ids(STORED))
        ways = {"service": world.service(client), "floor": world.Way(client, floor.handlers(bare))}
        for operation in world.OPERATIONS:
            target = 1.5 if operation in (*world.WRITES, "heartbeat", "get_mission") else 2
            report.compare("handler", operation, world.take_turns(ways, operation, rounds), target)
        # A page of one mission in ten, by tag and by name, against a page of all
        lists = {each: ways["service"].contender(each) for each in ("list_missions", *world.LISTS)}
        of_all, *of_some = side_by_side(lists, rounds).values()
        for name, sample in zip(world.LISTS, of_some, strict=True):
            report.compare("handler", name, {name: sample, "of all": of_all}, 1.2)
        on_a_cluster(report, rounds)
        against_version_1(report, client, rounds)
        with proxy(world.port_of(client)) as way:
            round_trips(report, client, way)
            behind_proxy(report, client, way, rounds=8 if quick else 30)


def against_version_1(report: Report, client: redis.Redis, rounds: int) -> None:
    """The service's list of missions and its JSON, without the handler."""
    runtime.replace(world.sandbox(world.port_of(client)))
    client.script_load(version1.CREATE.text)
    replay(client, (version1.create_call(each, world.content()) for each in world.new_ids(STORED)))
    nodes = Nodes(Link, {"host": "127.0.0.1", "port": world.port_of(client)} | OPTIONS)
    connection = Connection(nodes, {"list": version1.LIST}.__getitem__)
    query = MissionQuery(limit=world.PAGE)

    def batch(call: Callable[[], MissionPage], count: int) -> Batch:
        answers = yield lambda _: call().model_dump_json(), range(count)
        page = MissionPage.model_validate_json(answers[-1]).missions
        check(len(page) == world.PAGE, f"a page has {len(page)} missions, not {world.PAGE}")

    ours = partial(batch, lambda: service.list_missions(query=query))
    theirs = partial(batch, lambda: version1.list_missions(connection, query))
    samples = side_by_side({"service": ours, "version 1": theirs}, rounds)
    report.compare("service", f"a list of {world.PAGE} as JSON", samples, 1.5)


def round_trips(report: Report, client: redis.Redis, way: Proxy) -> None:
    """On a warm connection: one an operation, two a list or claim, and one more where a write's events are settled."""
    for emitter, settled in ((world.Later(), ""), (Emitter(lambda: LISTENER), ", its events settled")):
        ours = world.service(client, way.port, emitter, outbox=not settled)
        for operation in (*world.WRITES, "claim_mission") if settled else world.OPERATIONS + world.MORE:
            contenders = {"service": ours.contender(operation)}
            trips = side_by_side(contenders, 1, 5, 1, clock=lambda: way.round_trips)["service"].seconds
            check(min(trips) > 0, "the proxy did not see the operation")
            wanted = (2 if operation in ("list_missions", *world.MORE) else 1) + bool(settled)
            report.add(Row("round trips", operation + settled, f"{max(trips)}", "", max(trips), wanted))


def behind_proxy(report: Report, client: redis.Redis, way: Proxy, rounds: int) -> None:
    """Against the specification's way with a VPC's delay in each round trip; neither waits for an event stream."""
    specification.lives(client, world.new_ids(STORED), finished=False)
    given = way.calibrate()
    with redis.Redis(port=way.port, decode_responses=True) as delayed:
        ways = {"service": world.service(client, way.port),
                "specification": world.Way(client, specification.handlers(delayed), outbox=False)}  # fmt: skip
        for operation in ("create_mission", "update_status"):
            report.compare("behind the proxy", operation, world.take_turns(ways, operation, rounds, batch=10), 3, ">=")
        samples = world.take_turns(ways, "list_missions", 3, batch=1, warm_up=0)  # the specification's takes seconds
        report.compare("behind the proxy", f"a list of {world.PAGE} of {STORED:,}", samples, 500, ">=")
    after = way.added()
    check(min(given, after) > 0, "the proxy added no delay")
    report.add(Row("behind the proxy", "delay really given", shown(given), f"{shown(after)} afterwards"))


def on_a_cluster(report: Report, rounds: int) -> None:
    """With the URL of a primary that has nothing of the namespace, against a single server."""
    with world.server() as alone, world.cluster() as cluster:
        owner = world.owner(world.NAMES.partition)
        elsewhere = world.port_of(cluster[owner - 1])
        ways = {"cluster": world.service(cluster[owner], elsewhere), "single server": world.service(alone)}
        for operation in ("create_mission", "get_mission"):
            report.compare("handler", f"{operation} on a cluster", world.take_turns(ways, operation, rounds))


def measure_flat(report: Report, *, quick: bool) -> None:
    """Each operation with a million missions against the same with a thousand, and how long the million took."""
    logger.setLevel(logging.WARNING)
    many, rounds = (100_000, 10) if quick else (1_000_000, 40)
    with world.server() as small, world.server() as large:
        load(small, world.new_ids(FEW))
        pool: list[str] = []
        started = time.monotonic()
        for _ in track(range(100), f"{many:,} missions", console=report.console, transient=True):
            load(large, ids := world.new_ids(many // 100))
            pool += random.sample(ids, 2 * rounds)  # 4 x 30 a round will be used, from all over the store
        took = time.monotonic() - started
        for client, count in ((small, FEW), (large, many)):
            stored = int(client.hget(world.NAMES.stats, "PENDING") or 0)
            indexed = client.zlexcount(world.NAMES.index, "[PE", "(PF")
            check(stored == indexed == count, f"{stored} missions were counted and {indexed} indexed, not {count}")
        random.shuffle(pool)
        ways = {f"{many:,} missions": world.service(large, pool=pool), f"{FEW:,} missions": world.service(small)}
        for operation in world.OPERATIONS + world.MORE:  # what claims take may be in the pool, so they come last
            report.compare("flat", f"{operation}, {many:,}", world.take_turns(ways, operation, rounds), 1.2)
    report.add(Row("flat", f"loading {many:,} missions", shown(took), f"{many / took:,.0f} a second"))
