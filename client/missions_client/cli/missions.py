"""create, list, show, start, complete, fail, cancel, retry, claim, heartbeat, delete."""

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from missions_client import table, times
from missions_client.cli import DONE, NO_MISSION, REFUSED, explained, failed
from missions_client.cli.session import STATUS, MissionId, Moment, Seconds, Session, status
from missions_client.errors import Conflict, Invalid, NotFound, Removed, StaleVersion
from missions_client.models import Mission, Order, Status

if TYPE_CHECKING:
    from missions_client.synchronous import Client

MOST = 1000  # missions that are counted before many are cancelled

TAGS = click.option("--tag", "-t", "tags", multiple=True, help="Only with this tag; several: with all of them.")
STATUSES = click.option("--status", "-s", "statuses", type=STATUS, multiple=True, help="Only with this status.")
NAME = click.option("--name", metavar="TEXT", help="Only with a name that begins like this.")
SINCE = click.option("--since", type=Moment(-1), help="Only created after this: 2h (ago), or a time.")
UNTIL = click.option("--until", type=Moment(-1), help="Only created before this.")
REASON = click.option("--reason", "-r", metavar="TEXT", help="Why; it is shown with the mission.")
ID = click.argument("mission_id", metavar="ID", type=MissionId())


@click.command("create")
@click.argument("name")
@click.option("--id", "mission_id", help="The id; without it a UUID is made.")
@click.option("--description", "-d", metavar="TEXT")
@click.option("--data", metavar="JSON", help="An object. @FILE reads it from a file, - from standard input.")
@click.option("--tag", "-t", "tags", multiple=True, help="Several are given one by one.")
@click.option("--timeout", type=Seconds(), help="How long it may be RUNNING.")
@click.option("--heartbeat-timeout", type=Seconds(), help="How long it may be RUNNING without a sign of life.")
@click.option("--deadline", type=Moment(1), help="When it must be finished: 2h (from now), or a time.")
@click.option("--not-before", type=Moment(1), help="When a worker may get it at the earliest.")
@click.option("--retries", type=int, help="How often it is tried again after it failed.")
@click.option("--backoff", type=Seconds(), help="How long the next attempt waits.")
@click.option("--retention", type=Seconds(), help="How long it is kept after its end.")
@click.option("--key", help="The Idempotency-Key: the same key creates it once.")
@click.pass_obj
def create_(session: Session, /, name: str, mission_id: str | None, data: str | None, **members: Any) -> None:
    """Create a mission, and print its id."""
    given = None if data is None else _object(data)
    with session.client() as client:
        made = client.create(name, id=mission_id, data=given, **members)
    session.recent.add([made.id])
    if session.json:
        return session.give(made)
    session.say(made.id)
    return session.hint(f"It waits for a worker. Follow it: missions watch {session.recent.short([made.id])[0]}")


