"""The store of missions: one typed method for each script that writes, and the reads of one mission.

Each is one round trip, a claim two. Every method raises StoreUnavailable when Redis does not answer.
"""

import hashlib
import random
from collections.abc import Sequence

from missions.domain import cursors, lifecycle
from missions.domain.errors import (
    AlreadyRetried,
    BrokenRecord,
    InvalidRequest,
    MissionExists,
    MissionNotFound,
    MissionOpen,
    MissionRemoved,
    MissionsError,
    RetryRefused,
    StoreUnavailable,
)
from missions.domain.events import BROKEN, Draft, OutboxEntry
from missions.domain.fields import DAY, compact_json
from missions.domain.models import (
    Claim,
    FieldError,
    Heartbeat,
    LogPage,
    LogQuery,
    Mission,
    MissionCreate,
    MissionStatus,
    SignOfLife,
)
from missions.domain.writes import Change, Found, Kept, NewEntry, NextAttempt, OneChange, Result, Write
from missions.log import log_context, logger
from missions.storage import keys, records, replies
from missions.storage.connection import Connection
from missions.storage.keys import Keys
from missions.storage.replies import Written

ATTEMPT_LIFE = 60  # seconds that a request without an Idempotency-Key is remembered
TOMBSTONE_LIFE = 30 * DAY  # seconds that is remembered what the last version of a removed mission was
ENTRY_EVENTS = 10  # events of an outbox entry, as many as one PutEvents takes
CANDIDATES = 64  # missions that a claim looks at: more than there are workers that claim at one moment
TRIED = 16  # of them, chosen at random, that it tries at once
CLAIM_ROUNDS = 5  # that it does so again, when others have taken all of those

Call = tuple[list[str], list[str | int]]  # KEYS and ARGV of a script


