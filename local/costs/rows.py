"""The rows: each is what something costs, with the way to it."""
# ruff: noqa: RUF001 - the sign of multiplication is meant

from collections.abc import Callable
from math import inf
from statistics import mean
from typing import Any

from missions.storage.keys import PARTITIONS

from local.costs import prices
from local.costs.deployment import Deployment
from local.costs.load import ASKS, RUNS, Load, Month, Run
from local.costs.prices import GIB, HOURS
from local.costs.table import Table, money, number, price

KEPT = 10  # deployments whose versions are kept, in a row of the table
# What a month asks of the parameters that limit it
LIMITS: dict[str, Callable[[Month], float]] = {
    "RequestRate": lambda m: m.rate,
    "MaximumEcpu": lambda m: m.busy,
    "MaximumGigabytes": lambda m: m.stored,
}


def table(source: dict[str, Any], load: Load, columns: dict[str, float], **given: str) -> str:
    """The costs of a template with these parameters."""
    made = Deployment(source, **given)
    runs, second = dict(made.runs()), prices.SECONDS[made.parameters["Architecture"]]
    gb = mean(made.memory[name] for name in made.asked())
    shown = Table(list(columns), [Month(each, load, runs, gb) for each in columns.values()])
    kept = float(made.parameters["RetentionDays"]) * 24 / HOURS  # months
    logs = prices.LOGS + prices.LOGS_KEPT * prices.COMPRESSED * kept

    # One of S3 is a route, and costs nothing
    zones = sum(len(each.get("SubnetIds", [])) for each in made.of("EC2::VPCEndpoint"))
    shown.row(
        f"interface endpoints, {zones} (one for each zone) × {HOURS} h × {price(prices.ENDPOINT)}, "
        f"and {price(prices.ENDPOINT_GB)} per GB",
        lambda m: zones * HOURS * prices.ENDPOINT + m.sent * prices.ENDPOINT_GB,
    )
    counts = [
        (len(made.of("KMS::Key")), "key", prices.KEY),
        (made.alarms(), "alarm metric", prices.ALARM),
        (len(made.of("CloudWatch::CompositeAlarm")), "composite alarm", prices.COMPOSITE),
        (len(made.metrics()), "metric", prices.METRIC),
        (len(made.of("CloudWatch::Dashboard")), "dashboard", prices.DASHBOARD),
    ]
    parts = [f"{count} {what}{'s' * (count > 1)} × {price(each)}" for count, what, each in counts if count]
    shown.row(", ".join(parts), lambda m: sum(count * each for count, _, each in counts))

    snapped = [made.memory[name] for name in made.snapped()]
    snapshots = sum(snapped) * HOURS * 3600 * prices.SNAPSHOT
    if snapped:
        shown.row(
            f"SnapStart, {len(snapped)} functions × {number(load.versions)} version{'s' * (load.versions > 1)} × "
            f"{number(mean(snapped))} GB × {HOURS * 3600:,} s × {price(prices.SNAPSHOT)}, and {price(prices.RESTORE)} "
            f"per GB restored (1 request in {number(load.requests_per_restore)})",
            lambda m: snapshots * load.versions + m.restored * prices.RESTORE,
        )
    for name, times in runs.items():
        run = RUNS.get(name, Run())
        cost = (prices.SCHEDULE + (1 + run.calls) * prices.CALLS + run.events * prices.EVENTS) / 1e6
        cost += (made.memory[name] * run.seconds + run.calls * gb * load.milliseconds / 1e3) * second
        cost += (1 + run.calls) * load.log_bytes / 1e9 * logs + bool(snapped) * run.restores * gb * prices.RESTORE
        more = f", {run.calls} calls, at most {run.restores} restores and {run.events} events" if run.calls else ""
        what = f"{name}, {number(times)} runs of {run.seconds:g} s{more}; schedule {price(prices.SCHEDULE)} per million"
        shown.row(what, lambda m, cost=times * cost: cost)  # type: ignore[misc]
    shown.row(
        f"HTTP API, {price(prices.API[0][1])} per million ({price(prices.API[1][1])} above {prices.API[0][0]} million)",
        lambda m: sum(part * each for part, each in m.tiers()),
        lambda m: " + ".join(f"{number(part)} × {price(each)}" for part, each in m.tiers()),
    )
    shown.row(
        f"Lambda {made.parameters['Architecture']}, {price(prices.CALLS)} per million and {price(second)} per GB-s",
        lambda m: m.requests * prices.CALLS + m.seconds * second,
        lambda m: f"{money(m.requests * prices.CALLS)} + {number(m.seconds)} GB-s",
    )
    shown.row(f"EventBridge, {price(prices.EVENTS)} per million", lambda m: m.events * prices.EVENTS)
    shown.row(
        f"archive, {price(prices.ARCHIVE)} per GB, and {price(prices.ARCHIVED)} for each of {number(kept)} months",
        lambda m: m.sent * (prices.ARCHIVE + prices.ARCHIVED * kept),
        lambda m: f"{number(m.sent)} GB: {money(m.sent * prices.ARCHIVE)} + {money(m.sent * prices.ARCHIVED * kept)}",
    )
    shown.row(
        f"logs and audit, {price(prices.LOGS)} per GB, and {price(prices.LOGS_KEPT)} for each of {number(kept)} months "
        f"and for {price(prices.COMPRESSED)} of a GB, which is what compression leaves",
        lambda m: m.logged * logs,
        lambda m: f"{number(m.logged)} GB × {logs:.3f}",
    )
    shown.sum("without the store")
    if made.parameters["Store"] != "external":
        stores(shown, made, Deployment(source, **given | {"Store": "durable", "Engine": "valkey"}), number(load.ecpu))
    if snapped and made.keeps_versions():
        what = f"SnapStart when the versions of {KEPT} deployments are kept: {KEPT} × {money(snapshots)}, and restores"
        shown.row(what, lambda m: snapshots * KEPT + m.restored * prices.RESTORE, add=False)
    return "\n".join(shown.lines) + "\n"


