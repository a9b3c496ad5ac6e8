"""log, watch."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from missions_client import table, times
from missions_client.cli import DONE, REFUSED
from missions_client.cli.missions import ID, STATUSES, TAGS, _flat, lines, one_line, paragraph
from missions_client.cli.session import LEVEL, MissionId, Session, status
from missions_client.models import Level, LogEntry, Mission, Status
from missions_client.text import clean

if TYPE_CHECKING:
    from missions_client.synchronous import Client
    from missions_client.transport import Retry

LEVEL_COLOURS = {"error": "red", "warning": "yellow"}
EVERY = 2.0  # seconds between two looks at the list


@click.command("log")
@ID
@click.argument("text", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is new, until the mission ends.")
@click.option("--level", "-l", "levels", type=LEVEL, multiple=True, help="Only these; for a new entry: its level.")
@click.option("--last", "-n", type=click.IntRange(1), help="Only so many entries, the newest.")
@click.pass_obj
def log_(
    session: Session, mission_id: str, text: str | None, follow: bool, levels: Sequence[list[Level]], last: int | None
) -> None:
    """Show the log of a mission; with TEXT, append to it.

    With - as TEXT each line of standard input is appended, about when it comes.
    """
    chosen = [each for some in levels for each in some]
    if text is not None and (follow or last or len(chosen) > 1):
        raise click.UsageError("With a TEXT there is one --level, and nothing else")
    if follow and last:
        raise click.UsageError("Give --follow or --last, not both")
    with session.client(_patient() if follow or text == "-" else None) as client:
        found = session.find(client, mission_id)
        if text is not None:
            return _append(session, client, found, text, chosen[0] if chosen else "info")
        if last:
            newest = list(client.read_log(found, levels=chosen, order="newest", limit=last))
            entries: Iterator[LogEntry] = reversed(newest)
        else:
            entries = (client.follow if follow else client.read_log)(found, levels=chosen)
        for each in entries:
            session.give(each) if session.json else session.say(_line(session, each))
    return None


def _append(session: Session, client: "Client", mission_id: str, text: str, level: Level) -> None:
    """Append this text, or the lines of standard input."""
    if text == "-":
        client.get(mission_id)  # a mission that does not exist is told at once, and not after the first line
    for some in _lines_of_input() if text == "-" else [[text]]:
        for made in client.log_many(mission_id, [(level, each) for each in some]):
            if session.json:
                session.give(made)


def _lines_of_input() -> Iterator[list[str]]:
    """The lines of standard input, as many at once as are there."""
    from missions_client.run import CHUNK, Lines

    lines = Lines()
    while chunk := os.read(0, CHUNK):
        yield [clean(each) for each in lines.cut(chunk)]
    yield [clean(each) for each in lines.end()]


def _patient() -> "Retry":
    """Who follows something waits for an outage of half an hour."""
    from missions_client.transport import Retry

    return Retry(attempts=100)


def _line(session: Session, entry: LogEntry) -> str:
    """An entry as it is shown; further lines of its message are indented."""
    at, level = session.at(entry.timestamp), entry.level.ljust(7)
    text = _changed(entry) or paragraph(entry.message.rstrip("\r\n"))
    space = " " * (len(at) + len(level) + 4)
    text = text.replace("\n", f"\n{space}")
    colour = LEVEL_COLOURS.get(entry.level)
    return f"{click.style(at, dim=True)}  {click.style(level, fg=colour, dim=entry.level == 'debug')}  {text}"


def _changed(entry: LogEntry) -> str:
    """What a change of the status was; empty for another entry."""
    before, after = entry.data.get("from"), entry.data.get("to")
    if entry.message != "Mission status changed" or not isinstance(before, str) or not isinstance(after, str):
        return ""
    told = [f"{name} {entry.data[name]}" for name in ("worker", "actor", "reason") if entry.data.get(name)]
    more = f" ({', '.join(told)})" if told else ""
    return one_line(f"{before} → {after}{more}")


@click.command("watch")
@click.argument("mission_id", metavar="[ID]", type=MissionId(), required=False)
@STATUSES
@TAGS
@click.option("--limit", "-n", type=click.IntRange(1, 200), help="How many of the list; default: what fits, or 50.")
@click.pass_obj
def watch_(
    session: Session, mission_id: str | None, statuses: Sequence[list[Status]], tags: Sequence[str], limit: int | None
) -> int:
    """Follow a mission until it ends, or the list.

    The exit code is 0 if the mission is COMPLETED at the end, else 1. Without an ID, the list is followed until Ctrl-C.
    """
    with session.client(_patient()) as client:
        if mission_id:
            if statuses or tags or limit:
                raise click.UsageError("Give an ID or filters, not both")
            return _watch_one(session, client, session.find(client, mission_id))

        def newest(count: int) -> list[Mission]:
            return list(client.list(status=_flat(statuses), tags=tags, limit=count))

        if session.terminal and not session.json and os.environ.get("TERM") != "dumb":
            return _watch_screen(session, newest, limit)
        return _watch_lines(session, newest, limit or 50)


def _watch_one(session: Session, client: "Client", mission_id: str) -> int:
    found = client.get(mission_id)
    session.recent.add([found.id])
    _tell(session, found)
    for each in client.follow(mission_id):
        session.give({"log": asdict(each)}) if session.json else session.say(_line(session, each))
    found = client.get(mission_id)
    _tell(session, found)
    return DONE if found.status == "COMPLETED" else REFUSED


def _tell(session: Session, mission: Mission) -> None:
    if session.json:
        return session.give({"mission": asdict(mission)})
    took = f" after {times.long(mission.duration)}" if mission.duration is not None and mission.finished else ""
    reason = f" ({one_line(mission.reason)})" if mission.reason else ""
    named = click.style(table.shown(mission.name), bold=True)
    return session.say(f"{named} is {status(mission.status, mission.status)}{took}{reason}")


def _watch_lines(session: Session, newest: Callable[[int], list[Mission]], limit: int) -> int:
    """A line for each mission that is new or has changed."""
    seen: dict[str, int] = {}
    while True:
        found = newest(limit)
        changed = [each for each in reversed(found) if seen.get(each.id) != each.version]
        seen = {each.id: each.version for each in found}
        session.recent.add(each.id for each in changed)
        for each in changed:
            if session.json:
                session.give(each)
            else:
                session.say(f"{session.at(each.updated_at)}  {each.id}  {each.status:9}  {table.shown(each.name)}")
        time.sleep(EVERY)


def _watch_screen(session: Session, newest: Callable[[int], list[Mission]], limit: int | None) -> int:
    """The list as it is now, drawn again and again on a screen of its own."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # through `finally`
    click.echo("\x1b[?1049h\x1b[?25l", nl=False, color=True)  # another screen, without a cursor
    try:
        while True:
            room = max(1, shutil.get_terminal_size().lines - 2)
            found = newest(min(limit or 200, room - 1))
            session.recent.add(each.id for each in found)
            text = [*(lines(session, found) if found else ["There is no such mission yet."]), "Ctrl-C ends this."]
            text = text if session.colour else [click.unstyle(each) for each in text]
            click.echo("\x1b[H" + "".join(f"{each}\x1b[K\n" for each in text) + "\x1b[J", nl=False, color=True)
            time.sleep(EVERY)
    finally:
        click.echo("\x1b[?25h\x1b[?1049l", nl=False, color=True)
