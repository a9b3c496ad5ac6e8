"""The store: one typed method for each script, which alone knows its keys, arguments and replies.

An operation is one round trip, a list of missions two. Every method raises StoreUnavailable when Redis does not answer.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from missions.domain import cursors, durations, lifecycle
from missions.domain.errors import (
    BrokenRecord,
    KeyReused,
    MissionExists,
    MissionNotFound,
    StaleVersion,
    TransitionRefused,
)
from missions.domain.events import BROKEN, Draft, OutboxEntry
from missions.domain.fields import compact_json
from missions.domain.models import (
    LogEntry,
    LogPage,
    LogQuery,
    Mission,
    MissionCreate,
    MissionPage,
    MissionQuery,
    MissionStatus,
    Stats,
)
from missions.domain.writes import NewEntry, Result, Write
from missions.log import log_context, logger
from missions.storage import keys, records
from missions.storage.connection import Connection
from missions.storage.keys import Keys

ATTEMPT_LIFE = 60  # seconds that a request without an Idempotency-Key is remembered
ENTRY_EVENTS = 10  # events of an outbox entry, as many as one PutEvents takes


class Store:
    """The missions of all namespaces. `key_life` is how long an Idempotency-Key is remembered, in seconds."""

    def __init__(self, connection: Connection, key_life: int) -> None:
        self._connection = connection
        self._key_life = key_life

    # Writes. Each gives its result and the outbox entries that it made; without drafts it makes none.

    def create_mission(
        self, write: Write, mission_id: str, payload: MissionCreate, entry: NewEntry, drafts: Sequence[Draft]
    ) -> tuple[Result[Mission], list[OutboxEntry]]:
        """Create a mission with its first log entry. Raises MissionExists, KeyReused."""
        names = Keys(write.namespace)
        content = records.content(payload)
        text = _json(drafts)
        reply = self._write(
            "create_mission",
            names,
            write,
            mission_id,
            request=[payload.id or "", content],
            also=[names.stats, names.index(MissionStatus.PENDING), keys.namespaces(names.partition)],
            args=[content, records.log_text(entry), text],
        )
        if reply[0] == "conflict":
            raise MissionExists(mission_id)
        outcome, replayed, mission_id, state, entry_id = reply
        known, mission = _state(mission_id, state, content)
        made = [_entry(entry_id, write, mission_id, known, drafts, text)] if entry_id else []
        return Result(mission, outcome, bool(replayed)), made

    def change_status(
        self,
        write: Write,
        mission_id: str,
        status: MissionStatus,
        reason: str | None,
        entry: NewEntry,
        drafts: Sequence[Draft],
    ) -> tuple[Result[Mission], list[OutboxEntry]]:
        """Change a status, with its log entry. Raises MissionNotFound, TransitionRefused, StaleVersion, KeyReused."""
        names = Keys(write.namespace)
        sources = lifecycle.sources(status)
        text = _json(drafts)
        reply = self._write(
            "change_status",
            names,
            write,
            mission_id,
            request=[mission_id, status, reason or ""],
            also=[names.stats, names.durations, *map(names.index, (status, *sources))],
            args=[
                status,
                "*" if write.versions is None else f" {' '.join(map(str, write.versions))} ",
                compact_json(reason) if reason else "",
                records.log_text(entry),
                text,
                *sources,
            ],
        )
        match reply:
            case ["stale", version]:
                raise StaleVersion(int(version))
            case ["refused", current] if current in set(MissionStatus):
                raise TransitionRefused(MissionStatus(current), status)
            case ["refused", _]:
                raise BrokenRecord(mission_id)
        outcome, replayed, state, content, entry_id, old = reply
        known, mission = _state(mission_id, state, content)
        made = [_entry(entry_id, write, mission_id, known, drafts, text, old)] if entry_id else []
        return Result(mission, outcome, bool(replayed)), made

    def append_log(
        self,
        write: Write,
        mission_id: str,
        entries: Sequence[NewEntry],
        drafts: Sequence[Draft],
        *,
        batch: bool,
    ) -> tuple[Result[float], list[OutboxEntry]]:
        """Append entries; the value is their moment in Unix seconds. Raises MissionNotFound, KeyReused.

        A batch of one is another request than its entry alone.
        """
        names = Keys(write.namespace)
        texts = [records.log_text(each) for each in entries]
        parts = [_json(drafts[first : first + ENTRY_EVENTS]) for first in range(0, len(drafts), ENTRY_EVENTS)]
        reply = self._write(
            "append_log",
            names,
            write,
            mission_id,
            request=[mission_id, "batch" if batch else "entry", *map(_fingerprint, entries)],
            also=[],
            args=[len(texts), *texts, *parts],
        )
        outcome, replayed, moment, sequence, *entry_ids = reply
        made = [
            OutboxEntry(entry_id, write.namespace, mission_id, int(moment), int(sequence), "", text)
            for entry_id, text in zip(entry_ids, parts, strict=False)  # a replay made none
        ]
        return Result(records.seconds(moment), outcome, bool(replayed)), made

    def _write(
        self,
        script: str,
        names: Keys,
        write: Write,
        mission_id: str,
        *,
        request: list[str],
        also: list[str],
        args: list[str | int],
    ) -> list[Any]:
        """Run a writing script with what they all have (write.lua). Raises KeyReused, MissionNotFound, BrokenRecord."""
        log_context.append_keys(mission_id=mission_id)
        fingerprint = hashlib.blake2b("\0".join((script, *request)).encode(), digest_size=12).hexdigest()
        reply: list[Any] = self._connection.script(
            script,
            [
                names.mission(mission_id),
                names.log(mission_id),
                keys.outbox(names.partition),
                names.token(f"attempt:{write.attempt}" if write.key is None else f"key:{write.key}"),
                *also,
            ],
            fingerprint,
            write.attempt if write.key else "",  # it is the name of the token otherwise
            ATTEMPT_LIFE if write.key is None else self._key_life,
            write.namespace,
            mission_id,
            *args,
        )
        _refuse(reply, mission_id)
        return reply

    # Reads

    def get_mission(self, namespace: str, mission_id: str) -> Mission:
        """The mission. Raises MissionNotFound, BrokenRecord."""
        record = self._connection.command("GET", Keys(namespace).mission(mission_id))
        if record is None:
            raise MissionNotFound(mission_id)
        return records.mission(mission_id, record)

    def list_missions(self, namespace: str, query: MissionQuery) -> MissionPage:
        """A page of missions. Raises InvalidRequest for a cursor that this listing did not give."""
        names = Keys(namespace)
        # ':' comes behind all digits
        low = "" if query.created_after is None else records.moment(query.created_after, later=1)
        high = ":" if query.created_before is None else records.moment(query.created_before)
        if query.cursor:
            last = cursors.member(query.cursor, query.order)
            low, high = (low, min(high, last)) if query.order == "newest" else (max(low, last), high)
        statuses = query.status or list(MissionStatus)
        until = self._connection.until()
        members = self._connection.script(
            "list_missions", [names.index(each) for each in dict.fromkeys(statuses)],
            query.limit + 1, query.order, low, high, until=until,
        )  # fmt: skip
        shown = members[: query.limit]
        ids = [member[16:] for member in shown]
        wanted = [names.mission(each) for each in ids]
        found = self._connection.script("read_missions", wanted, until=until) if ids else []
        missions = [
            mission
            for member, record in zip(shown, found, strict=False)
            if (mission := _listed(member[16:], record))
            and mission.status in statuses  # its status may have changed since the index was read
            and records.moment(mission.created_at) == member[:16]  # of a mission that was lost an index may have more
        ]
        more = len(found) < len(members)
        return MissionPage(
            missions=missions, next_cursor=cursors.encode(query.order, shown[len(found) - 1]) if more else None
        )

    def get_log(self, namespace: str, mission_id: str, query: LogQuery) -> LogPage:
        """A page of a log. Raises MissionNotFound, InvalidRequest for a cursor that this listing did not give."""
        names = Keys(namespace)
        oldest = query.order == "oldest"
        start: int | str = 0 if oldest else ""
        if query.cursor:
            start = cursors.position(query.cursor, query.order)
        page = self._connection.script(
            "get_log", [names.mission(mission_id), names.log(mission_id)],
            start, query.limit, query.order, *query.level,
        )  # fmt: skip
        _refuse(page, mission_id)
        logged, gone, follow, *texts = page
        if gone:
            logger.error("Entries of a log are lost", mission_id=mission_id, lost=gone)
        more = follow < logged if oldest else follow > gone
        poll = follow if oldest else None if query.cursor else logged
        return LogPage(
            mission_id=mission_id,
            log=[entry for entry in map(_logged, texts) if entry],
            next_cursor=cursors.encode(query.order, follow) if more else None,
            poll_cursor=None if poll is None else cursors.encode("oldest", poll),
        )

    def get_stats(self, namespace: str) -> Stats:
        """The statistics: a recount always equals them."""
        names = Keys(namespace)
        pairs, buckets = self._connection.script("get_stats", [names.stats, names.durations])
        counts = dict(zip(pairs[::2], pairs[1::2], strict=True))
        by_status = {status: int(counts.get(status, 0)) for status in MissionStatus}
        completed, failed = by_status[MissionStatus.COMPLETED], by_status[MissionStatus.FAILED]
        return Stats(
            total=sum(by_status.values()),
            by_status=by_status,
            success_rate=completed / (completed + failed) if completed + failed else None,
            duration=durations.summary(dict(zip(buckets[::2], map(int, buckets[1::2]), strict=True))),
            last_updated=records.seconds(counts["last_updated"]) if "last_updated" in counts else None,
        )

    def check_health(self, namespace: str) -> None:
        """Ask the namespace's own partition."""
        self._connection.command("EXISTS", Keys(namespace).stats)


