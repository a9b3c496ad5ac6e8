"""Handler time, from the API Gateway event to the response: against the floor, and against the specification's way
behind a proxy that adds a VPC's delay; round trips, counted at the proxy; and what validation costs.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any

import redis
from missions.models import MissionCreate

from benchmarks.proxy import Proxy, added, calibrate, proxy
from benchmarks.report import Report, Row
from benchmarks.timing import Contender, check, side_by_side
from benchmarks.ways import floor_way, our_way, spec_way
from benchmarks.world import (
    CONTENT,
    OPERATIONS,
    READS,
    WRITES,
    Listener,
    load,
    load_spec,
    log_at,
    new_ids,
    port,
    request,
    server,
    use,
    use_later,
)

STORED = 10_000


def measure(report: Report, *, quick: bool) -> None:
    with server() as client:
        _fill(client)
        against_floor(report, client, rounds=10 if quick else 40)
        validation(report, rounds=10 if quick else 40)
        with proxy(port(client)) as way:
            round_trips(report, client, way)
            behind_proxy(report, client, way, rounds=8 if quick else 30)


def _fill(client: redis.Redis) -> None:
    load(client, new_ids(STORED))
    load_spec(client, new_ids(STORED))


def against_floor(report: Report, client: redis.Redis, rounds: int) -> None:
    """Handler time at most 1.6 times the floor for writes and twice for reads, logging from WARNING on."""
    use_later(port(client))
    with redis.Redis(port=port(client), decode_responses=True) as bare:
        ours, floor = our_way(client), floor_way(client, bare)
        for level, name in ((logging.WARNING, "WARNING"), (logging.INFO, "INFO")):
            log_at(level)
            for operation in OPERATIONS:
                samples = side_by_side(
                    {"service": ours.contender(operation), "floor": floor.contender(operation)}, rounds=rounds, batch=25
                )
                target = (1.6 if operation in WRITES else 2.0) if level == logging.WARNING else None
                part = f"handler at {name}"
                report.compare(part, operation, samples["service"], samples["floor"], "floor, no log", "<=", target)
    log_at(logging.WARNING)


def validation(report: Report, rounds: int) -> None:
    """What validating the body of a create costs, beside reading its JSON."""
    body = request("create_mission", body={"id": "deploy-42", **CONTENT})["body"]

    def contender(call: Any) -> Contender:
        def verify(_: Sequence[Any], answers: Sequence[Any]) -> None:
            name = answers[-1]["name"] if isinstance(answers[-1], dict) else answers[-1].name
            check(name == CONTENT["name"], "the body was not read")

        return Contender(call, lambda count: [body] * count, verify)

    samples = side_by_side(
        {
            "validated": contender(lambda text: MissionCreate.model_validate(json.loads(text))),
            "parsed": contender(json.loads),
        },
        rounds=rounds,
        batch=100,
    )
    report.compare("validation", "create's body", samples["validated"], samples["parsed"], "json.loads alone", "<=")


def round_trips(report: Report, client: redis.Redis, way: Proxy) -> None:
    """One round trip an operation on a warm connection, its events taken; only their XDEL may come on top."""
    use(way.port, Listener())
    ours = our_way(client, publishing=False)  # the listener takes them at once, so none stays
    for operation in OPERATIONS:
        contender = ours.contender(operation)
        requests = contender.prepare(3)
        contender.call(requests[0])  # warm: connected, and the namespace known
        way.reset()
        answers = [contender.call(each) for each in requests[1:]]
        trips, commands = way.seen()
        contender.verify(requests[1:], answers)
        check(trips >= 2 and len(commands) == trips, "the proxy did not see the operation")
        acknowledged = commands.count("XDEL")
        check(acknowledged == (2 if operation in WRITES else 0), f"{operation}: its events were not acknowledged")
        seen = " + ".join(dict.fromkeys(commands))
        report.add(
            Row("round trips", operation, seen, "but for XDEL", (trips - acknowledged) / 2, "<=", 1,
                {"round_trips": trips / 2, "commands": commands})
        )  # fmt: skip


def behind_proxy(report: Report, client: redis.Redis, way: Proxy, rounds: int) -> None:
    """Against the specification's way with a VPC's delay in each round trip; neither waits for an event stream."""
    given = calibrate(way, port(client))
    use_later(way.port)
    with (
        redis.Redis(port=way.port, decode_responses=True) as delayed,
        redis.Redis(port=way.port, decode_responses=True) as bare,
    ):
        ours, spec, floor = our_way(client), spec_way(client, delayed), floor_way(client, bare)
        targets = {"create_mission": 3.0, "update_status": 3.0, "list_missions": 500.0}
        for operation in WRITES + READS:
            listing = operation == "list_missions"
            contenders = {"service": ours.contender(operation), "specification": spec.contender(operation)}
            contenders["floor"] = floor.contender(operation)
            samples = side_by_side(
                contenders,
                rounds=rounds if not listing else 3,
                batch=10,
                warm_up=2 if not listing else 0,
                batches={"specification": 1} if listing else None,
            )
            name = f"{operation}, {STORED:,} missions" if listing else operation
            report.compare(
                "behind the proxy", name, samples["service"], samples["specification"], "specification", ">=",
                targets.get(operation), faster=True,
            )  # fmt: skip
            report.rows[-1].numbers["floor"] = {"median_seconds": samples["floor"].median}
    after = added(way, port(client))
    check(given > 0 and after > 0, "the proxy added no delay")
    report.facts["proxy_delay_seconds"] = given
    report.add(
        Row("behind the proxy", "delay really given", f"{given * 1e3:.3f} ms", f"{after * 1e3:.3f} ms afterwards",
            numbers={"before_seconds": given, "after_seconds": after})
    )  # fmt: skip
