"""The sweeper and workers under faults: each mission is taken once and ended once, with its events."""

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from missions import runtime, service, sweeper
from missions.domain.errors import MissionsError, StoreUnavailable, TransitionRefused
from missions.domain.models import Claim, MissionCreate, MissionLogEntry, MissionStatus
from missions.domain.writes import Write
from missions.storage import scripts
from missions.storage.connection import Connection, connect
from missions.storage.due import DueMissions

from tests.conftest import fresh_sandbox, invoke
from tests.faults.harness import STEPS, Killed, OneServer, System, killed_at, sweep, time_passes, walk_missions

pytestmark = pytest.mark.usefixtures("a_connection_for_each_thread")
HOUR = 3600
RUNNING, COMPLETED, FAILED, CANCELLED = (
    MissionStatus.RUNNING,
    MissionStatus.COMPLETED,
    MissionStatus.FAILED,
    MissionStatus.CANCELLED,
)


def create(system: System, mission_id: str, **given: Any) -> str:
    """A mission of which the account is taken in the end."""
    service.create_mission(MissionCreate(id=mission_id, name=mission_id, **given))
    system.missions.add(mission_id)
    return mission_id


def overdue(system: OneServer, number: int, **given: Any) -> list[str]:
    """So many missions that are RUNNING and silent for an hour."""
    made = [create(system, f"late-{each}", heartbeat_timeout=60, **given) for each in range(number)]
    for mission_id in made:
        service.update_status(mission_id, RUNNING)
        time_passes(system.redis, mission_id, HOUR)
    return made


def of_each_kind(system: OneServer) -> None:
    """Four missions that fail, of which two are tried again; two that are cancelled; two that are removed."""
    overdue(system, 2, retries=1)
    for each in range(2):
        service.update_status(create(system, f"slow-{each}", timeout=60), RUNNING)
        create(system, f"waits-{each}", deadline=time.time() + 60)
        service.update_status(create(system, f"done-{each}", retention=60), CANCELLED)
        for kind in ("slow", "waits", "done"):
            time_passes(system.redis, f"{kind}-{each}", HOUR)


def statuses() -> dict[str, str]:
    return {mission.id: str(mission.status) for mission in walk_missions() if mission.attempt == 1}


def ended_once(system: System) -> None:
    """Of the missions of each kind."""
    expected = {"late": "FAILED", "slow": "FAILED", "waits": "CANCELLED"}
    assert statuses() == {f"{kind}-{each}": status for kind, status in expected.items() for each in range(2)}
    assert sorted(str(mission.retry_of) for mission in walk_missions() if mission.attempt == 2) == ["late-0", "late-1"]
    stats = service.get_stats()
    assert (stats.all_time.failed, stats.all_time.cancelled, stats.all_time.created) == (4, 4, 10)
    system.account()


@pytest.mark.parametrize("step", STEPS)
def test_a_sweeper_is_killed_and_the_next_one_finishes_its_work(system: OneServer, step: str) -> None:
    of_each_kind(system)
    with pytest.raises(Killed), killed_at(step):
        sweep()
    report = sweep()
    assert (report.left, report.unread) == (0, 0)
    assert sweep() == sweeper.Report()  # nothing is due any more
    ended_once(system)


def test_sweepers_at_once_end_each_mission_once(system: OneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "TOGETHER", 10)
    late = overdue(system, 60, retries=1)
    kept = [create(system, f"kept-{each}", retention=60) for each in range(60)]
    for mission_id in kept:
        service.update_status(mission_id, CANCELLED)
        time_passes(system.redis, mission_id, HOUR)
    begin = threading.Barrier(4)

    def run(_: int) -> sweeper.Report:
        begin.wait()
        return sweep()

    with ThreadPoolExecutor(4) as threads:
        reports = list(threads.map(run, range(4)))
    assert sum(report.failed for report in reports) == len(late)
    assert sum(report.removed for report in reports) == len(kept)
    assert statuses() == dict.fromkeys(late, "FAILED")
    assert sorted(str(mission.retry_of) for mission in walk_missions() if mission.attempt == 2) == sorted(late)
    system.account()


