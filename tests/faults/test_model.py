"""Random operations and faults against a model of the specification (hypothesis, stateful).

The model is the specification in its plainest words: a dict of missions. An acknowledged operation answers as the
model does, also between faults, and in the end every event arrived.
"""

import os
import signal
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from missions import service
from missions.domain.errors import (
    KeyReused,
    MissionExists,
    MissionNotFound,
    StaleVersion,
    StoreUnavailable,
    TransitionRefused,
)
from missions.domain.models import MissionCreate, MissionLogEntry, MissionStatus
from missions.domain.writes import DEFAULT, Result, Write
from missions.storage.keys import Keys

from local.doubles.eventbridge import StrictEventBridge
from tests.cluster import Cluster, cluster, wait_until
from tests.conftest import fresh_sandbox
from tests.faults.harness import OneServer, System, slot_of, start, walk_log, walk_missions

ids = st.sampled_from(["a", "b", "c"])
names = st.sampled_from(["one", "two"])
statuses = st.sampled_from(MissionStatus)
keys = st.sampled_from(["", "", "", "k1", "k2"])  # mostly without a key
versions = st.sampled_from([None, None, 1, 2, 3])
P, R, C, F, X = MissionStatus
TABLE = {(P, R), (R, C), (R, F), (P, X), (R, X), (C, X), (F, X)}


class Missions(RuleBasedStateMachine):
    """The service beside its model."""

    bus: StrictEventBridge
    system: System
    namespaces = dict.fromkeys("abc", DEFAULT)  # of each mission

    def empty(self) -> None:
        """Begin with a system that nobody used yet."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.empty()
        self.bus.fault = ""
        self.bus.events.clear()
        fresh_sandbox()
        self.faults = 0
        self.missions: dict[str, dict[str, Any]] = {}
        self.tokens: dict[tuple[str, str], tuple[Any, Any]] = {}  # namespace and key: what was asked and answered

    def _do(
        self, mission_id: str, key: str, asked: Any, expected: Callable[[], Any], act: Callable[[Write], Result[Any]]
    ) -> None:
        """Act as the model does, or as it did when the key was first used."""
        namespace = self.namespaces[mission_id]
        write = Write(namespace, key=key or None)
        token = namespace, key
        if token in self.tokens:
            first, answer = self.tokens[token]
            if first != asked:
                with pytest.raises(KeyReused):
                    act(write)
                return
            again = act(write)
            assert (again.value, again.replayed) == (answer, True)
            return
        try:
            answer = expected()
        except (MissionExists, MissionNotFound, StaleVersion, TransitionRefused) as error:
            with pytest.raises(type(error)):
                act(write)
            return
        result = act(write)
        shown = result.value
        assert not result.replayed
        assert {name: getattr(shown, name) for name in answer} == answer
        if key:
            self.tokens[token] = (asked, shown)

    @rule(mission_id=ids, name=names, key=keys)
    def create(self, mission_id: str, name: str, key: str) -> None:
        def expected() -> dict[str, Any]:
            mission = self.missions.setdefault(
                mission_id, {"name": name, "status": P, "version": 1, "log": ["Mission created"]}
            )
            if mission["name"] != name:
                raise MissionExists(mission_id)
            return {each: mission[each] for each in ("name", "status", "version")}

        payload = MissionCreate(id=mission_id, name=name)
        self._do(mission_id, key, payload, expected, lambda write: service.create_mission(payload, write))

    @rule(mission_id=ids, status=statuses, if_match=versions, key=keys)
    def change(self, mission_id: str, status: MissionStatus, if_match: int | None, key: str) -> None:
        def expected() -> dict[str, Any]:
            if mission_id not in self.missions:
                raise MissionNotFound(mission_id)
            mission = self.missions[mission_id]
            if if_match not in (None, mission["version"]):
                raise StaleVersion(mission["version"])
            if status != mission["status"]:
                if (mission["status"], status) not in TABLE:
                    raise TransitionRefused(mission["status"], status)
                mission["status"] = status
                mission["version"] += 1
                mission["log"].append("Mission status changed")
            return {each: mission[each] for each in ("name", "status", "version")}

        def act(write: Write) -> Result[Any]:
            chosen = None if if_match is None else {if_match}
            return service.update_status(mission_id, status, write=replace(write, versions=chosen))

        self._do(mission_id, key, (mission_id, status), expected, act)  # If-Match is no part of what is asked

    @rule(mission_id=ids, message=names, key=keys)
    def log(self, mission_id: str, message: str, key: str) -> None:
        def expected() -> dict[str, Any]:
            if mission_id not in self.missions:
                raise MissionNotFound(mission_id)
            self.missions[mission_id]["log"].append(message)
            return {"message": message}

        entry = MissionLogEntry(message=message)
        self._do(
            mission_id, key, (mission_id, message), expected, lambda w: service.append_log_entry(mission_id, entry, w)
        )

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

    @invariant()
    def what_is_shown_is_the_model(self) -> None:
        if not hasattr(self, "missions"):
            return
        listed = [mission for name in set(self.namespaces.values()) for mission in walk_missions(name)]
        shown = {mission.id: (mission.name, mission.status, mission.version) for mission in listed}
        assert shown == {i: (m["name"], m["status"], m["version"]) for i, m in self.missions.items()}
        for mission_id, mission in self.missions.items():
            assert walk_log(mission_id, self.namespaces[mission_id]) == mission["log"]

    def teardown(self) -> None:
        if hasattr(self, "missions"):
            self.bus.fault = ""
            self.system.account()
            assert self.system.figures.events >= sum(len(m["log"]) + m["version"] for m in self.missions.values())


class OnOneServer(Missions):
    """On one server, which is killed and restarted."""

    server: Any
    data: Path

    def empty(self) -> None:
        self.system = OneServer(self.bus, server=self.server, data=self.data)
        self.system.redis.flushall()

    @rule()
    def scripts_are_flushed(self) -> None:
        self.system.redis.script_flush()

    @precondition(lambda self: self.faults < 1)  # a restart costs half a second
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
                if mission_id in self.missions:  # of whose keys some have moved and some have not
                    shown = service.get_mission(mission_id, self.namespaces[mission_id])
                    assert shown.status == self.missions[mission_id]["status"]

    @precondition(lambda self: self.faults < 1)  # it costs three seconds
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
