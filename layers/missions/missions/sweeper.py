"""The sweeper: it ends missions of which a limit has passed, and removes those that were kept long enough.

A mission that is RUNNING and silent, too slow or too late becomes FAILED, and one that waits past its deadline becomes
CANCELLED, by the ordinary transition: with its log entry, its event, and a reason that says which limit it was. Each
script looks at the limit again, so a worker who is first wins, and two sweepers do no harm.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from missions import runtime, service
from missions.domain.errors import MissionsError, TransitionRefused
from missions.domain.events import OutboxEntry
from missions.domain.models import MissionStatus
from missions.domain.writes import Kept, OneChange, Write
from missions.log import logger
from missions.publishing import relay
from missions.publishing.emitter import EventStream
from missions.runtime import Runtime
from missions.storage.due import PAGE, Due, Filed
from missions.storage.keys import partition_of
from missions.storage.store import Store

TOGETHER = 1000  # missions that are dealt with in one turn
ACTOR = "sweep_missions"
REASONS = {  # by the limit that has passed
    "deadline": "deadline: its time was up",
    "timeout": "timeout: it ran longer than it may",
    "heartbeat_timeout": "heartbeat_timeout: it showed no sign of life",
}


@dataclass
class Report:
    """What a run did, in missions. `oldest` is how long the first one was due, in milliseconds.

    `unread` counts partitions that did not answer, `left` what could not be done now.
    """

    failed: int = 0
    cancelled: int = 0
    removed: int = 0
    oldest: int = 0
    unread: int = 0
    left: int = 0
    ended: str = "all that was due was looked at"


def sweep(
    report: Report, connect: Callable[[], EventStream | None], more_time: Callable[[], bool] = lambda: True
) -> None:
    """Deal with all missions that are due, until `more_time` says no: first with those that must end.

    Their events are published to what `connect` gives, or by the relay. Raises StoreUnavailable when no partition
    answers.
    """
    here, now = runtime.current, time.time()
    filed, report.unread = here.due.filed(now)
    if not filed:
        return
    report.oldest = max(round((now - first.since) * 1000) for first, *_ in filed.values())
    stream = connect()
    with ExitStack() as stack:
        run = stream and stack.enter_context(relay.Run(here.outbox, stream, relay.Report(), more_time))

        def end(due: Sequence[Due]) -> bool:
            made = _end(here.store, [each for each in due if each.limit in REASONS], report)
            if run and made and run.goes_on():
                run.publish([(partition_of(entry.namespace), entry) for entry in made])
            return True

        def remove(due: Sequence[Due]) -> bool:
            return _remove(here, [each for each in due if each.limit == "retention"], report, more_time)

        partitions = dict.fromkeys(filed, 0)
        report.left = _each(filed, now, end, report, more_time)
        if report.left:
            filed, _ = here.due.filed(now, partitions)
            report.left = _each(filed, now, remove, report, more_time)


def _each(
    filed: dict[int, list[Filed]],
    now: float,
    deal: Callable[[Sequence[Due]], bool],
    report: Report,
    more_time: Callable[[], bool],
) -> int:
    """Deal with what is filed, and with what is filed behind it, until this says no; gives how many are left."""
    due, passed = runtime.current.due, dict.fromkeys(filed, 0)  # how many of a partition are passed over
    goes_on = True
    while filed and goes_on:
        if not more_time():
            report.ended = "the time is up"
            break
        part = _part(filed)
        found = due.look(part)
        for each in found:
            if each.limit == "broken":
                logger.error("A mission that is due cannot be read; it is no longer due", mission_id=each.mission_id)
        goes_on = deal(found)
        again, _ = due.filed(now, {partition: passed[partition] for partition in part})
        for partition, members in part.items():
            left = again.get(partition, [])
            passed_over = {_named(each) for each in members} & {_named(each) for each in left}
            passed[partition] += len(passed_over)
            filed[partition] = [each for each in left if _named(each) not in passed_over]
            if not filed[partition] and len(left) < PAGE:
                del filed[partition]
    return sum(passed.values()) + sum(map(len, filed.values()))


def _named(each: Filed) -> tuple[str, str]:
    return each.namespace, each.mission_id


def _part(filed: Mapping[int, list[Filed]]) -> dict[int, list[Filed]]:
    """What is dealt with in one turn."""
    part: dict[int, list[Filed]] = {}
    room = TOGETHER
    for partition, members in filed.items():
        part[partition] = members[:room]
        room -= len(part[partition])
        if room <= 0:
            break
    return part


def _end(store: Store, due: Sequence[Due], report: Report) -> list[OutboxEntry]:
    """Let these missions become what they must; gives the outbox entries of that."""
    changes = []
    for each in due:
        write = Write(each.namespace, actor=ACTOR)
        source = MissionStatus(each.status)
        status = MissionStatus.CANCELLED if source == MissionStatus.PENDING else MissionStatus.FAILED
        successor = service.next_attempt(write) if status == MissionStatus.FAILED else None
        change = service.change(status, REASONS[each.limit], write)
        changes.append(OneChange(write, each.mission_id, change, successor, each.limit, [source]))
    made: list[OutboxEntry] = []
    for came in store.change_each(changes):
        if isinstance(came, MissionsError) and not isinstance(came, TransitionRefused):  # a worker was first
            logger.error("A mission that is due was not ended", error=came.detail)
        elif came and not isinstance(came, MissionsError):
            result, entries = came
            made += entries
            report.failed += result.value.status == MissionStatus.FAILED
            report.cancelled += result.value.status == MissionStatus.CANCELLED
    return made


def _remove(here: Runtime, due: Sequence[Due], report: Report, more_time: Callable[[], bool]) -> bool:
    """Remove these missions. Where there is an archive, what is not written to it stays; says no when that fails."""
    if here.archive:
        written, goes_on = here.archive.write(here.store, due, more_time)
        report.removed += here.store.remove_each(written)
        return goes_on
    report.removed += here.store.remove_each([Kept(each.namespace, each.mission_id) for each in due])
    return True
