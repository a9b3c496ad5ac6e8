"""stats."""

import time
from dataclasses import asdict

import click

from missions_client import table, times
from missions_client.cli.session import COLOURS, Session, status
from missions_client.models import History, Stats

BAR = 30  # cells


@click.command("stats")
@click.option("--days", type=click.IntRange(1, 30), help="Show so many days by day; default: a day by hour.")
@click.pass_obj
def stats_(session: Session, days: int | None) -> None:
    """Show how many missions there are, how they ended, and when."""
    with session.client() as client:
        found = client.stats()
        begin = time.time() - (days - 1) * 86_400 if days else None
        past = client.history(from_=begin, step="day" if days else "hour")
    if session.json:
        return session.give({"stats": asdict(found), "history": asdict(past)})
    for line in (*_now(found), "", *_past(session, past)):
        session.say(line)
    return None


def _now(stats: Stats) -> list[str]:
    most = max(1, *stats.by_status.values())
    counted = {each: stats.by_status.get(each, 0) for each in COLOURS}  # type: ignore[call-overload]
    digits = len(f"{most:,}")
    told = [f"{stats.total:,} mission{'s' * (stats.total != 1)}"]
    told += [
        f"  {each:9}  {number:{digits},}" + (f"  {status(table.bar(number / most, BAR), each)}" if number else "")
        for each, number in counted.items()
    ]
    if stats.success_rate is not None:
        told.append(f"  {stats.success_rate:.1%} of the COMPLETED and FAILED ones are COMPLETED")
    length = stats.duration
    if length.mean is not None and length.p50 is not None and length.p95 is not None:
        told.append(
            f"  They take {times.long(length.mean)} on average; half of them {times.long(length.p50)} at most, "
            f"and 95 % {times.long(length.p95)}"
        )
    return told


def _past(session: Session, past: History) -> list[str]:
    """A line for each kind, with a character for each hour or day."""
    if not past.history:
        return []
    kinds = {
        "created": [each.created for each in past.history],
        "COMPLETED": [each.completed for each in past.history],
        "FAILED": [each.failed for each in past.history],
        "CANCELLED": [each.cancelled for each in past.history],
    }
    digits = max(len(f"{sum(values):,}") for values in kinds.values())
    told = [f"By {past.step}, since {session.at(past.history[0].at)}"]
    for kind, values in kinds.items():
        chart = table.spark(values)
        shown = status(chart, kind) if kind in COLOURS else chart
        told.append(f"  {kind:9}  {sum(values):{digits},}  {shown}")
    return told
