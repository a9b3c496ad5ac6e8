"""Run the benchmark: `python -m benchmarks [--quick] [--only PART ...] [--output FILE]`.

Ends with 1 when what was timed did not happen; a missed target is shown, and ends with 0.
"""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks import claiming, client, handlers, local_stack, publishing, startup, store, sweeping
from benchmarks.report import Report
from benchmarks.timing import NotDone

PARTS = {
    "handlers": handlers.measure, "cpu": store.measure_cpu, "memory": store.measure_memory,
    "flat": handlers.measure_flat, "publishing": publishing.measure, "claims": claiming.measure,
    "sweeper": sweeping.measure, "startup": startup.measure, "local": local_stack.measure,
    "client": client.measure,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a first look: fewer repetitions, fewer missions")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results.json"), help="where JSON goes, and beside it a .md"
    )
    arguments = parser.parse_args()
    report = Report(Console(width=None if sys.stdout.isatty() else 160))
    started = time.monotonic()
    for number, part in enumerate(arguments.only, 1):
        report.say(f"[bold]{number}/{len(arguments.only)} {part}[/] ({time.monotonic() - started:.0f} s)")
        try:
            PARTS[part](report, quick=arguments.quick)
        except NotDone as error:
            report.say(f"[bold red]No figures: {error}[/]")
            return 1
    report.console.print(report.table())
    report.write(arguments.output, quick=arguments.quick)
    missed = sum(row.met is False for row in report.rows)
    report.say(f"{time.monotonic() - started:.0f} s; {missed} targets missed; all of it in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