def _object(text: str) -> dict[str, Any]:
    """The JSON object of --data. Raises click.UsageError."""
    try:
        if text.startswith("@"):
            text = Path(text[1:]).read_text()
        elif text == "-":
            text = sys.stdin.read()
        found = json.loads(text)
    except OSError as error:
        raise click.UsageError(f"--data: {error.filename} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--data is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError('--data must be a JSON object, such as \'{"commit": "4f2a9c1"}\'')
    return found


@click.command("list")
@STATUSES
@TAGS
@NAME
@SINCE
@UNTIL
@click.option("--overdue", is_flag=True, help="Only missions of which a limit has passed.")
@click.option("--order", type=click.Choice(["newest", "oldest"]), help="Which come first; default: newest.")
@click.option("--limit", "-n", type=click.IntRange(1), default=50, show_default=True)
@click.option("--all", "-a", "everything", is_flag=True, help="All of them, however many.")
@click.pass_obj
def list_(
    session: Session, statuses: Sequence[list[Status]], tags: Sequence[str], name: str | None, since: float | None,
    until: float | None, overdue: bool, order: Order | None, limit: int, everything: bool,
) -> None:  # fmt: skip
    """List missions, the newest first; with --name in the order of their names."""
    if name and order:
        raise click.UsageError("With --name missions come in the order of their names, so there is no --order")
    with session.client() as client:
        asked = client.list(
            status=_flat(statuses), tags=tags, name=name, overdue=overdue, created_after=since, created_before=until,
            order=order, limit=None if everything else limit + 1,
        )  # fmt: skip
        if session.json:
            for each in asked if everything else islice(asked, limit):
                session.give(each)
            return None
        found = list(asked)
    more = not everything and len(found) > limit
    found = found if everything else found[:limit]
    session.recent.add(each.id for each in found)
    if not found:
        return session.hint("There is no such mission.")
    for line in lines(session, found):
        session.say(line)
    return session.hint(f"There are more: -n {limit * 2}, or --all") if more else None


def _flat(lists: Sequence[list[Status]]) -> list[Status]:
    return [each for some in lists for each in some]


COLUMNS = (
    table.Column("ID"),
    table.Column("STATUS"),
    table.Column("AGE", right=True),
    table.Column("NAME", flexible=True),
    table.Column("DONE", right=True),
    table.Column("NOTE", flexible=True),
    table.Column("TAGS", flexible=True),
)


def lines(session: Session, missions: Sequence[Mission]) -> list[str]:
    """A table of these missions, which fits into the terminal. Where nobody looks, ids are whole."""
    ids = [each.id for each in missions]
    now = time.time()
    rows = [
        (
            name,
            each.status,
            times.age(now - each.created_at),
            table.shown(each.name),
            "" if each.progress is None else f"{each.progress:.0%}",
            one_line((each.note if each.status == "RUNNING" else each.reason) or ""),
            " ".join(each.tags),
        )
        for name, each in zip(session.recent.short(ids) if session.terminal else ids, missions, strict=True)
    ]
    titles, *cells = table.layout(COLUMNS, rows, session.cells)
    for row, each in zip(cells, missions, strict=True):
        row[1] = status(row[1], each.status)
    return [click.style(table.GAP.join(titles).rstrip(), dim=True), *(table.GAP.join(row).rstrip() for row in cells)]


@click.command("show")
@ID
@click.pass_obj
def show_(session: Session, mission_id: str) -> None:
    """Show all of a mission. `missions log` shows its log."""
    with session.client() as client:
        found = client.get(session.find(client, mission_id))
    session.recent.add([found.id])
    if session.json:
        return session.give(found)
    for name, value in facts(session, found):
        first, *others = value.split("\n")
        session.say(f"{click.style(name.ljust(14), dim=True)}{first}")
        for each in others:
            session.say(" " * 14 + each)
    return None


def facts(session: Session, mission: Mission) -> list[tuple[str, str]]:
    """What there is to show, by its names."""
    now = time.time()

    def when(at: float | None) -> str:
        if at is None:
            return ""
        ago = f"{times.age(now - at)} ago" if at <= now else f"in {times.age(at - now)}"
        return f"{session.at(at)} ({ago})"

    def limit(seconds: int | None) -> str:
        return "" if seconds is None else times.long(seconds)

    done = "" if mission.progress is None else f"{mission.progress:.0%}"
    told = [
        ("id", mission.id),
        ("name", table.shown(mission.name)),
        ("status", status(mission.status, mission.status)),
        ("reason", paragraph(mission.reason or "")),
        ("progress", f"{done} {table.shown(mission.note or '')}".strip()),
        ("worker", table.shown(mission.worker or "")),
        ("tags", " ".join(mission.tags)),
        ("created", when(mission.created_at)),
        ("started", when(mission.started_at)),
        ("finished", when(mission.finished_at)),
        ("took", "" if mission.duration is None else times.long(mission.duration)),
        ("last sign", when(mission.active_at) if mission.status == "RUNNING" else ""),
        ("timeout", limit(mission.timeout)),
        ("lease", limit(mission.heartbeat_timeout)),
        ("deadline", when(mission.deadline)),
        ("not before", when(mission.not_before) if mission.status == "PENDING" else ""),
        ("attempt", _attempt(mission)),
        ("retry of", mission.retry_of or ""),
        ("next attempt", mission.next_attempt or ""),
        ("description", paragraph(mission.description)),
        ("data", paragraph(json.dumps(mission.data, indent=2, ensure_ascii=False)) if mission.data else ""),
    ]
    return [(name, value) for name, value in told if value]


def _attempt(mission: Mission) -> str:
    if mission.attempt > mission.retries + 1:  # made by hand
        return str(mission.attempt)
    return f"{mission.attempt} of {mission.retries + 1}" if mission.retries else ""


def one_line(text: str) -> str:
    """A text of several lines as one, safe to show."""
    return table.shown(" ".join(text.split()))


def paragraph(text: str) -> str:
    """A text of several lines, each of them safe to show."""
    return "\n".join(table.shown(each.expandtabs(4)) for each in text.replace("\r\n", "\n").split("\n"))


def _change(session: Session, mission_id: str, to: Status, reason: str | None) -> None:
    with session.client() as client:
        changed = client.set_status(session.find(client, mission_id), to, reason=reason)
    session.recent.add([changed.id])
    if session.json:
        return session.give(changed)
    session.say(f"{changed.id} is {status(changed.status, changed.status)}")
    if to == "FAILED" and changed.next_attempt:
        session.recent.add([changed.next_attempt])
        session.say(f"{changed.next_attempt} is its next attempt")
    return None


@click.command("start")
@ID
@REASON
@click.pass_obj
def start_(session: Session, mission_id: str, reason: str | None) -> None:
    """Make a mission RUNNING."""
    _change(session, mission_id, "RUNNING", reason)


@click.command("complete")
@ID
@REASON
@click.pass_obj
def complete_(session: Session, mission_id: str, reason: str | None) -> None:
    """Make a mission COMPLETED."""
    _change(session, mission_id, "COMPLETED", reason)


@click.command("fail")
@ID
@REASON
@click.pass_obj
def fail_(session: Session, mission_id: str, reason: str | None) -> None:
    """Make a mission FAILED."""
    _change(session, mission_id, "FAILED", reason)


def _cancel(session: Session, client: "Client", mission_id: str, reason: str | None, yes: bool) -> int:
    """Cancel this one. One that has ended is cancelled only with --yes: its outcome and its reason are lost by that."""
    found = client.get(mission_id)
    if found.finished and found.status != "CANCELLED" and not yes:
        return failed(f"{found.id} is {found.status} already; nothing was done. --yes cancels it.", REFUSED)
    changed = client.cancel(found.id, reason=reason, if_match=found.version)
    session.recent.add([changed.id])
    if session.json:
        session.give(changed)
    else:
        session.say(f"{changed.id} is {status(changed.status, changed.status)}")
    return DONE


@click.command("cancel")
@click.argument("mission_ids", metavar="[ID]...", type=MissionId(), nargs=-1)
@STATUSES
@TAGS
@NAME
@SINCE
@UNTIL
@REASON
@click.option("--yes", "-y", is_flag=True, help="Do not ask; also cancel one that has ended.")
@click.pass_obj
def cancel_(
    session: Session, mission_ids: Sequence[str], statuses: Sequence[list[Status]], tags: Sequence[str],
    name: str | None, since: float | None, until: float | None, reason: str | None, yes: bool,
) -> int:  # fmt: skip
    """Cancel these missions, or all that match the filters.

    Without --status the filters mean missions that are PENDING or RUNNING. It asks before it cancels by filters.
    """
    members = {"status": _flat(statuses), "tags": list(tags), "name": name, "created_after": since,
               "created_before": until}  # fmt: skip
    filters: dict[str, Any] = {key: value for key, value in members.items() if value not in (None, [])}
    if bool(mission_ids) == bool(filters):
        raise click.UsageError("Give the ids of missions, or filters such as --tag; not both")
    if mission_ids:
        return _cancel_each(session, mission_ids, reason, yes)
    codes = []
    with session.client() as client:
        if not yes:
            asked = client.list(**{"status": ["PENDING", "RUNNING"], **filters}, limit=MOST + 1)
            found = Counter(each.status for each in asked)
            if not found:
                session.hint("There is no such mission.")
                return DONE
            if not _agreed(found):
                return REFUSED
        for each in client.cancel_many(filter=filters, reason=reason):
            refused = each.outcome in ("refused", "unknown")
            codes.append(REFUSED if refused else DONE)
            if session.json:
                session.give(each)
            elif refused:
                failed(f"{each.id}: {each.detail or each.outcome}", REFUSED)
            else:
                before = (
                    "was CANCELLED before" if each.outcome == "unchanged" else f"is {status('CANCELLED', 'CANCELLED')}"
                )
                session.say(f"{each.id} {before}")
    if not codes:
        session.hint("There is no such mission.")
    return max(codes, default=DONE)


def _cancel_each(session: Session, ids: Sequence[str], reason: str | None, yes: bool) -> int:
    """Cancel these; the exit code is that of the first one that could not be."""
    codes = []
    with session.client() as client:
        found = [session.find(client, each) for each in ids]  # nothing is done if one of them fits several missions
        for each in found:
            try:
                codes.append(_cancel(session, client, each, reason, yes))
            except (NotFound, Removed, Conflict, StaleVersion, Invalid) as error:
                codes.append(failed(*explained(error, session)))
    return next(filter(None, codes), DONE)


def _agreed(found: "Counter[Status]") -> bool:
    """Whether somebody says yes to cancelling so many. Raises click.UsageError if nobody is there to ask."""
    total = found.total()
    if not sys.stdin.isatty():
        raise click.UsageError("It asks before it cancels by filters, and nobody can answer. Give --yes")
    count = f"{MOST:,} or more missions" if total > MOST else f"{total:,} {'mission' if total == 1 else 'missions'}"
    parts = ", ".join(f"{number:,} {each}" for each, number in found.items())
    return click.confirm(f"Cancel {count} ({parts})?", err=True)


@click.command("retry")
@ID
@click.pass_obj
def retry_(session: Session, mission_id: str) -> None:
    """Make the next attempt, and print its id.

    The mission must be FAILED or CANCELLED.
    """
    with session.client() as client:
        made = client.retry(session.find(client, mission_id))
    session.recent.add([made.id])
    session.give(made) if session.json else session.say(made.id)


@click.command("claim")
@click.option("--tag", "-t", "tags", multiple=True, help="Only with this tag; several: with all of them.")
@click.option("--lease", type=Seconds(), help="How long it may be without a sign of life.")
@click.option("--worker", metavar="NAME", help="Who works on it, for people.")
@click.option("--key", help="The Idempotency-Key: the same key gets the same mission.")
@click.pass_obj
def claim_(session: Session, tags: Sequence[str], lease: int | None, worker: str | None, key: str | None) -> int:
    """Take a mission that waits, and print its id. The exit code is 3 if none waits."""
    with session.client() as client:
        found = client.claim(tags=tags, lease=lease, worker=worker, key=key)
    if found is None:
        return failed(f"No mission waits{' that has these tags' if tags else ''}.", NO_MISSION)
    session.recent.add([found.id])
    session.give(found) if session.json else session.say(found.id)
    return DONE


@click.command("heartbeat")
@ID
@click.option("--progress", type=click.FloatRange(0, 1), help="How far it is, from 0 to 1.")
@click.option("--note", metavar="TEXT", help="What it does now.")
@click.pass_obj
def heartbeat_(session: Session, mission_id: str, progress: float | None, note: str | None) -> int:
    """Show that you still work on a mission. The exit code is 0 if it is RUNNING, else 1: then end the work."""
    with session.client() as client:
        sign = client.heartbeat(session.find(client, mission_id), progress=progress, note=note)
    if session.json:
        session.give(sign)
    elif sign.status != "RUNNING":
        reason = f" ({one_line(sign.reason)})" if sign.reason else ""
        failed(f"{sign.id} is {sign.status}{reason}.", REFUSED)
    return DONE if sign.status == "RUNNING" else REFUSED


@click.command("delete")
@ID
@click.pass_obj
def delete_(session: Session, mission_id: str) -> None:
    """Remove a mission that has ended, with its log. Nothing brings it back."""
    with session.client() as client:
        found = session.find(client, mission_id)
        client.delete(found)
    session.hint(f"{found} is removed.")
