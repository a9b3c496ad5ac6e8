"""The section of docs/aws.md."""

from pathlib import Path
from typing import Any

from local.costs import prices
from local.costs.load import Load
from local.costs.prices import HOURS
from local.costs.rows import table
from local.costs.table import number
from local.template import template

DOCUMENT, BEGIN, END = Path("docs/aws.md"), "<!-- costs -->\n", "<!-- end of costs -->\n"
COLUMNS = {"idle": 0.0, "1 million missions": 1e6, "100 million missions": 1e8}


def section(source: dict[str, Any], load: Load, columns: dict[str, float], **given: str) -> str:
    """What is assumed, and the table."""
    return (
        f"USD a month of {HOURS} hours, at list prices of us-east-1 of {prices.LOOKED_UP}. One mission is taken to\n"
        f"be {number(load.requests)} requests of {number(load.milliseconds)} ms, {number(load.events)} events of "
        f"{number(load.event_bytes)} bytes, {number(load.log_bytes)} bytes of logs for each request, and "
        f"{number(load.stored_bytes)} bytes in the store.\n\n{table(source, load, columns, **given)}"
    )


def document() -> str:
    """The document, with what stands between the marks made anew."""
    before, rest = DOCUMENT.read_text().split(BEGIN)
    return before + BEGIN + section(template(), Load(), COLUMNS) + END + rest.split(END)[1]
