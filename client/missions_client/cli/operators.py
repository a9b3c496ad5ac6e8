"""outbox."""

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import click

from missions_client import table, times
from missions_client.cli import DONE, REFUSED
from missions_client.cli.session import Session
from missions_client.errors import MissionsError

Operate = Callable[[Any], Any]


def operator(session: Session) -> Operate:
    """What asks the operator function. Raises MissionsError."""
    settings = session.settings
    if settings.stack:
        from missions_client.aws import Operator

        return Operator(settings.stack, settings.profile)
    if urlsplit(settings.url).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise click.UsageError("The operator function is found by --stack, or `stack` in the configuration file")

    def local(payload: Any) -> Any:
        import httpx

        from missions_client import transport

        address = f"{settings.url}/console/operate"
        try:
            answer = httpx.post(address, json=payload, headers={"x-missions-console": "missions"}, timeout=35)
        except httpx.RequestError as error:
            raise transport.unreachable(settings.url, error) from None
        if answer.status_code in (403, 404, 405):
            raise MissionsError("This stack lets nobody operate over HTTP, as with sign-in. Use: make operate")
        return transport.answer(answer.status_code, answer.headers, answer.content)

    return local


def _asked(session: Session, payload: dict[str, Any]) -> Any:
    answer = operator(session)(payload)
    if isinstance(answer, dict) and "error" in answer:
        raise click.UsageError(str(answer["error"]))
    return answer


@click.group("outbox", invoke_without_command=True)
@click.pass_context
def outbox_(ctx: click.Context) -> None:
    """For operators: events that were not delivered. Without a command, how many there are."""
    session = ctx.ensure_object(Session)
    if ctx.invoked_subcommand:
        return None
    found = _asked(session, {"action": "count"})
    if session.json:
        return session.give(found)
    oldest = f", the oldest for {times.long(found['oldest_seconds'])}" if found["undelivered"] else ""
    session.say(f"{found['undelivered']:,} wait{oldest}")
    session.say(f"{found['dead']:,} are dead")
    if found.get("unread_partitions"):
        click.echo("missions: A part of the store did not answer; there may be more.", err=True)
    return session.hint("See them: missions outbox list") if found["dead"] else None


COLUMNS = (
    table.Column("ENTRY"),
    table.Column("NAMESPACE", flexible=True),
    table.Column("AGE", right=True),
    table.Column("EVENTS", flexible=True),
    table.Column("ERROR", flexible=True),
)


@outbox_.command("list")
@click.option("--undelivered", is_flag=True, help="Those that wait, in place of the dead ones.")
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--namespace", help="Only of this namespace.")
@click.pass_obj
def list_(session: Session, undelivered: bool, limit: int, namespace: str | None) -> None:
    """Show the dead entries; an entry holds the events of one write."""
    payload = {"action": "list", "what": "undelivered" if undelivered else "dead", "limit": limit}
    found = _asked(session, payload | ({"namespace": namespace} if namespace else {}))
    if session.json:
        for each in found["entries"]:
            session.give(each)
        return None
    now = time.time()
    rows = [
        (
            each["entry_id"],
            each["namespace"] or "",
            times.age(now - int(each["entry_id"].partition("-")[0]) / 1000),
            _events(each["events"]),
            table.shown(str(each.get("error", ""))),
        )
        for each in found["entries"]
    ]
    if not rows:
        return session.hint("There is none.")
    for row in table.layout(COLUMNS, rows, session.cells):
        session.say(table.GAP.join(row).rstrip())
    session.hint(f"There are more: -n {limit * 2}" if found.get("cursor") else
                 "" if undelivered else "Send again: missions outbox redeliver ENTRY, or --all")  # fmt: skip
    return None


def _events(events: Any) -> str:
    """The types of the events, and the mission that they are about."""
    if not isinstance(events, list):
        return table.shown(str(events))
    types = dict.fromkeys(str(each.get("type", "?")) for each in events if isinstance(each, dict))
    return table.shown(f"{len(events)}: {' '.join(types)}" if len(events) > 1 else " ".join(types))


@outbox_.command("redeliver")
@click.argument("entries", metavar="[ENTRY]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead entries.")
@click.option("--namespace", help="Only of this namespace; for ENTRY its own, by default `default`.")
@click.pass_obj
def redeliver_(session: Session, entries: Sequence[str], everything: bool, namespace: str | None) -> int:
    """Publish dead entries again."""
    if bool(entries) == everything:
        raise click.UsageError("Give the entries, or --all")
    payload: dict[str, Any] = {"action": "redeliver", "limit": 1000}
    if entries:
        payload |= {"entry_ids": list(entries), "namespace": namespace or "default"}
    elif namespace:
        payload |= {"namespace": namespace}
    found = _asked(session, payload)
    if session.json:
        session.give(found)
    else:
        session.say(
            f"{found['revived']:,} entries were tried: {found['published']:,} events are published, "
            f"{found['died']:,} are dead again, {found['left']:,} wait ({table.shown(found['ended'])})"
        )
    return REFUSED if found["died"] or found["left"] or (entries and not found["revived"]) else DONE
