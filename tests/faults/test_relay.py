"""The relay publishes what requests left: in order, fairly, once more rather than once less, and never blocked."""

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import threading
import time
from typing import Any

import pytest
from missions import charter, emitter, relay, service
from missions.eventbridge import EventBridge
from missions.models import MissionCreate, MissionLogEntry, MissionStatus
from missions.store import Keys

from functions.relay_events import app as relay_events
from local.gateway import Context
from tests.conftest import forget, sample
from tests.faults.harness import KEYS, System, work


def leave_in_outbox(system: System, namespace: str = "default", missions: int = 1) -> list[str]:
    """Create missions whose events stay in the outbox; their ids."""
    emitter._pause()
    return [service.create_mission(MissionCreate(name="left"), service.Write(namespace)).id for _ in range(missions)]


def put_in_outbox(system: System, *facts: str) -> None:
    for text in facts:
        system.redis.xadd(KEYS.outbox, {"facts": text})


def facts(message: str, sequence: int = 1) -> str:
    payload = {"mission_id": "m", "log_level": "info", "message": message}
    return f'{{"sequence":{sequence},"timestamp":1703001234.5,' + charter.facts("mission.log_appended", payload)


def invoke(**request: Any) -> Any:
    return relay_events.handler(request, Context("relay_events"))


