"""Random operations and faults against a model of the specification (hypothesis, stateful).

The model is the specification in its plainest words: a dict of missions. An acknowledged operation answers as the
model does, also between faults, and in the end every event arrived.
"""

import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from missions import cancelling, service
from missions.domain.errors import (
    AlreadyRetried,
    KeyReused,
    MissionExists,
    MissionNotFound,
    MissionOpen,
    MissionRemoved,
    MissionsError,
    RetryRefused,
    StaleVersion,
    StoreUnavailable,
    TransitionRefused,
)
from missions.domain.models import (
    AllTime,
    Cancel,
    Claim,
    Heartbeat,
    Mission,
    MissionCreate,
    MissionFilter,
    MissionLogEntry,
    MissionQuery,
    MissionStatus,
)
from missions.domain.writes import DEFAULT, Result, Write
from missions.storage.keys import Keys

from local.doubles.eventbridge import StrictEventBridge
from tests.cluster import Cluster, cluster, wait_until
from tests.conftest import fresh_sandbox
from tests.faults.harness import (
    FINISHED,
    STEPS,
    Killed,
    OneServer,
    System,
    clock_is_set_back,
    killed_at,
    slot_of,
    start,
    sweep,
    time_passes,
    walk_log,
    walk_missions,
)

ids = st.sampled_from(["a", "b", "c"])
picks = st.integers(0, 9)  # of these, and of the next attempts that there are
names = st.sampled_from(["one", "two"])
statuses = st.sampled_from(MissionStatus)
keys = st.sampled_from(["", "", "", "k1", "k2"])  # mostly without a key
versions = st.sampled_from([None, None, None, None, 1, 2, 3])
tags = st.sampled_from([(), ("x",), ("y",), ("x", "y")])
P, R, C, F, X = MissionStatus
targets = st.sampled_from([R, F, C, R, F, P, X])  # those more often that lead further
TABLE = {(P, R), (R, C), (R, F), (P, X), (R, X), (C, X), (F, X)}
HOUR, DAY = 3600, 86400  # seconds; all limits of the model are less than a day
KINDS: list[Callable[[float], dict[str, Any]]] = [  # what is asked for besides a name, some time after a run began
    lambda began: {},
    lambda began: {"tags": ["x"], "retries": 1},
    lambda began: {"tags": ["x", "y"], "timeout": HOUR, "retries": 2},
    lambda began: {"tags": ["y"], "heartbeat_timeout": HOUR, "retries": 1, "backoff": HOUR},
    lambda began: {"deadline": began + 2 * HOUR, "retries": 1, "backoff": 60},
    lambda began: {"deadline": began + 2 * HOUR, "retries": 1, "backoff": 2 * HOUR},  # in vain: it would be too late
    lambda began: {"not_before": began + HOUR, "tags": ["y"]},
    lambda began: {"retention": HOUR, "timeout": HOUR},
]
kinds = st.integers(0, len(KINDS) - 1)


@dataclass
class Modelled:
    """A mission, or what is left of it. `passed` names the moments of it that are more than a day ago."""

    name: str
    given: dict[str, Any]
    attempt: int = 1
    retry_of: str | None = None
    waits: bool = False  # it may not be claimed yet
    ahead: bool = False  # the clock was set back since its last change
    version: int = 1
    status: MissionStatus = P
    log: list[str] = field(default_factory=lambda: ["Mission created"])
    next_attempt: str | None = None
    progress: float | None = None
    lease: int | None = None
    removed: bool = False
    deadline: bool = field(init=False)
    passed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.deadline = "deadline" in self.given

    @property
    def tags(self) -> list[str]:
        return list(self.given.get("tags", []))

    @property
    def limits(self) -> set[str]:
        """Those that have passed."""
        if self.removed:
            return set()
        if self.status in FINISHED:
            return {"retention"} if "retention" in self.given and "finished" in self.passed else set()
        limits = {"deadline"} if self.deadline and "deadline" in self.passed else set()
        if self.status == R:
            if "timeout" in self.given and "started" in self.passed:
                limits.add("timeout")
            if (self.lease or "heartbeat_timeout" in self.given) and "active" in self.passed:
                limits.add("heartbeat_timeout")
        return limits

    @property
    def is_retried(self) -> bool:
        """Whether it gets a next attempt when it becomes FAILED."""
        in_time = not self.deadline or ("deadline" not in self.passed and self.given["backoff"] < 2 * HOUR)
        return self.attempt <= self.given.get("retries", 0) and in_time

    def move(self, to: MissionStatus) -> None:
        if to in FINISHED and self.status not in FINISHED:
            self.passed.discard("finished")
        self.passed -= {"active", "started"} if to == R else {"active"}
        self.status = to
        self.version += 1
        self.log.append("Mission status changed")

    def age(self) -> None:
        """A day passes."""
        self.waits = self.ahead = False
        self.passed = {"deadline", "active", "started", "finished"}

    def shown(self) -> dict[str, Any]:
        members = ("name", "tags", "status", "version", "attempt", "retry_of", "next_attempt", "progress")
        return {member: getattr(self, member) for member in members}


