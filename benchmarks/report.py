"""The table and the JSON: each row a figure, what it is compared with, and the target that it met or MISSED."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Sample


@dataclass
class Row:
    """One figure. `ratio` is what the target bounds: at most or at least."""

    part: str
    name: str
    figure: str
    against: str = ""
    ratio: float | None = None
    target: float | None = None
    bound: Literal["<=", ">="] = "<="
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        if self.ratio is None or self.target is None:
            return None
        return self.ratio <= self.target if self.bound == "<=" else self.ratio >= self.target

    def cells(self) -> list[str]:
        ratio = "" if self.ratio is None else f"{self.ratio:,.2f}" if self.ratio < 100 else f"{self.ratio:,.0f}"
        target = "" if self.target is None else f"{self.bound} {self.target:g}"
        return [self.part, self.name, self.figure, self.against, ratio, target]


@dataclass
class Report:
    """The rows of a run, shown as they come."""

    console: Console
    rows: list[Row] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.say("  " + "  ".join(filter(None, row.cells())))

    def compare(
        self, part: str, name: str, samples: Mapping[str, Sample], target: float | None = None,
        bound: Literal["<=", ">="] = "<=", at: Literal["median", "p99"] = "median",
    ) -> None:  # fmt: skip
        """A row of two samples, the first ours: how many times as long it takes, or for '>=' as fast it is."""
        (_, ours), (label, theirs) = samples.items()
        ratio = getattr(ours, at) / getattr(theirs, at)
        numbers = {
            side: {"median": each.median, "p99": each.p99, "count": len(each.seconds)} for side, each in samples.items()
        }
        ratio = ratio if bound == "<=" else 1 / ratio
        self.add(Row(part, name, str(ours), f"{label} {theirs}", ratio, target, bound, numbers))

    def table(self) -> Table:
        table = Table("", "what", "figure", "against", "ratio", "target", "", title="Missions, median and p99")
        for row, before in zip(self.rows, ["", *(row.part for row in self.rows)], strict=False):
            if row.part != before:
                table.add_section()
            verdict = {None: "", True: "[green]met[/]", False: "[bold red]MISSED[/]"}[row.met]
            table.add_row(row.part if row.part != before else "", *row.cells()[1:], verdict)
        return table

    def write(self, path: Path, **facts: object) -> None:
        """JSON of everything, and in Markdown the rows that have a target, as docs/performance.md shows them."""
        facts |= {"made": datetime.now(UTC).isoformat(), "python": platform.python_version(), "cores": os.cpu_count()}
        rows = [{**asdict(row), "met": row.met} for row in self.rows]
        path.write_text(json.dumps(facts | {"rows": rows}, indent=1) + "\n")
        lines = ["| what | | figure | against | ratio | target |", "|---|---|---|---|---|---|"]
        for row in self.rows:
            *cells, target = row.cells()
            if target:
                lines.append(f"| {' | '.join(cells)}{' **missed**' if row.met is False else ''} | {target} |")
        path.with_suffix(".md").write_text("\n".join(lines) + "\n")
