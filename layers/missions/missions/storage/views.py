"""What is shown of many missions: lists, statistics and their history.

A list is two round trips, the others are one. Every method raises StoreUnavailable when Redis does not answer.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from math import ceil

from missions.domain import cursors, durations
from missions.domain.errors import BrokenRecord, InvalidRequest, MissionRemoved
from missions.domain.fields import DAY
from missions.domain.models import (
    AllTime,
    FieldError,
    History,
    HistoryQuery,
    Mission,
    MissionPage,
    MissionQuery,
    MissionStatus,
    Stats,
    Step,
)
from missions.domain.writes import View
from missions.log import logger
from missions.storage import keys, records
from missions.storage.connection import Connection
from missions.storage.due import DueMissions
from missions.storage.keys import Keys

OVERDUE = {"deadline", "timeout", "heartbeat_timeout"}  # limits of a mission that is not finished
ENDS = ("COMPLETED", "FAILED", "CANCELLED")
STATISTICS = (*MissionStatus, *(f"ever {name}" for name in ENDS), "removed", "last_updated", "changed")
STEPS = {"hour": 3600, "day": DAY}  # seconds
HISTORY = 30 * DAY  # seconds that the history goes back


class Views:
    """The views of all namespaces."""

    def __init__(self, connection: Connection, due: DueMissions) -> None:
        self._connection = connection
        self._due = due

    def list_missions(self, namespace: str, query: MissionQuery, known: Collection[str] = ()) -> View[MissionPage]:
        """A page of missions, unless its version is `known`. Raises InvalidRequest for a cursor that is none."""
        if query.overdue:
            return View(self._overdue(namespace, query), "")
        names = Keys(namespace)
        order = "name" if query.name else query.order
        # ':' comes behind all digits
        low = "" if query.created_after is None else records.moment(query.created_after, later=1)
        high = ":" if query.created_before is None else records.moment(query.created_before)
        after = ""
        if query.cursor:
            after = cursors.member(query.cursor, order, records.name_fact(query.name) if query.name else "")
            if order == "newest":
                high = min(high, after)
            elif order == "oldest":
                low = max(low, after)
        statuses = set(query.status or MissionStatus)
        until = self._connection.until()
        changed, last, *members = self._connection.script(
            "list_missions",
            [names.stats, names.index],
            query.limit + 1,
            query.order,
            low,
            high,
            records.name_fact(query.name) if query.name else "",
            after if order == "name" else "",
            "".join(keys.letters(each) for each in MissionStatus if each in statuses),
            *query.tag,
            until=until,
        )
        if changed in known:
            return View(None, changed)
        shown = members[: query.limit]
        places = [member.rpartition("\0")[2] for member in shown]
        wanted = [names.mission(place[16:]) for place in places]
        found = self._connection.script("read_missions", wanted, until=until) if wanted else []
        missions = [
            mission
            for place, record in zip(places, found, strict=False)
            if (mission := _listed(place[16:], record, place[:16]))
            and mission.status in statuses  # its status may have changed since the index was read
        ]
        if len(found) < len(members):
            last = shown[len(found) - 1]
        return View(MissionPage(missions=missions, next_cursor=cursors.encode(order, last) if last else None), changed)

    def _overdue(self, namespace: str, query: MissionQuery) -> MissionPage:
        """The missions of which a limit has passed and that sweep_missions has not seen yet, the longest first."""
        found, last = self._due.page(
            namespace, query.limit, cursors.member(query.cursor, "overdue") if query.cursor else ""
        )
        missions = [
            mission
            for due, record in found
            if due.limit in OVERDUE and (mission := _listed(due.mission_id, record)) and _matches(mission, query)
        ]
        return MissionPage(missions=missions, next_cursor=cursors.encode("overdue", last) if last else None)

    def get_stats(self, namespace: str, known: Collection[str] = ()) -> View[Stats]:
        """The statistics, unless their version is `known`. A recount always equals them."""
        names = Keys(namespace)
        found, buckets = self._connection.script("get_stats", [names.stats, names.durations], *STATISTICS)
        counts = {name: value for name, value in zip(STATISTICS, found, strict=True) if value is not None}
        moments = [counts.get(name, "") for name in ("last_updated", "changed")]
        changed = "-".join(moments) if any(moments) else ""
        if changed in known:
            return View(None, changed)
        by_status = {status: int(counts.get(status, 0)) for status in MissionStatus}
        completed, failed = by_status[MissionStatus.COMPLETED], by_status[MissionStatus.FAILED]
        total = sum(by_status.values())
        ever = {name.lower(): int(counts.get(f"ever {name}", 0)) for name in ENDS}
        stats = Stats(
            total=total,
            by_status=by_status,
            all_time=AllTime(created=total + int(counts.get("removed", 0)), **ever),
            success_rate=completed / (completed + failed) if completed + failed else None,
            duration=durations.summary({name: int(count) for name, count in _pairs(buckets).items()}),
            last_updated=records.seconds(counts["last_updated"]) if "last_updated" in counts else None,
        )
        return View(stats, changed)

    def get_history(self, namespace: str, query: HistoryQuery) -> History:
        """Counts by hour or day. Raises InvalidRequest for a time of which nothing is kept."""
        names = Keys(namespace)
        now, *pairs = self._connection.script("get_history", [names.stats])
        step = STEPS[query.step]
        end = records.seconds(now) if query.end is None else min(query.end, records.seconds(now))
        begin = end - DAY if query.begin is None else query.begin
        kept = ceil((records.seconds(now) - HISTORY) / step) * step  # of a step before some hours are forgotten
        begin = max(begin, kept)
        if begin >= end:
            future = begin > records.seconds(now)
            words = (
                "is in the future" if future else "must be before 'to', which must be within the 30 days that are kept"
            )
            raise InvalidRequest.of(FieldError(place="query", pointer="/from", detail=words))
        first, last = int(begin // step) * step, ceil(end)
        counts: dict[int, Counter[str]] = {at: Counter() for at in range(first, last, step)}
        for field, count in _pairs(pairs).items():
            hour, _, what = field.partition(" ")
            at = int(hour) * 3600 // step * step if hour.isdecimal() else -1  # of a statistic
            if at in counts:
                counts[at][what.lower()] += int(count)
        steps = [
            Step(at=at, **{name.lower(): found[name.lower()] for name in ("created", *ENDS)})
            for at, found in counts.items()
        ]
        return History(step=query.step, history=steps)


def _pairs(flat: Sequence[str]) -> Mapping[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _matches(mission: Mission, query: MissionQuery) -> bool:
    return (
        mission.status in (query.status or MissionStatus)
        and set(query.tag) <= set(mission.tags)
        and (query.name is None or records.name_fact(mission.name).startswith(records.name_fact(query.name)))
        and (query.created_after is None or mission.created_at > query.created_after)
        and (query.created_before is None or mission.created_at < query.created_before)
    )


def _listed(mission_id: str, record: str | None, created: str = "") -> Mission | None:
    """A mission that an index names. What is missing or broken must not make its page unusable.

    With a moment only the one that was `created` then: of an id that was lost an index may have another one.
    """
    try:
        if record is not None:
            mission = records.mission(mission_id, record)
            return mission if f" created={created}" in record.partition("\n")[0] else None
        logger.error("A mission that an index names is missing", mission_id=mission_id)
    except MissionRemoved:
        pass  # since the index was read
    except BrokenRecord:
        logger.exception("A mission is left out of a list")
    return None