def stores(shown: Table, made: Deployment, durable: Deployment, ecpu: str) -> None:
    """The rows of the two stores that AWS runs, and of what limits them."""
    engine, preferred = made.parameters["Engine"], made.parameters["NodeType"]
    asked = " and ".join(f"{count * PARTITIONS:,} for each run of {name}" for name, count in ASKS.items())
    hour, least, million = prices.SERVERLESS[engine]
    (group,) = durable.of("ElastiCache::ReplicationGroup")
    count, daily = 1 + group["ReplicasPerNodeGroup"], group["SnapshotRetentionLimit"]
    backups = shown.row(
        f"snapshots of the store, {daily} × {price(prices.BACKUP)} per GB",
        lambda m: m.stored * daily * prices.BACKUP,
        add=False,
    )
    serverless = shown.row(
        f"serverless {engine}, {price(hour)} per GB-h ({least:g} GB at least), and {price(million)} per million ECPU "
        f"({ecpu} for each request; {asked})",
        lambda m: max(m.stored, least) * HOURS * hour + m.ecpu * million,
        lambda m: f"{number(m.stored)} GB: {money(max(m.stored, least) * HOURS * hour)} + {money(m.ecpu * million)}",
        add=False,
    )
    types = [preferred, *prices.NODES] if preferred in prices.NODES else [*prices.NODES]
    room = {each: prices.NODES[each][1] * GIB * prices.USABLE for each in types}
    nodes = [next((each for each in types if room[each] >= month.stored), "") for month in shown.months]
    costs = [count * HOURS * prices.NODES[each][0] if each else inf for each in nodes]
    shown.text(
        f"durable, {count} nodes × {HOURS} h, and what durability costs per GB written, which is not counted",
        [
            f"{each} × {price(prices.NODES[each][0])} = {money(cost)}" if each else "no node is large enough"
            for each, cost in zip(nodes, costs, strict=True)
        ],
    )
    shown.sum("with the serverless store", backups, serverless)
    shown.sum("with the durable store", backups, costs)
    shown.text(
        f"namespaces, at least: a serverless store holds {prices.SLOT_GIB} GiB of one, and takes {prices.SLOT_ECPU:,} "
        "ECPU/s; a durable one has the memory of one node for all",
        [str(month.namespaces) for month in shown.months],
    )
    limits = {name: float(value) for name, value in made.parameters.items() if name in LIMITS}
    shown.text(
        "requests a second on average, ECPU a second, and GB in the store",
        [f"{each.rate:,.0f}, {each.busy:,.0f}, {number(each.stored)}{raised(each, limits)}" for each in shown.months],
    )


def raised(month: Month, limits: dict[str, float]) -> str:
    """Which parameters must be raised for this month."""
    above = [f"{name} above {number(limit)}" for name, limit in limits.items() if LIMITS[name](month) > limit]
    return f": needs {' and '.join(above)}" if above else ""
