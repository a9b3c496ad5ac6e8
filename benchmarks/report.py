"""The table and the JSON: each row a figure, what it is compared with, and the target it met or MISSED."""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

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
    bound: Literal["<=", ">=", ""] = ""
    target: float | None = None
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        if self.ratio is None or self.target is None:
            return None
        return self.ratio <= self.target if self.bound == "<=" else self.ratio >= self.target


@dataclass
class Report:
    """The rows of a run, shown as they come."""

    console: Console
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        self.console.print(f"  {row.part}: {row.name}: {row.figure} {row.against and f'({row.against})'} {ratio}")

    def compare(
        self, part: str, name: str, ours: Sample, theirs: Sample, label: str, bound: Literal["<=", ">="],
        target: float | None = None, *, faster: bool = False,
    ) -> None:  # fmt: skip
        """A row of two samples; the ratio is ours to theirs, or with `faster` theirs to ours."""
        ratio = theirs.median / ours.median if faster else ours.median / theirs.median
        numbers = {
            side: {"median_seconds": sample.median, "p99_seconds": sample.p99, "calls": len(sample.seconds)}
            for side, sample in (("service", ours), (label, theirs))
        }
        against = f"{label} {_time(theirs.median)}, p99 {_time(theirs.p99)}"
        figure = f"{_time(ours.median)}, p99 {_time(ours.p99)}"
        self.add(Row(part, name, figure, against, ratio, bound if target else "", target, numbers))

    def table(self) -> Table:
        table = Table(title="Missions, median and p99", title_style="bold")
        for column in ("", "what", "figure", "against", "ratio", "target", ""):
            table.add_column(column, justify="right" if column in ("ratio", "target") else "left")
        part = ""
        for row in self.rows:
            if part not in ("", row.part):
                table.add_section()
            ratio = "" if row.ratio is None else f"{row.ratio:,.2f}" if row.ratio < 100 else f"{row.ratio:,.0f}"
            target = "" if row.target is None else f"{row.bound} {row.target:g}"
            verdict = {None: "", True: "[green]met[/]", False: "[bold red]MISSED[/]"}[row.met]
            table.add_row(
                row.part if row.part != part else "", row.name, row.figure, row.against, ratio, target, verdict
            )
            part = row.part
        return table

    def markdown(self) -> str:
        """The rows that have a target, as the README shows them."""
        lines = ["| what | | figure | against | ratio | target |", "|---|---|---|---|---|---|"]
        for row in self.rows:
            if row.target is not None and row.ratio is not None:
                ratio = f"{row.ratio:,.2f}" if row.ratio < 100 else f"{row.ratio:,.0f}"
                missed = " **missed**" if row.met is False else ""
                cells = (row.part, row.name, row.figure, row.against, ratio + missed, f"{row.bound} {row.target:g}")
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        document = {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            **self.facts,
            "rows": [{**asdict(row), "met": row.met} for row in self.rows],
        }
        path.write_text(json.dumps(document, indent=1) + "\n")


Part = Callable[[Report], None]


def _time(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:,.0f} us"
    return f"{seconds * 1e3:,.2f} ms" if seconds < 1 else f"{seconds:,.2f} s"
