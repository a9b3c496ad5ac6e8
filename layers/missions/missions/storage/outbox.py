"""The outboxes: one stream for each partition, of the events that are not published yet, and one of dead letters."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from missions.domain.errors import StoreUnavailable
from missions.domain.events import OutboxEntry
from missions.storage import keys, records
from missions.storage.connection import Connection

PAGE_BYTES = 2_000_000  # after which a page ends


class Backlog(NamedTuple):
    """How many entries and dead letters a partition has, and the moment of its first entry, in microseconds."""

    partition: int
    waiting: int
    dead: int
    first: int | None


class Survey(NamedTuple):
    """The partitions that have undelivered events or dead letters, and those that could not be read."""

    backlogs: list[Backlog]
    unread: list[int]


class Page(NamedTuple):
    """Entries, and the id to go on after; None when all was read. A page ends at 2 MB."""

    entries: list[OutboxEntry]
    after: str | None


class Settlement(NamedTuple):
    """What became of an entry: the drafts to try again, and those that are dead ('*' for all), with their error."""

    entry_id: str
    again: str = ""
    dead: str = ""
    error: str = ""


class Outbox:
    """The outboxes of all partitions. Every method raises StoreUnavailable when Redis does not answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def survey(self) -> Survey:
        """What all partitions have, in two pipelines. Raises StoreUnavailable when no partition answers."""
        every = range(keys.PARTITIONS)
        lengths = self._connection.commands(
            ("XLEN", stream(partition)) for partition in every for stream in (keys.outbox, keys.dead)
        )
        found = list(zip(every, lengths[::2], lengths[1::2], strict=True))
        counts = [each for each in found if None not in each]
        if not counts:
            raise StoreUnavailable
        some = [each for each in counts if any(each[1:])]
        firsts = self._connection.scripts("first_moment", (([keys.outbox(each[0])], []) for each in some))
        backlogs = [
            Backlog(*each, int(first) or None) for each, first in zip(some, firsts, strict=True) if first is not None
        ]
        unread = [each[0] for each in found if None in each]
        unread += [each[0] for each, first in zip(some, firsts, strict=True) if first is None]
        return Survey(backlogs, unread)

    def read(self, partition: int, after: str, limit: int) -> Page:
        """Up to `limit` entries after this id, in order."""
        return self._page(keys.outbox(partition), after, limit)

    def read_each(self, places: Sequence[tuple[int, str, int]], min_age: int) -> list[Page | None]:
        """What `read` gives for each partition, id and limit, of entries that are at least so many milliseconds old.

        None for a partition that does not answer. All pages together end at 2 MB, but each has an entry at least.
        """
        each_bytes = PAGE_BYTES // max(1, len(places))
        asked = [([keys.outbox(partition)], (after, limit, each_bytes, min_age)) for partition, after, limit in places]
        return [each and _page(each) for each in self._connection.scripts("read_outbox", asked)]

    def read_dead(self, partition: int, after: str, limit: int) -> Page:
        """Up to `limit` dead letters after this id, in order; each has its error."""
        return self._page(keys.dead(partition), after, limit)

    def _page(self, stream: str, after: str, limit: int) -> Page:
        return _page(self._connection.script("read_outbox", [stream], after, limit, PAGE_BYTES, 0))

    def settle(self, partition: int, settlements: Sequence[Settlement]) -> int:
        """Say what became of entries (900 at most: ElastiCache Serverless refuses 4,000 arguments).

        Gives how many were settled now, and not by somebody else before.
        """
        streams, args = _settle(partition, settlements)
        return int(self._connection.script("settle", streams, *args))

    def settle_each(self, settlements: Mapping[int, Sequence[Settlement]]) -> list[int | None]:
        """What `settle` gives for each partition; None for one that does not answer."""
        return self._connection.scripts("settle", (_settle(*each) for each in settlements.items()))

    def revive(self, partition: int, entry_ids: Sequence[str]) -> list[str | None]:
        """Put dead letters back into the outbox; gives the new id of each, None when it is not there."""
        return list(self._connection.script("revive", [keys.outbox(partition), keys.dead(partition)], *entry_ids))

    def namespaces(self) -> tuple[list[str], int]:
        """The namespaces that have missions, in order, and how many partitions could not be read."""
        sets = self._connection.commands(("SMEMBERS", keys.namespaces(each)) for each in range(keys.PARTITIONS))
        return sorted(name for names in sets for name in names or ()), sets.count(None)


def _settle(partition: int, settlements: Sequence[Settlement]) -> tuple[list[str], list[str]]:
    # One key, where one will do: while a slot moves to another node, a script of two is refused.
    dead = [keys.dead(partition)] if any(each.dead for each in settlements) else []
    return [keys.outbox(partition), *dead], [text for each in settlements for text in each]


def _page(reply: Sequence[Any]) -> Page:
    follow, *found = reply
    return Page([_entry(entry_id, _pairs(fields)) for entry_id, fields in found], follow)


def _pairs(flat: Sequence[str]) -> Mapping[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _entry(entry_id: str, fields: Mapping[str, str]) -> OutboxEntry:
    """An entry from the fields that write.lua gave it. What is broken in it makes its events dead, and nothing else."""
    try:
        facts = records.facts(fields["facts"])
        return OutboxEntry(
            id=entry_id,
            namespace=facts["namespace"],
            mission_id=facts["mission"],
            moment=_moment(facts["moment"]),
            sequence=int(facts["sequence"]),
            old_status=facts.get("old_status", ""),
            drafts=fields["drafts"],
            error=fields.get("error", ""),
            tags=records.tags(facts),
            content=fields.get("content", ""),
        )
    except (ValueError, KeyError, AttributeError):
        written = int(entry_id.partition("-")[0])  # milliseconds
        return OutboxEntry(entry_id, "", "", written * 1000, 0, "", json.dumps(fields), fields.get("error", ""))


def _moment(text: str) -> int:
    moment = int(text)
    if not 0 <= moment < 10**16:
        raise ValueError("no moment of this time")
    return moment