def _refuse(reply: Sequence[Any], mission_id: str) -> None:
    match reply:
        case ["reused"]:
            raise KeyReused
        case ["missing"]:
            raise MissionNotFound(mission_id)
        case ["broken"]:
            raise BrokenRecord(mission_id)


def _state(mission_id: str, state: str, content: str) -> tuple[Mapping[str, str], Mission]:
    """Facts and mission from what a script replies."""
    try:
        line, reason = state.split("\n", 1)
        known = records.facts(line)
        return known, records.mission_of(mission_id, known, reason, content)
    except BROKEN as error:
        raise BrokenRecord(mission_id) from error


def _entry(
    entry_id: str,
    write: Write,
    mission_id: str,
    known: Mapping[str, str],
    drafts: Sequence[Draft],
    text: str,
    old_status: str = "",
) -> OutboxEntry:
    """The outbox entry of a write after which these facts are known."""
    first = int(known["sequence"]) - len(drafts) + 1
    return OutboxEntry(entry_id, write.namespace, mission_id, int(known["active"]), first, old_status, text)


def _fingerprint(entry: NewEntry) -> str:
    """The same for the same entry, in any order of the members of its data."""
    return "\0".join((entry.level, entry.message, compact_json(entry.data) if entry.data else ""))


def _json(drafts: Sequence[Draft]) -> str:
    return to_json(drafts).decode() if drafts else ""


def _listed(mission_id: str, record: str | None) -> Mission | None:
    """A mission that an index names. What is missing or broken must not make its page unusable."""
    try:
        if record is not None:
            return records.mission(mission_id, record)
        logger.error("A mission that an index names is missing", mission_id=mission_id)
    except BrokenRecord:
        logger.exception("A mission is left out of a list")
    return None


def _logged(record: str) -> LogEntry | None:
    try:
        return records.log_entry(record)
    except records.BrokenLogEntry:
        logger.exception("An entry is left out of a log")
        return None
