"""Throughput of one Valkey core: creates through the script against plain SET, without pipelining.

With valkey-benchmark or redis-benchmark where one is on the PATH (or BENCHMARK_TOOL names it); else with a load
generator of our own, which is slower than they are but the same for both.
"""

import os
import shutil
import statistics
import subprocess
from collections.abc import Sequence

import redis

from benchmarks import floor, generator
from benchmarks.report import Report, Row
from benchmarks.timing import check
from benchmarks.world import CONTENT, load_scripts, port, server

RANDOM = "__rand_int__"  # redis-benchmark puts 12 digits here, other ones each time
RANGE = 2_000_000_000
SET = ["SET", f"plain:{RANDOM}", "xxx"]
Command = Sequence[str | int]


def measure(report: Report, *, quick: bool) -> None:
    tool = os.environ.get("BENCHMARK_TOOL") or shutil.which("valkey-benchmark") or shutil.which("redis-benchmark")
    report.facts["load_tool"] = os.path.basename(tool) if tool else "benchmarks/generator.py"
    requests = 20_000 if quick else 100_000
    rounds = 2 if quick else 3
    with server() as client:
        for clients in (10, 50):
            rates: dict[str, list[float]] = {"plain": [], "create": [], "silent": []}
            cpu: dict[str, list[float]] = {name: [] for name in rates}
            for _ in range(rounds):
                for name, command in (("plain", SET), ("create", _create(1)), ("silent", _create(0))):
                    client.flushall()
                    load_scripts(client)
                    before = _cpu(client)
                    rates[name].append(_rate(tool, client, command, clients, requests))
                    cpu[name].append((_cpu(client) - before) / requests)
                    _verify(client, name, requests)
            middle = {name: statistics.median(each) for name, each in rates.items()}
            used = {name: statistics.median(each) for name, each in cpu.items()}
            for name, what, target in (("create", "creates", 0.25), ("silent", "creates without a bus", None)):
                report.add(
                    Row("throughput", f"{what}, {clients} clients", f"{middle[name]:,.0f} a second",
                        f"SET {middle['plain']:,.0f}", middle[name] / middle["plain"], ">=" if target else "", target,
                        {"rates": rates, "server_cpu_seconds": used})
                )  # fmt: skip
            core = {name: 1 / each for name, each in used.items()}  # what its clients cannot hold up
            report.add(
                Row("throughput", f"creates, of one core, {clients} clients", f"{core['create']:,.0f} a second of CPU",
                    f"SET {core['plain']:,.0f}", core["create"] / core["plain"], ">=", 0.25)
            )  # fmt: skip


def _create(publish: int) -> Command:
    return ["EVALSHA", *floor.create_call({"id": f"m{RANDOM}", **CONTENT}, f"request:{RANDOM}", publish)]


def _rate(tool: str | None, client: redis.Redis, command: Command, clients: int, requests: int) -> float:
    words = list(map(str, command))
    if tool is None:
        return generator.rate(port(client), words, RANDOM, clients, requests)
    done = subprocess.run(
        [tool, "-p", str(port(client)), "-c", str(clients), "-n", str(requests), "-r", str(RANGE), "--csv", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    check(done.returncode == 0 and "rror" not in done.stdout, f"{tool}: {done.stdout[-300:]} {done.stderr[-300:]}")
    _, rate, *_ = done.stdout.splitlines()[-1].rsplit(",", 7)  # the command comes first, commas and all
    return float(rate.strip('"'))


def _cpu(client: redis.Redis) -> float:
    info: dict[str, float] = client.info("cpu")
    return info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]


def _verify(client: redis.Redis, name: str, requests: int) -> None:
    wanted = 0.999 * requests  # random keys may meet
    if name == "plain":
        check(client.dbsize() >= wanted, f"{client.dbsize()} keys were set, not {requests}")
        return
    created = client.zcard(floor.PENDING)
    check(created >= wanted, f"{created} missions were created, not {requests}")
    check(client.hget(floor.KEYS.stats, "PENDING") == str(created), "the statistics count other than the index")
    events = client.xlen(floor.KEYS.outbox)
    check(events == (2 * created if name == "create" else 0), f"{events} events are in the outbox")
