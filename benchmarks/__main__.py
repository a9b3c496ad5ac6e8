"""Run the benchmark: `python -m benchmarks [--quick] [--only PART ...] [--output FILE]`.

Ends with 1 when what was timed did not happen; a missed target is shown, and ends with 0.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import handlers, memory, publishing, scale, startup, throughput
from benchmarks.report import Report
from benchmarks.timing import NotDone

PARTS: dict[str, Callable[..., None]] = {
    "handlers": handlers.measure,
    "flat": scale.measure,
    "memory": memory.measure,
    "throughput": throughput.measure,
    "publishing": publishing.measure,
    "startup": startup.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a first look: fewer repetitions, fewer missions")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results.json"), help="where JSON goes, and beside it a .md"
    )
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    report = Report(console, facts={"quick": arguments.quick})
    started = time.monotonic()
    for number, part in enumerate(arguments.only, 1):
        console.print(f"[bold]{number}/{len(arguments.only)} {part}[/] ({time.monotonic() - started:.0f} s)")
        try:
            PARTS[part](report, quick=arguments.quick)
        except NotDone as error:
            console.print(f"[bold red]No figures: {error}[/]")
            return 1
    console.print()
    console.print(report.table())
    report.write(arguments.output)
    arguments.output.with_suffix(".md").write_text(report.markdown())
    missed = [f"{row.part}: {row.name}" for row in report.rows if row.met is False]
    console.print(f"{time.monotonic() - started:.0f} s; {len(missed)} targets missed; all of it in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
