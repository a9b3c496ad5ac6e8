"""The relay: publishes what the requests did not, so that no event is lost.

It walks the outbox of every namespace, a page each in turn, oldest first. Only what EventBridge can never take is put
aside as a dead letter; everything else stays where it is and is tried again in the next run.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Self

from botocore.exceptions import ClientError, ParamValidationError
from pydantic import BaseModel, ConfigDict, Field, model_validator

from missions.charter import Event
from missions.emitter import BATCH_BYTES, ENVELOPE_BYTES, EventStream, batches, logger
from missions.store import NAMESPACES, Keys, store

PAGE = 500  # entries read at once
MIN_AGE = 5_000  # milliseconds: a younger entry is still being published by its own request
NEVER = {"MalformedDetail", "InvalidArgument"}  # the entry's own fault, which no repair elsewhere mends
NOT_ALLOWED = {"NotAuthorizedForSourceException", "NotAuthorizedForDetailTypeException"}  # others may be allowed
REFUSED_WHOLE = {"ValidationException", "RequestEntityTooLargeException"}  # one entry spoils its batch


BROKEN = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # what facts of no event raise


class RelayRequest(BaseModel):
    """What the relay is asked: to publish, to list what is undelivered and dead, or to send dead letters again."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["publish", "list", "redeliver"] = "publish"
    namespace: str | None = None  # None: every namespace
    limit: int = Field(50, ge=1, le=1000)  # events listed of each kind
    entry_ids: list[Annotated[str, Field(pattern=r"^\d+-\d+$")]] = []  # dead letters to send again; none named: all

    @model_validator(mode="after")
    def _ids_have_a_namespace(self) -> Self:
        if self.entry_ids and self.namespace is None:
            raise ValueError("entry_ids are those of one namespace; name it, too")
        return self


class Entry(NamedTuple):
    """An outbox entry: its id in the stream, and the facts of its event."""

    id: str
    facts: str


@dataclass
class Report:
    """What a run found and did, in events; `oldest` is the age of the oldest that waited, in milliseconds."""

    waiting: int = 0
    oldest: int = 0
    dead: int = 0
    published: int = 0
    died: int = 0
    left: int = 0
    ended: str = "nothing is left that is old enough"


class StreamFailed(Exception):
    """The event stream failed as a whole; nothing was deleted that was not accepted."""


def namespaces() -> list[str]:
    """Every namespace that was ever written to. Raises StoreUnavailable."""
    return sorted(store().command("SMEMBERS", NAMESPACES))


def survey(namespaces: Sequence[str]) -> Report:
    """Count what is waiting and what is dead. Raises StoreUnavailable."""
    report = Report()
    for namespace in namespaces:
        waiting, oldest, dead, *_ = _read(namespace, "0-0", 1)
        report.waiting += waiting
        report.oldest = max(report.oldest, oldest)
        report.dead += dead
    return report


def drain(
    stream: EventStream,
    namespaces: Sequence[str],
    report: Report,
    more_time: Callable[[], bool] = lambda: True,
) -> None:
    """Publish what is waiting, until nothing is left or `more_time` says no. Raises StoreUnavailable."""
    # Each run begins with another namespace: the time may never be enough for all. SystemRandom, since SnapStart
    # clones the state of random.
    order = random.SystemRandom().sample(namespaces, len(namespaces))
    after = dict.fromkeys(order, "0-0")
    try:
        while after:
            for namespace, last in list(after.items()):
                page = [Entry(*entry) for entry in _read(namespace, last, PAGE)[3:]] if more_time() else []
                # Where nothing of a page could be published there is no use in the next one.
                if page and _publish(stream, namespace, page, report, more_time):
                    after[namespace] = page[-1].id
                else:
                    del after[namespace]
        if not more_time():
            report.ended = "the time is up"
    except StreamFailed as error:
        report.ended = f"EventBridge failed: {error}"
        logger.error("The relay ends early; what it did not publish stays in the outbox", error=str(error))