class Missions(RuleBasedStateMachine):
    """The service beside its model."""

    bus: StrictEventBridge
    system: System
    namespaces: ClassVar = dict.fromkeys("abc", DEFAULT)  # of each mission

    def empty(self) -> None:
        """Begin with a system that nobody used yet."""
        raise NotImplementedError

    def client(self, namespace: str) -> redis.Redis:
        """The server that has this namespace."""
        raise NotImplementedError

    @initialize(
        first=st.lists(st.tuples(kinds, st.sampled_from([P, R, F])), min_size=3, max_size=3), hurt=st.integers(0, 2)
    )
    def begin(self, first: list[tuple[int, MissionStatus]], hurt: int) -> None:
        self.empty()
        self.bus.fault = ""
        self.bus.events.clear()
        fresh_sandbox()
        self.faults = 0
        self.hurt = hurt == 0  # in one of three runs, where that takes a while
        self.began = time.time()
        self.missions: dict[str, Modelled] = {}
        self.where = dict(self.namespaces)  # also of next attempts
        self.told: dict[str, list[list[str]]] = {}  # the tags of each event of a mission
        self.ever: dict[str, Counter[str]] = {each: Counter() for each in self.namespaces.values()}
        # By namespace and key: what was asked and answered, and the mission that must be there to answer again.
        self.tokens: dict[tuple[str, str], tuple[Any, Any, Modelled | None]] = {}
        # hypothesis leaves rules out in most runs, such as that of creating
        for mission_id, (kind, status) in zip("abc", first, strict=True):
            self._create(mission_id, "one", kind, "")
            for each in {P: [], R: [R], F: [R, F]}[status]:
                self._change(mission_id, each, None, "")

    def _pick(self, number: int) -> str:
        known = [*self.namespaces, *(each for each in self.missions if each not in self.namespaces)]
        return known[number % len(known)]

    def _known(self, mission_id: str) -> Modelled:
        if mission_id not in self.missions:
            raise MissionNotFound(mission_id)
        if self.missions[mission_id].removed:
            raise MissionRemoved(mission_id, 0)
        return self.missions[mission_id]

    def _enter(self, mission_id: str, mission: Modelled) -> None:
        self.missions[mission_id] = mission
        self.told.setdefault(mission_id, []).extend([mission.tags] * 2)
        self.ever[self.where[mission_id]]["created"] += 1

    def _move(self, mission_id: str, to: MissionStatus) -> None:
        mission = self.missions[mission_id]
        mission.move(to)
        self.told[mission_id] += [mission.tags] * 2
        if to in FINISHED:
            self.ever[self.where[mission_id]][to.lower()] += 1

    def _next(self, mission_id: str, next_id: str | None, *, waits: bool) -> None:
        """The service made a next attempt: this one."""
        mission = self.missions[mission_id]
        assert next_id is not None
        assert next_id not in self.missions
        mission.next_attempt = next_id
        self.where[next_id] = self.where[mission_id]
        made = Modelled(mission.name, mission.given, mission.attempt + 1, mission_id, waits, mission.ahead)
        made.deadline = mission.deadline and "deadline" not in mission.passed
        self._enter(next_id, made)

    def _failed(self, mission_id: str, next_id: str | None) -> None:
        mission = self.missions[mission_id]
        if mission.is_retried:
            self._next(mission_id, next_id, waits=bool(mission.given.get("backoff")))
        else:
            assert next_id is None

    def _do(
        self,
        namespace: str,
        key: str,
        asked: Any,
        expected: Callable[[], dict[str, Any]],
        act: Callable[[Write], Result[Any]],
        needs: str = "",
    ) -> Any:
        """Act as the model does, or as it did when the key was first used. Gives what a first run answered."""
        write = Write(namespace, key=key or None)
        token = namespace, key
        if token in self.tokens:
            first, answer, mission = self.tokens[token]
            if first != asked:
                with pytest.raises(KeyReused):
                    act(write)
            elif mission and mission.removed:
                self._again_after_a_removal(mission, answer, act, write)
            else:
                again = act(write)
                assert (again.value, again.replayed) == (answer, True)
            return None
        try:
            answer = expected()
        except MissionsError as error:
            with pytest.raises(type(error)):
                act(write)
            return None
        result = act(write)
        shown = result.value
        assert not result.replayed
        assert {name: getattr(shown, name) for name in answer} == answer
        if key:
            self.tokens[token] = (asked, shown, self.missions[needs] if needs else None)
        return shown

    def _again_after_a_removal(
        self, mission: Modelled, answer: Any, act: Callable[[Write], Result[Any]], write: Write
    ) -> None:
        """The first answer is not whole any more: the mission is gone, or its id has another one."""
        if mission not in self.missions.values():
            return
        with pytest.raises(MissionRemoved):
            act(write)

    @rule(mission_id=ids, name=names, kind=kinds, key=keys)
    def create(self, mission_id: str, name: str, kind: int, key: str) -> None:
        self._create(mission_id, name, kind, key)

    def _create(self, mission_id: str, name: str, kind: int, key: str) -> None:
        given = KINDS[kind](self.began)

        def expected() -> dict[str, Any]:
            before = self.missions.get(mission_id)
            if before is None or before.removed:
                ahead = before is not None and before.ahead
                version = before.version + 1 if before else 1
                waits = "not_before" in given
                self._enter(mission_id, Modelled(name, given, waits=waits, ahead=ahead, version=version))
            elif (before.name, before.given) != (name, given):
                raise MissionExists(mission_id)
            return self.missions[mission_id].shown()

        payload = MissionCreate(id=mission_id, name=name, **given)
        namespace = self.where[mission_id]
        self._do(namespace, key, payload, expected, lambda write: service.create_mission(payload, write))

    @rule(pick=picks, status=targets, if_match=versions, key=keys)
    def change(self, pick: int, status: MissionStatus, if_match: int | None, key: str) -> None:
        self._change(self._pick(pick), status, if_match, key)

    def _change(self, mission_id: str, status: MissionStatus, if_match: int | None, key: str) -> None:
        moved = False

        def expected() -> dict[str, Any]:
            nonlocal moved
            mission = self._known(mission_id)
            if if_match not in (None, mission.version):
                raise StaleVersion(mission.version)
            if status != mission.status:
                if (mission.status, status) not in TABLE:
                    raise TransitionRefused(mission.status, status)
                self._move(mission_id, status)
                moved = True
            return {name: value for name, value in mission.shown().items() if name != "next_attempt"}

        def act(write: Write) -> Result[Any]:
            chosen = None if if_match is None else {if_match}
            return service.update_status(mission_id, status, write=replace(write, versions=chosen))

        asked = (mission_id, status)  # If-Match is no part of what is asked
        shown = self._do(self.where[mission_id], key, asked, expected, act, needs=mission_id)
        if moved and status == F:
            self._failed(mission_id, shown.next_attempt)
        elif shown:
            assert shown.next_attempt == self.missions[mission_id].next_attempt

    @rule(pick=picks, message=names, key=keys)
    def log(self, pick: int, message: str, key: str) -> None:
        mission_id = self._pick(pick)

        def expected() -> dict[str, Any]:
            mission = self._known(mission_id)
            mission.log.append(message)
            mission.passed.discard("active")
            self.told[mission_id].append(mission.tags)
            return {"message": message}

        entry = MissionLogEntry(message=message)
        self._do(
            self.where[mission_id], key, (mission_id, message), expected,
            lambda write: service.append_log_entry(mission_id, entry, write),
        )  # fmt: skip

    @rule(pick=picks, tags=tags, lease=st.sampled_from([None, HOUR]), key=keys)
    def claim(self, pick: int, tags: tuple[str, ...], lease: int | None, key: str) -> None:
        namespace = self.where[self._pick(pick)]
        asked = Claim(tags=list(tags), lease=lease)
        token = self.tokens.get((namespace, key))
        if token:
            self._do(namespace, key, asked, dict, lambda write: service.claim_mission(asked, write))  # type: ignore[arg-type, return-value]
            return
        waiting = {
            mission_id
            for mission_id, mission in self.missions.items()
            if self.where[mission_id] == namespace
            and (mission.status, mission.removed, mission.waits, mission.limits) == (P, False, False, set())
            and set(tags) <= set(mission.tags)
        }
        taken = service.claim_mission(asked, Write(namespace, key=key or None))
        assert (taken is not None) == bool(waiting)
        if taken:
            assert not taken.replayed
            assert taken.value.id in waiting
            mission = self.missions[taken.value.id]
            self._move(taken.value.id, R)
            mission.lease = lease
            self._is_shown(taken.value)
            if key:
                self.tokens[namespace, key] = (asked, taken.value, mission)

    @rule(pick=picks, progress=st.sampled_from([None, 0.5, 1]))
    def heartbeat(self, pick: int, progress: float | None) -> None:
        mission_id = self._pick(pick)
        sign = Heartbeat(progress=progress)
        try:
            mission = self._known(mission_id)
        except MissionsError as error:
            with pytest.raises(type(error)):
                service.heartbeat(mission_id, sign, self.where[mission_id])
            return
        if mission.status == R:
            mission.passed.discard("active")
            mission.progress = mission.progress if progress is None else progress
        told = service.heartbeat(mission_id, sign, self.where[mission_id])
        assert (told.status, told.version) == (mission.status, mission.version)

    @rule(pick=picks, key=keys)
    def retry(self, pick: int, key: str) -> None:
        mission_id = self._pick(pick)

        def expected() -> dict[str, Any]:
            mission = self._known(mission_id)
            if mission.next_attempt:
                raise AlreadyRetried(mission.next_attempt)
            if mission.status not in (F, X):
                raise RetryRefused(mission.status)
            return {"status": P, "version": 1, "attempt": mission.attempt + 1, "retry_of": mission_id}

        shown = self._do(
            self.where[mission_id], key, ("retry", mission_id), expected,
            lambda write: service.retry_mission(mission_id, write), needs=mission_id,
        )  # fmt: skip
        if shown:
            self._next(mission_id, shown.id, waits=False)

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        mission_id = self._pick(pick)
        mission = self.missions.get(mission_id)
        error = MissionNotFound if not mission else MissionOpen if mission.status not in FINISHED else None
        if error:
            with pytest.raises(error):
                service.delete_mission(mission_id, self.where[mission_id])
            return
        assert mission
        service.delete_mission(mission_id, self.where[mission_id])
        mission.removed = True

    @rule(chosen=st.lists(picks, min_size=1, max_size=3), key=keys)
    def cancel_by_ids(self, chosen: list[int], key: str) -> None:
        asked = [self._pick(pick) for pick in chosen]
        self._cancel(self.where[asked[0]], key, Cancel(ids=asked), asked)

    @rule(pick=picks, tag=st.sampled_from("xy"), key=keys)
    def cancel_by_tag(self, pick: int, tag: str, key: str) -> None:
        namespace = self.where[self._pick(pick)]
        found = [
            mission_id
            for mission_id, mission in self.missions.items()
            if self.where[mission_id] == namespace and tag in mission.tags
            and mission.status in (P, R) and not mission.removed
        ]  # fmt: skip
        self._cancel(namespace, key, Cancel(filter=MissionFilter(tags=[tag])), found)

    def _cancel(self, namespace: str, key: str, asked: Cancel, chosen: list[str]) -> None:
        write = Write(namespace, key=key or None)
        if (namespace, key) in self.tokens:
            first, chosen, _ = self.tokens[namespace, key]
            if first != asked:
                with pytest.raises(KeyReused):
                    cancelling.cancel_missions(asked, write)
                return
        elif key and chosen:
            self.tokens[namespace, key] = (asked, chosen, None)
        results = cancelling.cancel_missions(asked, write).results
        self._cancelled(namespace, key, chosen, {each.id: each.outcome for each in results})

    def _cancelled(self, namespace: str, key: str, asked: list[str], outcomes: dict[str, str]) -> None:
        """Each of those that were asked for was cancelled by itself, with a token made of the key and its id."""
        assert outcomes.keys() == set(asked)
        for mission_id, outcome in outcomes.items():
            mission = self.missions.get(mission_id)
            token = namespace, f"{key}/{mission_id}"
            if not mission or mission.removed or self.where[mission_id] != namespace:
                assert outcome == "refused"
                continue
            if token in self.tokens:
                assert outcome == self.tokens[token][1]
                continue
            assert outcome == ("unchanged" if mission.status == X else "cancelled")
            if mission.status != X:
                self._move(mission_id, X)
            if key:
                self.tokens[token] = (None, outcome, None)

    @rule(pick=picks)
    def a_day_passes(self, pick: int) -> None:
        """For one mission."""
        mission_id = self._pick(pick)
        mission = self.missions.get(mission_id)
        if mission and not mission.removed:
            time_passes(self.client(self.where[mission_id]), mission_id, DAY, self.where[mission_id])
            mission.age()

    @rule(pick=picks)
    def the_clock_is_set_back(self, pick: int) -> None:
        """Since one mission's last change."""
        mission_id = self._pick(pick)
        mission = self.missions.get(mission_id)
        if mission and not mission.removed and not mission.ahead:
            # Once, and by less than any limit that is still to pass.
            clock_is_set_back(self.client(self.where[mission_id]), mission_id, HOUR // 2, self.where[mission_id])
            mission.ahead = "active" not in mission.passed

    @rule(late=st.sampled_from([[], [0], [1], [2], [0, 1, 2], [3, 4, 5]]), dies=st.sampled_from(["", "", "", *STEPS]))
    def the_sweeper_runs(self, late: list[int], dies: str) -> None:
        """A day later for some. Or it is killed at a step, and the next one finishes its work."""
        for pick in late:
            self.a_day_passes(pick)
        if dies:
            with suppress(Killed), killed_at(dies):
                sweep()
        report = sweep()
        done = Counter[str]()
        for mission_id, mission in list(self.missions.items()):
            if "retention" in mission.limits:
                mission.removed = True
                done["removed"] += 1
            elif limits := mission.limits:
                to = X if mission.status == P else F
                self._move(mission_id, to)
                shown = service.get_mission(mission_id, self.where[mission_id])
                assert str(shown.reason).split(":")[0] in limits
                if to == F:
                    self._failed(mission_id, shown.next_attempt)
                done[to] += 1
        assert report.left == report.unread == 0
        if not dies:
            assert (report.failed, report.cancelled, report.removed) == (done[F], done[X], done["removed"])

    @rule(
        pick=picks,
        tags=tags,
        of=st.sets(statuses),
        name=st.sampled_from([None, "O", "two"]),
        limit=st.sampled_from([1, 50]),
    )
    def lists_are_the_model(
        self, pick: int, tags: tuple[str, ...], of: set[MissionStatus], name: str | None, limit: int
    ) -> None:
        namespace = self.where[self._pick(pick)]
        query = MissionQuery(tag=list(tags), status=sorted(of), name=name, limit=limit)
        for overdue in (False, True):
            chosen = {
                mission_id
                for mission_id, mission in self.missions.items()
                if self.where[mission_id] == namespace
                and not mission.removed
                and set(tags) <= set(mission.tags)
                and mission.status in (of or MissionStatus)
                and mission.name.startswith((name or "").lower())
                and (not overdue or mission.limits - {"retention"})
            }
            found = [each.id for each in walk_missions(namespace, query.model_copy(update={"overdue": overdue}))]
            assert sorted(found) == sorted(chosen)

    @rule(fault=st.sampled_from(["", "throttle", "error", "partial", "empty", "reset", "denied"]))
    def eventbridge_fails(self, fault: str) -> None:
        service.set_event_stream(None)  # ends a pause
        self.bus.fault = fault

    @rule()
    def the_relay_runs(self) -> None:
        self.system.drain()

    @rule()
    def a_fresh_sandbox_takes_over(self) -> None:
        fresh_sandbox()

    def _is_shown(self, mission: Mission) -> None:
        expected = self.missions[mission.id].shown()
        assert {member: getattr(mission, member) for member in expected} == expected

    @invariant()
    def what_is_shown_is_the_model(self) -> None:
        if not hasattr(self, "missions"):
            return
        there = {mission_id for mission_id, mission in self.missions.items() if not mission.removed}
        for namespace, ever in self.ever.items():
            here = [mission_id for mission_id in there if self.where[mission_id] == namespace]
            listed = list(walk_missions(namespace))
            assert sorted(mission.id for mission in listed) == sorted(here)
            for mission in listed:
                self._is_shown(mission)
                assert walk_log(mission.id, namespace) == self.missions[mission.id].log
            stats = service.get_stats(namespace)
            recount = Counter(self.missions[mission_id].status for mission_id in here)
            assert stats.by_status == dict.fromkeys(MissionStatus, 0) | recount
            assert stats.all_time == AllTime(**{name: ever[name] for name in AllTime.model_fields})
        for mission_id in self.missions.keys() - there:
            with pytest.raises(MissionRemoved):
                service.get_mission(mission_id, self.where[mission_id])

    def teardown(self) -> None:
        if hasattr(self, "missions"):
            self.bus.fault = ""
            self.system.account()
            arrived: dict[str, dict[int, list[str]]] = {}
            for event in self.bus.events:
                events = arrived.setdefault(event["payload"]["mission_id"], {})
                events[event["meta"]["sequence"]] = event["meta"].get("tags", [])
            assert arrived == {mission_id: dict(enumerate(told, 1)) for mission_id, told in self.told.items()}


class OnOneServer(Missions):
    """On one server, which is killed and restarted."""

    system: OneServer
    server: Any
    data: Path

    def empty(self) -> None:
        self.system = OneServer(self.bus, server=self.server, data=self.data)
        self.system.redis.flushall()

    def client(self, namespace: str) -> redis.Redis:
        return self.system.redis

    @rule()
    def scripts_are_flushed(self) -> None:
        self.system.redis.script_flush()

    @precondition(lambda self: self.hurt and self.faults < 1)  # a restart costs half a second
    @rule()
    def valkey_is_killed_and_restarted(self) -> None:
        self.faults += 1
        self.system.kill()
        with pytest.raises(StoreUnavailable):
            service.get_stats()
        self.system.restart()
        OnOneServer.server = self.system.server


class OnACluster(Missions):
    """On three primaries, which fail over, pass on slots, and stall. Each mission is on one of them."""

    three: Cluster
    namespaces: ClassVar = {"a": "tenant-0", "b": "tenant-1", "c": "tenant-4"}

    def empty(self) -> None:
        for node in self.three.nodes:
            if node.is_primary:
                node.client.flushall()
        self.system = System(self.bus, sorted(self.namespaces.values()))

    def client(self, namespace: str) -> redis.Redis:
        return self.three.owner(Keys(namespace).stats).client

    @precondition(lambda self: self.faults < 3)
    @rule(shard=st.sampled_from(range(3)))
    def a_replica_takes_over(self, shard: int) -> None:
        self.faults += 1
        self.three.fail_over(shard)

    @precondition(lambda self: self.faults < 3)
    @rule(mission_id=ids, other=st.sampled_from([1, 2]), at_once=st.booleans())
    def a_slot_moves(self, mission_id: str, other: int, at_once: bool) -> None:
        self.faults += 1
        slot = slot_of(self.namespaces[mission_id])
        primaries = [node for node in self.three.nodes if node.is_primary]
        source = self.three.owner(Keys(self.namespaces[mission_id]).stats)
        target = primaries[(primaries.index(source) + other) % 3]
        if at_once:
            self.three.move_at_once(slot, source, target)
        else:
            for _ in self.three.move(slot, source, target):
                mission = self.missions.get(mission_id)
                if mission and not mission.removed:  # of whose keys some have moved and some have not
                    shown = service.get_mission(mission_id, self.namespaces[mission_id])
                    assert shown.status == mission.status

    @precondition(lambda self: self.hurt and self.faults < 1)  # it costs three seconds
    @rule(mission_id=ids)
    def a_node_stalls(self, mission_id: str) -> None:
        self.faults += 1
        node = self.three.owner(Keys(self.namespaces[mission_id]).stats)
        node.signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable):
                service.get_stats(self.namespaces[mission_id])
        finally:
            node.signal(signal.SIGCONT)
        wait_until(self.three.ready)


def agrees(machine: type[Missions], examples: int, *, shrink: bool) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=tuple(Phase) if shrink else (Phase.generate,),  # to shrink takes minutes
            derandomize=bool(os.environ.get("CI")),
        ),
    )


def test_the_service_agrees_with_its_model(
    bus: StrictEventBridge, operations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = start(Path(folder))
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{server.port}")
        OnOneServer.bus, OnOneServer.server, OnOneServer.data = bus, server, Path(folder)
        try:
            agrees(OnOneServer, operations // 15, shrink=operations >= 1000)
        finally:
            OnOneServer.server.stop()
            fresh_sandbox()


def test_the_service_agrees_with_its_model_on_a_cluster(
    bus: StrictEventBridge, operations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster(3, 1) as three:
        monkeypatch.setenv("REDIS_URL", three.url)
        OnACluster.bus, OnACluster.three = bus, three
        assert len({three.owner(Keys(each).stats).port for each in OnACluster.namespaces.values()}) == 3
        try:
            agrees(OnACluster, operations // 100, shrink=False)
        finally:
            fresh_sandbox()
