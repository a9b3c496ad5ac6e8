"""Flat: each operation with a million missions against the same with a thousand, and how long the million took."""

import random
import time

from rich.progress import Progress

from benchmarks import floor
from benchmarks.report import Report, Row
from benchmarks.timing import check, side_by_side
from benchmarks.ways import our_way
from benchmarks.world import OPERATIONS, load, new_ids, port, server, use_later

FEW = 1_000


def measure(report: Report, *, quick: bool) -> None:
    many = 100_000 if quick else 1_000_000
    rounds = 8 if quick else 30
    with server() as small, server() as large:
        load(small, new_ids(FEW))
        pool: list[str] = []
        started = time.monotonic()
        with Progress(console=report.console, transient=True) as progress:
            task = progress.add_task(f"{many:,} missions through create.lua", total=many)
            for _ in range(many // 10_000):
                load(large, ids := new_ids(10_000))
                pool += random.sample(ids, 4 * 30 * 30 * 10_000 // many)  # from all over the store
                progress.advance(task, 10_000)
        took = time.monotonic() - started
        for client, count in ((small, FEW), (large, many)):
            stored = int(client.hget(floor.KEYS.stats, "PENDING") or 0)
            indexed = client.zcard(floor.PENDING)
            check(stored == indexed == count, f"{stored} missions were counted and {indexed} indexed, not {count}")
        use_later(port(small))
        few = our_way(small, begin=lambda: use_later(port(small)))
        lots = our_way(large, begin=lambda: use_later(port(large)), pool=random.sample(pool, len(pool)))
        for operation in OPERATIONS:
            samples = side_by_side(
                {"lots": lots.contender(operation), "few": few.contender(operation)}, rounds=rounds, batch=25
            )
            report.compare(
                "flat",
                f"{operation}, {many:,} missions",
                samples["lots"],
                samples["few"],
                f"{FEW:,} missions",
                "<=",
                1.2,
            )
    report.add(
        Row("flat", f"loading {many:,} missions", f"{took:.0f} s", f"{many / took:,.0f} a second",
            numbers={"seconds": took, "missions": many})
    )  # fmt: skip