def undelivered(namespace: str, limit: int) -> dict[str, list[dict[str, Any]]]:
    """The oldest undelivered events and dead letters of a namespace. Raises StoreUnavailable."""
    keys = Keys(namespace)
    return {
        kind: [
            {"entry_id": entry_id, **fields, "event": _shown(namespace, fields.pop("facts"))}
            for entry_id, fields in store().command("XRANGE", key, "-", "+", "COUNT", limit)
        ]
        for kind, key in (("undelivered", keys.outbox), ("dead", keys.dead))
    }


def revive(namespace: str, entry_ids: Sequence[str]) -> int:
    """Put dead letters back into the outbox, all (up to 1,000) when none is named; tells how many."""
    keys = Keys(namespace)
    return int(store().script("revive", [keys.outbox, keys.dead], *entry_ids))


def _read(namespace: str, after: str, limit: int) -> list[Any]:
    keys = Keys(namespace)
    return list(store().script("outbox", [keys.outbox, keys.dead], after, limit, MIN_AGE))


def _publish(
    stream: EventStream, namespace: str, page: Sequence[Entry], report: Report, more_time: Callable[[], bool]
) -> bool:
    """Publish a page, delete what was accepted and bury what never will be; tells whether to go on with the next."""
    accepted: list[str] = []
    left: Counter[str] = Counter()
    died = 0
    try:
        for part in batches([entry.facts for entry in page]):
            if not more_time():  # with a slow EventBridge a page alone may take longer than there is
                break
            for entry, error in _outcomes(stream, namespace, page[part]):
                if error is None:
                    accepted.append(entry.id)
                elif error in NEVER or _too_large(entry):
                    died += _bury(namespace, entry, error)
                else:
                    left[error] += 1
    finally:  # what was accepted before a failure must not be published again
        report.published += len(accepted)
        report.died += died
        report.left += left.total()
        if accepted:
            store().command("XDEL", Keys(namespace).outbox, *accepted)
        if left:
            logger.error("Events are not accepted yet; they stay in the outbox", namespace=namespace, errors=left)
    return bool(accepted or died or left.keys() & NOT_ALLOWED)


def _outcomes(stream: EventStream, namespace: str, entries: Sequence[Entry]) -> Iterator[tuple[Entry, str | None]]:
    """Publish a batch; for each entry None or its error. One refused whole is split until the culprit is alone."""
    good: list[Entry] = []
    events: list[Event] = []
    for entry in entries:
        try:
            event = Event.from_facts(namespace, entry.facts)
            event.model_dump_json()
        except BROKEN:
            yield entry, "MalformedDetail"  # no event can be made of it, so EventBridge can never take it
        else:
            good.append(entry)
            events.append(event)
    if not events:
        return
    try:
        errors = stream.publish(events)
    except ClientError as failure:
        error = failure.response["Error"]["Code"]
        if error not in REFUSED_WHOLE:
            raise StreamFailed(error) from failure
    except (ParamValidationError, ValueError, OverflowError) as failure:  # boto3 refuses an entry by itself
        error = repr(failure)
    except Exception as failure:  # boto3 can raise anything
        raise StreamFailed(repr(failure)) from failure
    else:
        yield from zip(good, errors, strict=True)
        return
    if len(good) == 1:
        yield good[0], error
    else:
        half = len(good) // 2
        yield from _outcomes(stream, namespace, good[:half])
        yield from _outcomes(stream, namespace, good[half:])


def _shown(namespace: str, facts: str) -> Any:
    try:
        return Event.from_facts(namespace, facts).model_dump(mode="json")
    except BROKEN:
        return facts


def _too_large(entry: Entry) -> bool:
    return len(entry.facts.encode()) + ENVELOPE_BYTES > BATCH_BYTES


def _bury(namespace: str, entry: Entry, error: str) -> int:
    keys = Keys(namespace)
    logger.error("EventBridge can never take this event; it is a dead letter now", entry_id=entry.id, error=error)
    return int(store().script("bury", [keys.outbox, keys.dead], entry.id, entry.facts, error))