def test_a_worker_that_completes_while_the_sweeper_runs_wins_or_is_told(
    system: OneServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many workers come back at once, and the sweeper goes through their missions meanwhile."""
    monkeypatch.setattr(sweeper, "TOGETHER", 5)
    late = overdue(system, 120, retries=1)
    begin = threading.Barrier(5)
    refused: list[TransitionRefused] = []

    def complete(part: int) -> int:
        begin.wait()
        won = 0
        for mission_id in late[part::4]:
            try:
                mission = service.update_status(mission_id, COMPLETED).value
                system.versions.add((mission_id, mission.version, "COMPLETED"))
                won += 1
            except TransitionRefused as error:
                refused.append(error)
        return won

    def run() -> sweeper.Report:
        begin.wait()
        return sweep()

    with ThreadPoolExecutor(5) as threads:
        swept = threads.submit(run)
        won = sum(threads.map(complete, range(4)))
    assert (won + swept.result().failed, swept.result().left) == (len(late), 0)
    assert len(refused) == len(late) - won
    assert all(error.extra["reason"].startswith("heartbeat_timeout") for error in refused)
    stats = service.get_stats()
    assert (stats.all_time.completed, stats.all_time.failed) == (won, len(late) - won)
    assert stats.all_time.created == len(late) + stats.all_time.failed
    system.account()


@pytest.mark.parametrize(
    "act",
    [
        lambda: service.update_status("late-0", COMPLETED),
        lambda: service.update_status("late-0", CANCELLED),
        lambda: service.heartbeat("late-0"),
        lambda: service.append_log_entry("late-0", MissionLogEntry(message="still here")),
    ],
    ids=["completes", "is cancelled", "shows a sign of life", "logs"],
)
def test_what_happens_between_looking_and_ending_comes_first(
    system: OneServer, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]
) -> None:
    overdue(system, 2)
    plain = DueMissions.look
    acts = iter([act])

    def look(due: DueMissions, filed: Any) -> Any:
        found = plain(due, filed)
        next(acts, lambda: None)()
        return found

    monkeypatch.setattr(DueMissions, "look", look)
    report = sweep()
    assert (report.failed, report.left) == (1, 0)
    assert statuses()["late-1"] == "FAILED"
    assert statuses()["late-0"] != "FAILED"
    system.account()


def test_a_finished_mission_that_is_written_to_after_the_sweeper_looked_is_removed_all_the_same(
    system: OneServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.update_status(create(system, "done", retention=60), CANCELLED)
    time_passes(system.redis, "done", HOUR)
    plain = DueMissions.look

    def look(due: DueMissions, filed: Any) -> Any:
        found = plain(due, filed)
        with suppress(MissionsError):
            service.append_log_entry("done", MissionLogEntry(message="late"))
        return found

    monkeypatch.setattr(DueMissions, "look", look)
    assert sweep().removed == 1
    system.account()  # its entry, too, has its event


def test_a_worker_that_was_frozen_for_an_hour_learns_that_its_mission_failed(system: OneServer) -> None:
    create(system, "a", retries=1)
    assert invoke("claim_mission", body={"lease": 60, "worker": "w"}).body["id"] == "a"
    time_passes(system.redis, "a", HOUR)
    assert sweep().failed == 1
    sign = invoke("heartbeat", mission_id="a").body
    assert (sign["status"], sign["reason"].split(":")[0], sign["next_before"]) == ("FAILED", "heartbeat_timeout", None)
    late = invoke("update_status", mission_id="a", body={"status": "COMPLETED"})
    assert (late.status, late.body["current_status"]) == (409, "FAILED")
    assert late.body["reason"].startswith("heartbeat_timeout")
    assert invoke("append_log_entry", mission_id="a", body={"message": "what I found"}).status == 201
    again = invoke("claim_mission", body={"lease": 60}).body
    assert (again["retry_of"], again["attempt"], again["worker"]) == ("a", 2, None)
    assert sweep().failed == 0
    system.account()


@pytest.mark.parametrize("free", [1, 2])
def test_a_worker_whose_candidate_is_taken_by_another_gets_another_one_or_none(
    system: OneServer, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    for each in range(free):
        create(system, f"free-{each}")
    plain = Connection.script
    others: list[str] = []

    def script(self: Connection, name: str, *args: Any, **options: Any) -> Any:
        answer = plain(self, name, *args, **options)
        if name == "find_candidates" and not others:
            others.append("")
            others[0] = service.claim_mission(Claim()).value.id  # type: ignore[union-attr]
        return answer

    monkeypatch.setattr(Connection, "script", script)
    taken = service.claim_mission(Claim())
    assert (taken is None) == (free == 1)
    assert taken is None or taken.value.id != others[0]
    assert service.get_stats().by_status[RUNNING] == free
    system.account()


def with_clock_back(seconds: int) -> None:
    """Let the scripts see a clock that was set back by this much."""
    back = f"(function() local t = redis.call('TIME') return {{tostring(t[1] - {seconds}), t[2]}} end)()"
    here = fresh_sandbox()
    here.connection = Connection(
        connect(here.settings).nodes,
        lambda name: scripts.Script.of(scripts.load(name).text.replace("redis.call('TIME')", back)),
    )


def test_after_the_clock_was_set_back_nobody_is_failed_early_and_everybody_can_go_on(system: OneServer) -> None:
    for mission_id in ("silent", "alive"):
        service.update_status(create(system, mission_id, heartbeat_timeout=60, timeout=120), RUNNING)
    before = service.get_mission("alive").active_at
    with_clock_back(HOUR)
    assert sweep().failed == 0
    assert service.heartbeat("alive").active_at >= before  # it does not go back
    assert service.update_status("alive", COMPLETED).value.updated_at >= before
    time_passes(system.redis, "silent", HOUR + 180)  # until its limit has passed by the new clock
    assert sweep().failed == 1
    assert statuses() == {"silent": "FAILED", "alive": "COMPLETED"}
    system.account()


def test_after_the_clock_was_set_back_missions_that_waited_before_are_taken_at_once(system: OneServer) -> None:
    create(system, "waits")
    with_clock_back(HOUR)
    create(system, "new")
    taken = [service.claim_mission(Claim()) for _ in range(2)]
    assert {each.value.id for each in taken if each} == {"waits", "new"}
    system.account()


@pytest.mark.parametrize("fault", ["throttle", "error", "partial", "empty", "reset", "denied"])
def test_while_eventbridge_fails_missions_are_swept_and_the_relay_publishes_their_events(
    system: OneServer, fault: str
) -> None:
    of_each_kind(system)
    system.bus.events.clear()
    before = len(system.bus.events)
    system.drain()
    system.bus.fault = fault
    report = sweep()
    assert (report.failed, report.cancelled, report.removed) == (4, 2, 2)
    assert runtime.current.outbox.survey().backlogs
    system.bus.fault = ""
    system.drain()
    told = [event["payload"]["new_status"] for event in system.bus.events[before:] if "new_status" in event["payload"]]
    assert (told.count("FAILED"), told.count("CANCELLED")) == (4, 2)


def test_missions_are_swept_where_there_is_no_bus_to_be_had(system: OneServer) -> None:
    of_each_kind(system)
    report = sweeper.Report()
    sweeper.sweep(report, lambda: None)
    assert (report.failed, report.cancelled, report.removed) == (4, 2, 2)
    ended_once(system)


@pytest.mark.parametrize("fault", ["is killed and restarted", "stalls", "forgets its scripts"])
def test_valkey_fails_in_the_middle_of_a_sweep_and_of_claims(
    system: OneServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(sweeper, "TOGETHER", 5)
    late = overdue(system, 60, retries=1)
    for each in range(60):
        create(system, f"free-{each}")
    over = threading.Event()
    taken: list[str] = []

    def claims() -> None:
        while not over.is_set():
            with suppress(StoreUnavailable):
                if claimed := service.claim_mission(Claim(), Write()):
                    taken.append(claimed.value.id)
                    system.versions.add((claimed.value.id, 2, "RUNNING"))

    def sweeps() -> None:
        while not over.is_set():
            with suppress(StoreUnavailable):
                sweep()

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(each) for each in (claims, claims, sweeps, sweeps)]
        try:
            time.sleep(0.1)
            if fault == "is killed and restarted":
                system.kill()
                time.sleep(0.2)
                system.restart()
            elif fault == "stalls":
                system.signal(signal.SIGSTOP)
                time.sleep(3)
                system.signal(signal.SIGCONT)
            else:
                for _ in range(50):
                    system.redis.script_flush()
                    time.sleep(0.005)
            time.sleep(0.5)
        finally:
            over.set()
        for ended in done:
            ended.result()
    while sweep().failed:
        pass
    assert len(set(taken)) == len(taken)
    shown = statuses()
    assert {shown[mission_id] for mission_id in late} == {"FAILED"}
    assert service.get_stats().all_time.failed == len(late)
    system.account()
