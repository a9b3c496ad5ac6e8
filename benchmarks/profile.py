"""Where the time goes: a profile of create and list by part, `python -m benchmarks.profile` (`make profile`).

The profiler slows Python down but not the waiting for Redis, so read the shares of the Python parts against each other.
"""

import cProfile
import pstats
import sys
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.ways import our_way
from benchmarks.world import load, new_ids, port, server, use_later

CALLS = 2_000
PARTS = {  # of a file's path, the first that fits
    "/missions/api.py": "missions.api",
    "/missions/service.py": "missions.service",
    "/missions/models.py": "missions.models",
    "/missions/charter.py": "missions.charter",
    "/missions/store.py": "missions.store",
    "/missions/emitter.py": "missions.emitter",
    "/functions/": "functions",
    "aws_lambda_powertools": "powertools",
    "pydantic": "pydantic",
    "/redis/": "redis-py",
    "/json/": "json",
    "/logging/": "logging",
    "uuid.py": "uuid",
    "/benchmarks/": "benchmark",
}
WAITING = ("recv", "recv_into", "poll", "select", "sendall")


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 140)
    with server() as client:
        load(client, new_ids(10_000))
        use_later(port(client))
        way = our_way(client)
        for operation in ("create_mission", "list_missions"):
            contender = way.contender(operation)
            inputs = contender.prepare(CALLS)
            warm = [contender.call(each) for each in inputs[:100]]
            started = time.perf_counter()
            plain = [contender.call(each) for each in inputs[100:]]
            each_call = (time.perf_counter() - started) / len(plain)
            contender.verify(inputs, warm + plain)
            inputs = contender.prepare(CALLS)
            with cProfile.Profile() as profiler:
                answers = [contender.call(each) for each in inputs]
            contender.verify(inputs, answers)
            _show(console, operation, each_call, pstats.Stats(profiler))
    return 0


def _show(console: Console, operation: str, each_call: float, stats: pstats.Stats) -> None:
    own: dict[str, float] = defaultdict(float)
    functions = []
    for (file, _, name), (_, calls, seconds, cumulated, callers) in stats.stats.items():  # type: ignore[attr-defined]
        part = _part(file, name)
        if file == "~" and part == "builtin":  # a function in C belongs to those who call it
            for (caller, _, caller_name), (_, _, share, _) in callers.items():
                own[_part(caller, caller_name)] += share
        else:
            own[part] += seconds
        functions.append((seconds, calls, cumulated, f"{Path(file).name}:{name}" if file != "~" else name))
    whole = sum(own.values())
    table = Table(title=f"{operation}: {each_call * 1e6:.0f} us a call without the profiler", title_style="bold")
    for column in ("part", "share", "", "function", "own us a call", "with its callees", "times"):
        table.add_column(column, justify="left" if column in ("part", "function", "") else "right")
    parts = sorted(own.items(), key=lambda item: -item[1])
    functions.sort(reverse=True)
    for row in range(16):
        left = (parts[row][0], f"{parts[row][1] / whole:.0%}") if row < len(parts) else ("", "")
        seconds, calls, cumulated, name = functions[row]
        right = (name[:60], f"{seconds / CALLS * 1e6:.1f}", f"{cumulated / CALLS * 1e6:.1f}", f"{calls / CALLS:g}")
        table.add_row(*left, "", *right)
    console.print(table)


def _part(file: str, name: str) -> str:
    if file == "~":
        if any(f"'{wait}'" in name for wait in WAITING):
            return "Redis, and the way there"
        if "pydantic_core" in name:
            return "pydantic"
        return "builtin"
    return next((part for text, part in PARTS.items() if text in file), "other")


if __name__ == "__main__":
    sys.exit(main())