def messages(system: System) -> list[str]:
    return [event["payload"]["message"] for event in system.bus.events if event["type"] == "mission.log_appended"]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay does not wait for young entries."""
    monkeypatch.setattr(relay, "MIN_AGE", 0)


@pytest.fixture(autouse=True)
def registered(system: System) -> None:
    system.redis.sadd("missions:namespaces", "default")


@pytest.mark.usefixtures("at_once")
def test_what_requests_left_is_published_oldest_first_and_deleted(system: System) -> None:
    put_in_outbox(system, *(facts(str(number)) for number in range(1234)))
    report = invoke(**sample("relay_events"))
    assert (report["waiting"], report["published"], report["left"]) == (1234, 1234, 0)
    assert messages(system) == [str(number) for number in range(1234)]
    assert system.redis.xlen(KEYS.outbox) == 0


def test_a_young_entry_is_left_to_its_own_request(system: System) -> None:
    leave_in_outbox(system)
    system.redis.xadd("old", {"facts": facts("old")}, id="1-1")
    system.redis.rename(KEYS.outbox, "young")
    put_in_outbox_at(system, "1-1", facts("old"))
    for entry_id, fields in system.redis.xrange("young"):
        system.redis.xadd(KEYS.outbox, fields, id=entry_id)
    report = invoke()
    assert (report["waiting"], report["published"]) == (3, 1)
    assert report["oldest"] > 10**9
    assert system.redis.xlen(KEYS.outbox) == 2


def put_in_outbox_at(system: System, entry_id: str, text: str) -> None:
    system.redis.xadd(KEYS.outbox, {"facts": text}, id=entry_id)


def test_an_entry_from_the_future_is_published_for_the_clock_was_set_back(system: System) -> None:
    seconds, _ = system.redis.time()
    put_in_outbox_at(system, f"{(seconds + 3600) * 1000}-0", facts("from the future"))
    assert invoke()["published"] == 1


@pytest.mark.usefixtures("at_once")
def test_a_missing_bus_is_told_loudly_and_nothing_is_deleted(system: System) -> None:
    leave_in_outbox(system)
    system.bus.buses.clear()
    with pytest.raises(RuntimeError, match="'missions' does not exist"):
        invoke()
    assert system.redis.xlen(KEYS.outbox) == 2
    assert system.bus.calls == 0


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("fault", ["throttle", "denied", "error", "empty", "reset"])
def test_whatever_may_pass_stays_and_is_published_by_the_next_run(system: System, fault: str) -> None:
    put_in_outbox(system, *(facts(str(number)) for number in range(30)))
    system.bus.fault = fault
    report = relay.Report()
    relay.drain(EventBridge("missions"), ["default"], report)
    assert (report.published, report.died, system.redis.xlen(KEYS.outbox)) == (0, 0, 30)
    system.bus.fault = ""
    assert invoke()["published"] == 30
    assert len(system.bus.events) == 30


@pytest.mark.usefixtures("at_once")
def test_a_batch_that_fails_in_part_is_taken_apart_entry_by_entry(system: System) -> None:
    put_in_outbox(system, *(facts(str(number)) for number in range(30)))
    system.bus.fault = "partial"
    report = relay.Report()
    relay.drain(EventBridge("missions"), ["default"], report)
    assert (report.published, report.left) == (15, 15)
    system.bus.fault = ""
    invoke()
    assert sorted(map(int, messages(system))) == list(range(30))
    assert len(system.bus.events) == 30


POISON = {
    "no JSON": "{",
    "no event": '{"sequence":1}',
    "very deep": "[" * 100_000,
    "an unknown type": facts("x").replace("mission.log_appended", "mission.exploded"),
    "an integer beyond 64 bits": facts("x").replace('"meta":{}', '"meta":{"big":' + "9" * 30 + "}"),
    "a lone surrogate": facts("\\ud800").replace("\\\\ud800", "\\ud800"),
    "too large on its own": facts("x" * 1_100_000),
}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("poison", POISON)
def test_what_can_never_be_published_becomes_a_dead_letter_and_blocks_nothing(system: System, poison: str) -> None:
    good = [facts(str(number)) for number in range(25)]
    put_in_outbox(system, POISON[poison], *good[:12], POISON[poison], *good[12:])
    report = invoke()
    assert (report["published"], report["died"], report["left"]) == (25, 2, 0)
    assert sorted(map(int, messages(system))) == list(range(25))
    assert system.redis.xlen(KEYS.outbox) == 0
    dead = invoke(action="list")["default"]["dead"]
    assert [bool(entry["error"] and entry["event"]) for entry in dead] == [True, True]


@pytest.mark.usefixtures("at_once")
def test_an_operator_lists_and_redelivers(system: System) -> None:
    (mission_id,) = leave_in_outbox(system)
    put_in_outbox(system, "{", "[")
    listed = invoke(action="list", limit=10)["default"]
    assert [entry["event"]["type"] for entry in listed["undelivered"][:2]] == [
        "mission.log_appended",
        "mission.created",
    ]
    assert listed["undelivered"][1]["event"]["payload"]["mission_id"] == mission_id
    assert invoke()["died"] == 2
    dead = invoke(action="list", namespace="default")["default"]["dead"]
    one = dead[0]["entry_id"]
    system.redis.xadd(KEYS.dead, {"facts": facts("mended"), "error": "MalformedDetail"})
    assert invoke(action="redeliver", namespace="default", entry_ids=[one, one])["died"] == 1  # as broken as before
    assert invoke(action="redeliver")["published"] == 1
    assert messages(system)[-1] == "mended"
    assert len(invoke(action="list")["default"]["dead"]) == 2


@pytest.mark.parametrize("request_", [{"action": "explode"}, {"namespcae": "x"}, {"limit": 0}, {"entry_ids": ["1-1"]}])
def test_a_payload_that_makes_no_sense_is_refused(system: System, request_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        invoke(**request_)


@pytest.mark.usefixtures("at_once")
def test_the_relay_is_fair_between_namespaces(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PAGE", 10)
    put_in_outbox(system, *(facts(str(number)) for number in range(100)))
    leave_in_outbox(system, "small")
    system.redis.sadd("missions:namespaces", "small")
    time_for = itertools.count()
    relay.drain(EventBridge("missions"), ["default", "small"], relay.Report(), lambda: next(time_for) < 6)
    assert system.redis.xlen(Keys("small").outbox) == 0
    assert 0 < system.redis.xlen(KEYS.outbox) < 100


@pytest.mark.usefixtures("at_once")
def test_a_namespace_that_is_always_busy_does_not_starve_the_others(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PAGE", 10)
    monkeypatch.setattr(relay.random, "SystemRandom", lambda: random.Random(1))
    names = [f"busy{number}" for number in range(4)] + ["zz"]
    leave_in_outbox(system, "zz")
    for _ in range(20):
        for name in names[:-1]:
            for number in range(100):
                system.redis.xadd(Keys(name).outbox, {"facts": facts(str(number))})
        time_for = itertools.count()
        relay.drain(EventBridge("missions"), names, relay.Report(), lambda clock=time_for: next(clock) < 8)
    assert system.redis.xlen(Keys("zz").outbox) == 0


@pytest.mark.usefixtures("at_once")
def test_with_a_slow_eventbridge_every_run_gets_on(system: System) -> None:
    """What was accepted is deleted although the time does not suffice for a page."""
    put_in_outbox(system, *(facts(str(number)) for number in range(200)))
    system.bus.delay = 0.05
    waiting = []
    for _ in range(3):
        started = time.monotonic()
        relay.drain(
            EventBridge("missions"), ["default"], relay.Report(), lambda since=started: time.monotonic() - since < 0.3
        )
        waiting.append(system.redis.xlen(KEYS.outbox))
    assert 200 > waiting[0] > waiting[1] > waiting[2]
    assert len(system.bus.events) == 200 - waiting[2]  # none twice


@pytest.mark.usefixtures("at_once")
def test_events_that_are_not_allowed_yet_do_not_block_those_behind_them(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PAGE", 10)
    put_in_outbox(system, *(facts("forbidden") for _ in range(25)), facts("good"))

    class Strict:
        def publish(self, events: Any) -> list[str | None]:
            codes = {"forbidden": "NotAuthorizedForDetailTypeException"}
            return [codes.get(event.payload.message) for event in events]

    report = relay.Report()
    relay.drain(Strict(), ["default"], report)
    assert (report.published, report.left, system.redis.xlen(KEYS.outbox)) == (1, 25, 25)


@pytest.mark.usefixtures("at_once")
def test_two_relays_at_once_lose_nothing(system: System) -> None:
    put_in_outbox(system, *(facts(str(number)) for number in range(300)), "{")
    reports = [relay.Report(), relay.Report()]
    threads = [
        threading.Thread(target=relay.drain, args=(EventBridge("missions"), ["default"], each)) for each in reports
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {event["payload"]["message"] for event in system.bus.events} == {str(number) for number in range(300)}
    assert len({event["id"] for event in system.bus.events}) == 300
    assert system.redis.xlen(KEYS.outbox) == 0
    assert system.redis.xlen(KEYS.dead) == 1


@pytest.mark.usefixtures("at_once")
def test_the_relay_stops_when_its_time_is_up(system: System) -> None:
    put_in_outbox(system, *(facts(str(number)) for number in range(30)))
    report = relay_events.handler({}, Context("relay_events", timeout=1))
    assert (report["published"], report["ended"]) == (0, "the time is up")


def die(at: str) -> None:
    """Create a mission in a process of its own that is killed on the way."""
    forget()
    real = EventBridge.publish

    def publish(self: EventBridge, events: Any) -> Any:
        if at == "before the publish":
            os.kill(os.getpid(), signal.SIGKILL)
        errors = real(self, events)
        os.kill(os.getpid(), signal.SIGKILL)
        return errors

    EventBridge.publish = publish  # type: ignore[method-assign]
    service.create_mission(MissionCreate(id="killed", name="killed"))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("at", "copies"), [("before the publish", 1), ("before the acknowledgement", 2)])
def test_a_handler_that_is_killed_after_the_write_loses_no_event(system: System, at: str, copies: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die, args=(at,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert system.redis.xlen(KEYS.outbox) == 2
    invoke()
    assert len(system.bus.events) == 2 * copies
    assert len({event["id"] for event in system.bus.events}) == 2
    system.missions.add("killed")
    system.account()


def test_handlers_killed_at_random_lose_no_event(system: System, operations: int) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.harness"])
    chance = random.Random(1)
    kills = 0
    while system.figures.operations < operations:
        pipes = [context.Pipe(duplex=False) for _ in range(3)]
        workers = [
            context.Process(target=work, args=(dict(os.environ), (kills * 3 + n) * 100_000, write))
            for n, (_, write) in enumerate(pipes)
        ]
        for worker in workers:
            worker.start()
        for read, _ in pipes:
            assert read.poll(30)  # it is at work
        time.sleep(chance.uniform(0, 0.4))
        for worker in workers:
            worker.kill()
        for worker, (read, write) in zip(workers, pipes, strict=True):
            worker.join()
            write.close()
            with contextlib.suppress(EOFError):  # all that was reported is read; the last report may be cut
                while True:
                    system.note(read.recv())
        kills += 1
    assert kills > 1
    system.account()


@pytest.mark.usefixtures("at_once")
def test_a_backlog_of_many_events_is_published_whole(
    system: System, operations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the 5,000 operations of `make test-faults` there are 100,000 events waiting."""
    (mission_id,) = leave_in_outbox(system)
    monkeypatch.setattr(emitter, "_paused_until", float("inf"))
    entries = [MissionLogEntry(message=str(number)) for number in range(20 * operations - 2)]
    for first in range(0, len(entries), 100):
        service.append_log_entries(mission_id, entries[first : first + 100])
    assert system.redis.xlen(KEYS.outbox) == 20 * operations
    report = relay_events.handler({}, Context("relay_events", timeout=900))
    assert (report["waiting"], report["published"]) == (20 * operations, 20 * operations)
    system.figures.operations = system.figures.acknowledged = 1 + (len(entries) + 99) // 100
    system.missions.add(mission_id)
    system.account()


def test_a_batch_of_facts_never_exceeds_what_eventbridge_takes() -> None:
    texts = ["x" * 300_000] * 5 + ["x"] * 25
    parts = list(emitter.batches(texts))
    assert [texts[part] for part in parts] == [texts[:3], [*texts[3:5], *texts[5:13]], texts[13:23], texts[23:]]
    assert list(emitter.batches([])) == []


def test_a_request_publishes_and_deletes_its_own_events(system: System) -> None:
    mission = service.create_mission(MissionCreate(name="m"))
    service.update_status(mission.id, MissionStatus.RUNNING)
    service.append_log_entry(mission.id, MissionLogEntry(message="m"))
    assert system.redis.xlen(KEYS.outbox) == 0
    assert len(system.bus.events) == 5
    assert system.bus.calls == 3  # one call for each request, not one for each event
