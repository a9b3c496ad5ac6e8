"""What operators ask: how much waits, what waits, what is dead, who has missions; and to send dead letters again."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from missions.domain import words
from missions.domain.errors import StoreUnavailable
from missions.domain.events import BROKEN, OutboxEntry
from missions.domain.fields import checked_namespace, written
from missions.publishing import relay
from missions.publishing.emitter import EventStream
from missions.storage.keys import partition_of
from missions.storage.outbox import Outbox, Page

BYTES = 2_000_000  # of an answer: Lambda takes 6 MB, in which JSON within JSON may take more than twice its length
PAGE = 100  # entries read at once
EXAMPLES: list[dict[str, Any]] = [
    {"action": "count"},
    {"action": "list", "what": "dead", "namespace": "default", "limit": 50},
    {"action": "redeliver", "namespace": "default", "entry_ids": ["1795486300655-0"]},
    {"action": "namespaces"},
]
ENTRY_ID = written("[0-9]{1,20}-[0-9]{1,20}", "must be an entry_id that a list showed")
CURSOR = written("[0-9]{1,4} [0-9]{1,20}-[0-9]{1,20}", "must be the cursor of the list before")


class OperatorRequest(BaseModel):
    """What an operator sends. Without a namespace all are meant. An entry holds the events of one write."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["count", "list", "redeliver", "namespaces"]
    what: Literal["dead", "undelivered"] = "dead"  # to list
    namespace: Annotated[str, BeforeValidator(checked_namespace)] | None = None
    limit: int = Field(50, ge=1, le=1000)  # entries to list, or to redeliver
    entry_ids: list[Annotated[str, ENTRY_ID]] = Field([], max_length=1000)
    cursor: Annotated[str, CURSOR] = "0 0-0"  # of the list before

    @model_validator(mode="after")
    def _ids_have_a_namespace(self) -> Self:
        if self.entry_ids and self.namespace is None:
            raise ValueError("entry_ids are those of one namespace; give the namespace, too")
        return self


def answer(
    payload: Any,
    outbox: Outbox,
    connect: Callable[[], EventStream],
    more_time: Callable[[], bool] = lambda: True,
) -> dict[str, Any]:
    """Do what an operator asks. What makes no sense changes nothing, and is answered with what is wrong and examples.

    `connect` gives the stream to publish to. Raises StoreUnavailable, and what `connect` raises.
    """
    try:
        request = OperatorRequest.model_validate(payload)
    except ValidationError as error:
        return {"error": _words(error), "examples": EXAMPLES}
    match request.action:
        case "count":
            _, report = relay.survey(outbox)
            found = {"undelivered": report.waiting, "oldest_seconds": report.oldest / 1000, "dead": report.dead}
            return found | _unread(report.unread)
        case "list":
            return _listed(outbox, request, more_time)
        case "redeliver":
            return _redelivered(outbox, request, connect(), more_time)
        case "namespaces":
            names, unread = outbox.namespaces()
            return {"namespaces": names} | _unread(unread)


def _listed(outbox: Outbox, request: OperatorRequest, more_time: Callable[[], bool]) -> dict[str, Any]:
    """Entries, until there are as many as asked for, the answer is large or the time is up; a cursor to go on with."""
    read = outbox.read_dead if request.what == "dead" else outbox.read
    begin, _, after = request.cursor.partition(" ")
    found, unread = _partitions(outbox, request)
    shown: list[dict[str, Any]] = []
    seen = size = 0
    for partition in sorted(found):
        if partition < int(begin):
            continue
        last = after if partition == int(begin) else "0-0"
        try:
            for entry in _entries(read, partition, last):
                each = _shown(entry) if request.namespace in (None, entry.namespace) else None
                size += len(json.dumps(each)) if each else 0
                full = shown and (len(shown) == request.limit or size > BYTES)
                if full or (seen and not more_time()):
                    return {"entries": shown, "cursor": f"{partition} {last}"} | _unread(unread)
                if each:
                    shown.append(each)
                seen, last = seen + 1, entry.id
        except StoreUnavailable:
            unread += 1
    return {"entries": shown, "cursor": None} | _unread(unread)


def _redelivered(
    outbox: Outbox, request: OperatorRequest, stream: EventStream, more_time: Callable[[], bool]
) -> dict[str, Any]:
    """Put dead letters back into the outbox and publish them at once; what is refused again is dead again."""
    found, unread = _partitions(outbox, request)
    report = relay.Report(ended="all were tried", unread=unread)
    revived = 0
    with relay.Run(outbox, stream, report, more_time) as run:
        for partition, dead in found.items():
            try:
                # No more than there were: what is refused again comes behind them.
                for entry in islice(_entries(outbox.read_dead, partition, "0-0"), dead):
                    if revived == request.limit or not run.goes_on():
                        return _told(report, revived)
                    if request.entry_ids and entry.id not in request.entry_ids:
                        continue
                    # A broken entry names no namespace, and can be named by its id.
                    if request.namespace not in (None, entry.namespace) and (entry.namespace or not request.entry_ids):
                        continue
                    (new_id,) = outbox.revive(partition, [entry.id])
                    if new_id:
                        revived += 1
                        run.publish([(partition, entry._replace(id=new_id))])
            except StoreUnavailable:
                report.unread += 1
    if report.unread:
        report.ended = "some partitions did not answer; call again"
    return _told(report, revived)


def _told(report: relay.Report, revived: int) -> dict[str, Any]:
    told = asdict(report)
    found = {"revived": revived} | {name: told[name] for name in ("published", "died", "left", "ended")}
    return found | _unread(report.unread)


def _unread(partitions: int) -> dict[str, int]:
    """Tells that an answer is not complete."""
    return {"unread_partitions": partitions} if partitions else {}


def _partitions(outbox: Outbox, request: OperatorRequest) -> tuple[dict[int, int], int]:
    """The partitions to look at, with how many dead letters each has, and how many could not be read."""
    backlogs, unread = outbox.survey()
    found = {each.partition: each.dead for each in backlogs}
    if request.namespace is None:
        return found, len(unread)
    own = partition_of(request.namespace)
    return {own: found.get(own, 0)}, unread.count(own)


def _entries(read: Callable[[int, str, int], Page], partition: int, after: str | None) -> Iterator[OutboxEntry]:
    """The entries after this id, in order, read page by page."""
    while after is not None:
        entries, after = read(partition, after, PAGE)
        yield from entries


def _shown(entry: OutboxEntry) -> dict[str, Any]:
    try:
        events: Any = [event.model_dump(mode="json") for event in entry.envelopes()]
    except BROKEN:
        events = entry.drafts
    shown = {"entry_id": entry.id, "namespace": entry.namespace, "events": events}
    return shown | ({"error": entry.error} if entry.error else {})


def _words(error: ValidationError) -> str:
    told = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'the payload'}: {words.of(each)}" for each in told)