class Store:
    """The missions of all namespaces.

    `key_life` is how many seconds an Idempotency-Key is remembered, `keep` how many a finished mission is kept that
    does not say so itself; 0 is for ever.
    """

    def __init__(self, connection: Connection, key_life: int, keep: int) -> None:
        self._connection = connection
        self._key_life = key_life
        self._keep = keep

    # Writes. Each gives its result and the outbox entries that it made; without drafts it makes none.

    def create_mission(
        self, write: Write, mission_id: str, payload: MissionCreate, entry: NewEntry, drafts: Sequence[Draft]
    ) -> Written[Mission]:
        """Create a mission with its first log entry. Raises MissionExists, KeyReused, InvalidRequest."""
        names = Keys(write.namespace)
        content = records.content(payload)
        log_context.append_keys(mission_id=mission_id)
        own = [names.index, names.mission(mission_id), names.log(mission_id), keys.namespaces(names.partition)]
        if payload.not_before is not None or payload.deadline is not None:
            own += [names.queue, keys.due(names.partition)]
        first = self._attempt(write, "create_mission", payload.id or "", content)
        args = [mission_id, content, records.given_facts(payload), records.log_text(entry), records.drafts_text(drafts)]
        reply = self._connection.script("create_mission", self._token(names, write) + own, *first, *args)
        match reply:
            case ["conflict"]:
                raise MissionExists(mission_id)
            case ["past"]:
                raise InvalidRequest.of(FieldError(place="body", pointer="/deadline", detail="is in the past"))
        replies.refuse(reply, mission_id)
        outcome, replayed, mission_id, state, entry_id = reply
        log_context.append_keys(mission_id=mission_id)  # that of a replay is the first one's
        known, mission = replies.mission_in(mission_id, state, content)
        return Result(mission, outcome, bool(replayed)), replies.entries(entry_id, write, mission_id, known, drafts)

    def change_status(self, one: OneChange) -> Written[Mission]:
        """Change a status, with its log entry.

        Raises MissionNotFound, MissionRemoved, TransitionRefused, StaleVersion, KeyReused.
        """
        found, args = self._change(one)
        return replies.changed(self._connection.script("change_status", found, *args), one)

    def change_each(self, changes: Sequence[OneChange]) -> list[Written[Mission] | MissionsError | None]:
        """Change statuses, each by itself; gives what came of each. None: its limit has not passed."""
        done: list[Written[Mission] | MissionsError | None] = []
        came = self._connection.scripts("change_status", map(self._change, changes)) if changes else []
        for reply, one in zip(came, changes, strict=True):
            try:
                if reply is None:
                    raise StoreUnavailable
                done.append(None if reply == ["kept"] else replies.changed(reply, one))
            except MissionsError as error:
                done.append(error)
        return done

    def _change(self, one: OneChange) -> Call:
        """KEYS and ARGV of a change."""
        change, successor, names = one.change, one.successor, Keys(one.write.namespace)
        shared, first = self._shared(
            names, one.write, "change_status", one.mission_id, change.status, change.reason or ""
        )
        own = [names.mission(one.mission_id), names.log(one.mission_id), names.durations]
        sources = [each for each in lifecycle.sources(change.status) if one.sources is None or each in one.sources]
        args: list[str | int] = [
            one.mission_id,
            change.status,
            "*" if one.write.versions is None else f" {' '.join(map(str, one.write.versions))} ",
            compact_json(change.reason) if change.reason else "",
            records.log_text(change.entry),
            records.drafts_text(change.drafts),
            f" {' '.join(sources)} ",
            one.limit,
        ]
        if successor:
            own += [names.mission(successor.id), names.log(successor.id)]
            args += [successor.id, records.log_text(successor.entry), records.drafts_text(successor.drafts)]
        return shared + own, first + args

    def claim_mission(self, write: Write, claim: Claim, change: Change) -> Written[Mission] | None:
        """Take one of the PENDING missions that have waited longest, with all tags; None when there is none.

        Raises KeyReused. Two round trips; more only when others take all that it tries, and then at most ten.
        """
        names = Keys(write.namespace)
        lease = claim.lease or ""
        shared, first = self._shared(names, write, "claim_mission", *claim.tags, str(lease), claim.worker or "")
        until = self._connection.until()
        worker = records.text_fact(claim.worker) if claim.worker else ""
        text = records.drafts_text(change.drafts)
        for _ in range(CLAIM_ROUNDS):
            found = [names.queue, shared[1], names.index, keys.due(names.partition)]
            asked = [first[0], first[1], CANDIDATES, write.namespace, *claim.tags]
            reply = self._connection.script("find_candidates", found, *asked, until=until)
            if reply[0] == "found":
                places = reply[1:]
                if not places:
                    return None
                # SystemRandom, since SnapStart clones the state of random: all workers would try the same ones
                tried = random.SystemRandom().sample(places, min(TRIED, len(places)))
                own = [key(place[16:]) for place in tried for key in (names.mission, names.log)]
                args = [worker, lease, records.log_text(change.entry), text, ",".join(claim.tags), *tried]
                reply = self._connection.script("claim_mission", shared + own, *first, *args, until=until)
            if reply[0] != "none":
                break
        else:
            return None
        replies.refuse(reply, "of a claim")
        _, replayed, mission_id, state, *more = reply
        log_context.append_keys(mission_id=mission_id)
        # An answer that is given again has no content: the first one came with that of the mission.
        content, entry_id = more or (self._content(names, mission_id, state), "")
        known, mission = replies.mission_in(mission_id, state, content)
        made = replies.entries(entry_id, write, mission_id, known, change.drafts, "PENDING")
        return Result(mission, "claimed", bool(replayed)), made

    def retry_mission(self, write: Write, mission_id: str, successor: NextAttempt) -> Written[Mission]:
        """Make the next attempt of a mission; gives that one.

        Raises MissionNotFound, MissionRemoved, RetryRefused, AlreadyRetried, KeyReused.
        """
        names = Keys(write.namespace)
        shared, first = self._shared(names, write, "retry_mission", mission_id)
        own = [names.mission(mission_id), names.mission(successor.id), names.log(successor.id)]
        args = [mission_id, successor.id, records.log_text(successor.entry), records.drafts_text(successor.drafts)]
        reply = self._connection.script("retry_mission", shared + own, *first, *args)
        match reply:
            case ["already", next_attempt]:
                raise AlreadyRetried(next_attempt)
            case ["refused", current] if current in set(MissionStatus):
                raise RetryRefused(MissionStatus(current))
            case ["refused", _]:
                raise BrokenRecord(mission_id)
        replies.refuse(reply, mission_id)
        _, replayed, made_id, state, content, entry_id = reply
        log_context.append_keys(mission_id=made_id)
        known, mission = replies.mission_in(made_id, state, content)
        made = replies.next_entries(entry_id, write, successor, known, content)
        return Result(mission, "retried", bool(replayed)), made

    def append_log(
        self,
        write: Write,
        mission_id: str,
        entries: Sequence[NewEntry],
        drafts: Sequence[Draft],
        *,
        batch: bool,
    ) -> Written[float]:
        """Append entries; the value is their moment in Unix seconds. Raises MissionNotFound, MissionRemoved, KeyReused.

        A batch of one is another request than its entry alone.
        """
        names = Keys(write.namespace)
        texts = [records.log_text(each) for each in entries]
        parts = [
            records.drafts_text(drafts[first : first + ENTRY_EVENTS]) for first in range(0, len(drafts), ENTRY_EVENTS)
        ]
        told = map(_fingerprint, entries) if write.key else texts  # an attempt has one text, in one order
        request = [mission_id, "batch" if batch else "entry", *told]
        reply = self._connection.script(
            "append_log",
            [*self._token(names, write), names.mission(mission_id), names.log(mission_id)],
            *self._attempt(write, "append_log", *request),
            mission_id,
            len(texts),
            *texts,
            *parts,
        )
        replies.refuse(reply, mission_id)
        outcome, replayed, moment, sequence, tags, *entry_ids = reply
        tagged = tags.split(",") if tags else []
        made = [
            OutboxEntry(entry_id, write.namespace, mission_id, int(moment), int(sequence), "", text, tags=tagged)
            for entry_id, text in zip(entry_ids, parts, strict=False)  # a replay made none
        ]
        return Result(records.seconds(moment), outcome, bool(replayed)), made

    def heartbeat(self, namespace: str, mission_id: str, sign: Heartbeat) -> SignOfLife:
        """Take a sign of life, if the mission is RUNNING. Raises MissionNotFound, MissionRemoved."""
        names = Keys(namespace)
        progress = "" if sign.progress is None else repr(sign.progress + 0.0)  # + 0: no minus zero
        note = records.text_fact(sign.note) if sign.note else ""
        reply = self._connection.script("heartbeat", [names.mission(mission_id), names.stats], progress, note)
        replies.refuse(reply, mission_id)
        try:
            return records.sign_of_life(mission_id, *reply)
        except BROKEN as error:
            raise BrokenRecord(mission_id) from error

    def remove_mission(self, namespace: str, mission_id: str) -> None:
        """Remove a finished mission; one that was removed stays so. Raises MissionNotFound, MissionOpen."""
        found, args = self._removal(namespace, mission_id)
        reply = self._connection.script("remove_mission", found, *args)
        match reply:
            case ["open", current] if current in set(MissionStatus):
                raise MissionOpen(MissionStatus(current))
            case ["done" | "removed", _]:
                return
        replies.refuse(reply, mission_id)

    def remove_each(self, kept: Sequence[Kept]) -> int:
        """Remove those of which the retention has passed, each by itself; gives how many were removed."""
        calls = [
            self._removal(
                each.namespace,
                each.mission_id,
                "retention",
                "" if each.active_at is None else records.moment(each.active_at),
            )
            for each in kept
        ]
        came = self._connection.scripts("remove_mission", calls) if calls else []
        return sum(bool(reply) and reply[0] == "done" for reply in came)

    def _removal(self, namespace: str, mission_id: str, limit: str = "", active: str = "") -> Call:
        """KEYS and ARGV of a removal."""
        names = Keys(namespace)
        shared, first = self._shared(names, Write(namespace), "remove_mission")
        own = [names.mission(mission_id), names.log(mission_id), names.durations]
        return shared + own, [*first, mission_id, limit, active, TOMBSTONE_LIFE]

    def recorded(self, write: Write, request: str, found: Found | None = None) -> Found | None:
        """What a request is about: what its first run recorded, or this, which is recorded now. Raises KeyReused."""
        reply = self._connection.script(
            "record_ids",
            self._token(Keys(write.namespace), write),
            *self._attempt(write, "record_ids", request),
            *([found.cursor or "-", *found.ids] if found and found.ids else []),
        )
        replies.refuse(reply, "of many")
        if reply == ["none"]:
            return found
        cursor, *ids = reply[1:]
        return Found(ids, None if cursor == "-" else cursor)

    def _token(self, names: Keys, write: Write) -> list[str]:
        """What every writing script is given first (write.lua): the outbox, the write's token and the statistics."""
        token = names.token(f"attempt:{write.attempt}" if write.key is None else f"key:{write.key}")
        return [keys.outbox(names.partition), token, names.stats]

    def _attempt(self, write: Write, script: str, *request: str) -> list[str | int]:
        """Its first arguments: fingerprint, attempt, life of the token, namespace."""
        fingerprint = hashlib.blake2b("\0".join((script, *request)).encode(), digest_size=12).hexdigest()
        if write.key is None:  # the token is named after the attempt
            return [fingerprint, "", ATTEMPT_LIFE, write.namespace]
        return [fingerprint, write.attempt, self._key_life, write.namespace]

    def _shared(self, names: Keys, write: Write, script: str, *request: str) -> Call:
        """What a script is given first that moves a mission (enter.lua, move.lua)."""
        return self._token(names, write) + names.found(), [*self._attempt(write, script, *request), self._keep]

    # Reads

    def get_mission(self, namespace: str, mission_id: str) -> Mission:
        """The mission. Raises MissionNotFound, MissionRemoved, BrokenRecord."""
        record = self._connection.command("GET", Keys(namespace).mission(mission_id))
        if record is None:
            raise MissionNotFound(mission_id)
        return records.mission(mission_id, record)

    def _content(self, names: Keys, mission_id: str, state: str) -> str:
        """What the caller sent of a mission that was once in this state.

        Raises MissionNotFound, MissionRemoved, also when its id has another mission now, and BrokenRecord.
        """
        record = self._connection.command("GET", names.mission(mission_id))
        if record is None:
            raise MissionNotFound(mission_id)
        now = records.mission(mission_id, record)
        if f" created={records.moment(now.created_at)} " not in state:
            raise MissionRemoved(mission_id, now.created_at)
        return str(record).split("\n", 2)[2]

    def get_log(self, namespace: str, mission_id: str, query: LogQuery) -> LogPage:
        """A page of a log. Raises MissionNotFound, MissionRemoved, InvalidRequest for a cursor that is none."""
        names = Keys(namespace)
        oldest = query.order == "oldest"
        start: int | str = 0 if oldest else ""
        if query.cursor:
            start = cursors.position(query.cursor, query.order)
        page = self._connection.script(
            "get_log", [names.mission(mission_id), names.log(mission_id)],
            start, query.limit, query.order, *query.level,
        )  # fmt: skip
        replies.refuse(page, mission_id)
        logged, gone, follow, *texts = page
        if gone:
            logger.error("Entries of a log are lost", mission_id=mission_id, lost=gone)
        more = follow < logged if oldest else follow > gone
        poll = follow if oldest else None if query.cursor else logged
        return LogPage(
            mission_id=mission_id,
            log=[entry for entry in map(replies.logged, texts) if entry],
            next_cursor=cursors.encode(query.order, follow) if more else None,
            poll_cursor=None if poll is None else cursors.encode("oldest", poll),
        )

    def check_health(self, namespace: str) -> None:
        """Ask the namespace's own partition."""
        self._connection.command("EXISTS", Keys(namespace).stats)


def _fingerprint(entry: NewEntry) -> str:
    """The same for the same entry, in any order of the members of its data."""
    return "\0".join((entry.level, entry.message, compact_json(entry.data) if entry.data else ""))
