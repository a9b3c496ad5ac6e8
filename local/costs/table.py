"""A table in Markdown whose rows are costs."""

from collections.abc import Callable
from math import inf

from local.costs.load import Month


class Table:
    """Rows of costs, a cell for each month, and their sums."""

    def __init__(self, names: list[str], months: list[Month]) -> None:
        self.months, self.sums = months, [0.0] * len(months)
        self.lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]

    def row(
        self, what: str, cost: Callable[[Month], float], how: Callable[[Month], str] | None = None, add: bool = True
    ) -> list[float]:
        """A row of costs, with the way to each where it is long; `add` makes it part of the sums."""
        costs = [cost(month) for month in self.months]
        ways = [f"{how(month)} = " if how else "" for month in self.months]
        self.text(what, [f"{way}{money(each)}" if each else "0" for way, each in zip(ways, costs, strict=True)])
        self.sums = [a + b * add for a, b in zip(self.sums, costs, strict=True)]
        return costs

    def sum(self, what: str, *more: list[float]) -> None:
        self.text(f"**{what}**", [f"**{money(sum(each))}**" for each in zip(self.sums, *more, strict=True)])

    def text(self, what: str, cells: list[str]) -> None:
        self.lines.append(f"| {what} | {' | '.join(cells)} |")


def money(value: float) -> str:
    """As a bill shows it, and large sums without cents."""
    return "-" if value == inf else f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"


def number(value: float) -> str:
    return f"{round(value, 2):,.12g}"


def price(value: float) -> str:
    whole, decimals = f"{value:.10f}".rstrip("0").split(".")
    return f"{whole}.{decimals:0<2}"
