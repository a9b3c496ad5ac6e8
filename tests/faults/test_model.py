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
from typing import Any

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
from missions.domain.writes import Result, Write

from local.doubles.eventbridge import StrictEventBridge
from tests.conftest import fresh_sandbox
from tests.faults.harness import System, start, walk_log, walk_missions

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
    server: Any
    data: Path

    @initialize()
    def begin(self) -> None:
        self.system = System(self.server, self.bus, self.data)
        self.system.redis.flushall()
        self.bus.fault = ""
        self.bus.events.clear()
        fresh_sandbox()
        self.restarts = 0
        self.missions: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, tuple[Any, Any]] = {}  # key: what was asked, what was answered

    def _do(self, key: str, asked: Any, expected: Callable[[], Any], act: Callable[[Write], Result[Any]]) -> None:
        """Act as the model does, or as it did when the key was first used."""
        write = Write(key=key or None)
        if key in self.tokens:
            first, answer = self.tokens[key]
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
            self.tokens[key] = (asked, shown)

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
        self._do(key, payload, expected, lambda write: service.create_mission(payload, write))

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

        self._do(key, (mission_id, status), expected, act)  # If-Match is no part of what is asked

    @rule(mission_id=ids, message=names, key=keys)
    def log(self, mission_id: str, message: str, key: str) -> None:
        def expected() -> dict[str, Any]:
            if mission_id not in self.missions:
                raise MissionNotFound(mission_id)
            self.missions[mission_id]["log"].append(message)
            return {"message": message}

        entry = MissionLogEntry(message=message)
        self._do(key, (mission_id, message), expected, lambda w: service.append_log_entry(mission_id, entry, w))

    @rule(fault=st.sampled_from(["", "throttle", "error", "partial", "empty", "reset", "denied"]))
    def eventbridge_fails(self, fault: str) -> None:
        service.set_event_stream(None)  # ends a pause
        self.bus.fault = fault

    @rule()
    def scripts_are_flushed(self) -> None:
        self.system.redis.script_flush()

    @rule()
    def the_relay_runs(self) -> None:
        self.system.drain()

    @precondition(lambda self: self.restarts < 1)  # a restart costs half a second
    @rule()
    def valkey_is_killed_and_restarted(self) -> None:
        self.restarts += 1
        self.system.kill()
        with pytest.raises(StoreUnavailable):
            service.get_stats()
        self.system.restart()
        type(self).server = self.system.server

    @rule()
    def a_fresh_sandbox_takes_over(self) -> None:
        fresh_sandbox()

    @invariant()
    def what_is_shown_is_the_model(self) -> None:
        if not hasattr(self, "missions"):
            return
        shown = {mission.id: (mission.name, mission.status, mission.version) for mission in walk_missions()}
        assert shown == {i: (m["name"], m["status"], m["version"]) for i, m in self.missions.items()}
        for mission_id, mission in self.missions.items():
            assert walk_log(mission_id) == mission["log"]

    def teardown(self) -> None:
        if hasattr(self, "missions"):
            self.bus.fault = ""
            self.system.account()
            assert self.system.figures.events >= sum(len(m["log"]) + m["version"] for m in self.missions.values())


def test_the_service_agrees_with_its_model(
    bus: StrictEventBridge, operations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = start(Path(folder))
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{server.port}")
        Missions.bus, Missions.server, Missions.data = bus, server, Path(folder)
        try:
            run_state_machine_as_test(
                Missions,
                settings=settings(
                    max_examples=operations // 15,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    database=None,
                    phases=(Phase.generate,) if operations < 1000 else tuple(Phase),  # to shrink takes minutes
                    derandomize=bool(os.environ.get("CI")),
                ),
            )
        finally:
            server = Missions.server
            server._process.send_signal(signal.SIGCONT)
            server.stop()
            fresh_sandbox()
