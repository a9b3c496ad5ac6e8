"""The relay publishes what requests left: fairly, once more rather than once less, and never blocked."""

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from missions import runtime, service
from missions.domain import events
from missions.domain.events import Event
from missions.domain.models import MissionCreate, MissionLogEntry, MissionStatus
from missions.domain.writes import Write
from missions.publishing import operators, relay
from missions.publishing.eventbridge import EventBridge
from missions.storage import keys
from missions.storage.keys import partition_of
from missions.storage.link import Link
from redis.exceptions import NoScriptError, TryAgainError

from functions.relay_events import app as relay_events
from local.doubles.eventbridge import StrictEventBridge
from local.runtime_client import Context
from tests.cluster import Endpoint, wait_until
from tests.conftest import fresh_sandbox, sample
from tests.faults.harness import DEAD, OUTBOX, OneServer, drain, start, stream, work

Fields = dict[str, str]  # of an outbox entry


def leave_in_outbox(namespace: str = "default", missions: int = 1) -> list[str]:
    """Create missions whose events stay in the outbox; their ids."""
    runtime.current.emitter.pause()
    return [service.create_mission(MissionCreate(name="left"), Write(namespace)).value.id for _ in range(missions)]


def leave_batch_in_outbox(entries: int) -> list[Event]:
    """Create a mission and append to its log; the events of the log stay in the outbox."""
    mission = service.create_mission(MissionCreate(name="left")).value
    runtime.current.emitter.pause()
    service.append_log_entries(mission.id, [MissionLogEntry(message=str(number)) for number in range(entries)])
    return undelivered()


def undelivered() -> list[Event]:
    entries, _ = runtime.current.outbox.read(partition_of("default"), "0-0", 1000)
    return [event for entry in entries for event in entry.envelopes()]


def put_in_outbox(system: OneServer, *entries: Fields, outbox: str = OUTBOX) -> None:
    with system.redis.pipeline(transaction=False) as pipeline:
        for fields in entries:
            pipeline.xadd(outbox, fields)  # type: ignore[arg-type]
        pipeline.execute()


def entry(message: str, moment: int = 1703001234_500000, sequence: int = 1) -> Fields:
    """An outbox entry with the event of one log entry."""
    draft = events.draft("mission.log_appended", {"log_level": "info", "message": message})
    return {
        "facts": f"namespace=default mission=m moment={moment} sequence={sequence}",
        "drafts": json.dumps([draft]),
    }


def entries(number: int) -> list[Fields]:
    return [entry(str(each), sequence=each + 1) for each in range(number)]


def no_stream() -> Any:
    raise AssertionError("nothing is to be published")


def invoke(**request: Any) -> Any:
    return relay_events.handler(request, Context("relay_events"))


def messages(system: OneServer) -> list[str]:
    return [event["payload"]["message"] for event in system.bus.events if event["type"] == "mission.log_appended"]


class Scripted:
    """A stream that answers each event by its message with a code, takes the others and keeps them."""

    def __init__(self, **codes: str) -> None:
        self.codes = codes
        self.taken: list[Event] = []
        self.calls = 0

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        self.calls += 1
        errors = [self.codes.get(event.payload.message) for event in events]  # type: ignore[union-attr]
        self.taken += [event for event, error in zip(events, errors, strict=True) if error is None]
        return errors


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay does not wait for young entries."""
    monkeypatch.setattr(relay, "MIN_AGE", 0)


@pytest.mark.usefixtures("at_once")
def test_what_requests_left_is_published_and_deleted(system: OneServer) -> None:
    put_in_outbox(system, *entries(1234))
    report = invoke(**sample("relay_events"))
    assert (report["waiting"], report["published"], report["left"]) == (1234, 1234, 0)
    assert sorted(map(int, messages(system))) == list(range(1234))  # its threads publish in any order
    assert sorted(event["meta"]["sequence"] for event in system.bus.events) == list(range(1, 1235))
    assert system.redis.xlen(OUTBOX) == 0


@pytest.mark.usefixtures("at_once")
def test_the_oldest_are_published_first(system: OneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order but for the batches that are on their way together."""
    monkeypatch.setattr(relay, "THREADS", 1)
    put_in_outbox(system, *entries(234))
    invoke()
    assert messages(system) == [str(number) for number in range(234)]


def test_a_young_entry_is_left_to_its_own_request(system: OneServer) -> None:
    put_in_outbox(system, entry("old"))
    leave_in_outbox()
    put_in_outbox(system, entry("also old"))
    report = invoke()
    assert (report["waiting"], report["published"]) == (3, 2)
    assert report["oldest"] > 10**9
    assert sorted(messages(system)) == ["also old", "old"]
    assert [event.type for event in undelivered()] == ["mission.log_appended", "mission.created"]


def test_an_entry_from_the_future_is_published_for_the_clock_was_set_back(system: OneServer) -> None:
    seconds, _ = system.redis.time()
    put_in_outbox(system, entry("from the future", moment=(seconds + 3600) * 1_000_000))
    assert invoke()["published"] == 1


@pytest.mark.usefixtures("at_once")
def test_a_missing_bus_is_told_loudly_and_nothing_is_deleted(system: OneServer) -> None:
    leave_in_outbox()
    system.bus.buses.clear()
    with pytest.raises(RuntimeError, match="'missions' does not exist"):
        invoke()
    assert len(undelivered()) == 2
    assert system.bus.calls == 0


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("fault", ["throttle", "denied", "error", "empty", "reset", "both"])
def test_whatever_may_pass_stays_and_is_published_by_the_next_run(system: OneServer, fault: str) -> None:
    put_in_outbox(system, *entries(30))
    system.bus.fault = fault
    report = drain()
    assert (report.published, report.died, system.redis.xlen(OUTBOX)) == (0, 0, 30)
    system.bus.fault = ""
    assert invoke()["published"] == 30
    assert len(system.bus.events) == 30


@pytest.mark.usefixtures("at_once")
def test_a_batch_that_fails_in_part_is_taken_apart_entry_by_entry(system: OneServer) -> None:
    put_in_outbox(system, *entries(30))
    report = drain(Scripted(**{str(number): "InternalFailure" for number in range(1, 30, 2)}))
    assert (report.published, report.left) == (15, 15)
    invoke()
    assert sorted(map(int, messages(system))) == list(range(1, 30, 2))


@pytest.mark.usefixtures("at_once")
def test_a_throttled_entry_ends_a_run_early(system: OneServer) -> None:
    put_in_outbox(system, *entries(1234))
    system.bus.fault = "partial"
    report = drain()
    assert report.ended == "EventBridge failed: it throttles"
    assert system.bus.calls <= relay.THREADS  # those that were on their way; there are 124 batches
    assert report.published == len(system.bus.events) == 5 * system.bus.calls
    assert report.left == system.redis.xlen(OUTBOX) - (1234 - relay.PAGE) == relay.PAGE - report.published
    system.bus.fault = ""
    assert invoke()["published"] == 1234 - report.published
    assert sorted(map(int, messages(system))) == list(range(1234))


@pytest.mark.usefixtures("at_once")
def test_old_entries_that_eventbridge_does_not_take_now_do_not_stop_the_next_one(system: OneServer) -> None:
    """As many as a page has, and one more."""
    put_in_outbox(system, *(entry("bad") for _ in range(500)), entry("good"))
    stream = Scripted(bad="InternalFailure")
    report = drain(stream)
    assert (report.published, report.left, report.died) == (1, 500, 0)
    assert [event.payload.message for event in stream.taken] == ["good"]  # type: ignore[union-attr]
    assert system.redis.xlen(OUTBOX) == 500
    assert relay.PAGE == 500


@pytest.mark.usefixtures("at_once")
def test_what_is_left_of_an_entry_keeps_its_moment_sequence_and_ids_and_nothing_is_sent_twice(
    system: OneServer,
) -> None:
    before = leave_batch_in_outbox(10)
    refusing = Scripted(**{str(number): "InternalFailure" for number in (1, 4, 9)})
    report = drain(refusing)
    assert (report.waiting, report.published, report.left) == (1, 7, 3)
    assert undelivered() == [before[number] for number in (1, 4, 9)]
    assert system.redis.xlen(OUTBOX) == 1
    taking = Scripted()
    report = drain(taking)
    assert (report.waiting, report.published, report.left) == (1, 3, 0)
    assert sorted(refusing.taken + taking.taken, key=lambda event: event.meta["sequence"]) == before
    assert system.redis.xlen(OUTBOX) == 0


@pytest.mark.usefixtures("at_once")
def test_an_entry_is_put_aside_accepted_and_left_in_one_step(system: OneServer) -> None:
    before = leave_batch_in_outbox(10)
    report = drain(Scripted(**{"1": "InternalFailure", "2": "MalformedDetail", "3": "InvalidArgument"}))
    assert (report.published, report.left, report.died) == (7, 1, 2)
    assert undelivered() == [before[1]]
    (dead,) = runtime.current.outbox.read_dead(partition_of("default"), "0-0", 10).entries
    assert dead.envelopes() == before[2:4]
    assert dead.error == "InvalidArgument, MalformedDetail"


@pytest.mark.usefixtures("at_once")
def test_of_two_relays_with_one_entry_one_settles_it_and_what_is_left_is_sent_once(system: OneServer) -> None:
    before = leave_batch_in_outbox(10)
    both = threading.Barrier(2, timeout=10)

    class Together(Scripted):
        def publish(self, events: Sequence[Event]) -> list[str | None]:
            both.wait()  # both have read the entry, and neither has settled it
            return super().publish(events)

    codes = {str(number): "InternalFailure" for number in (1, 4, 9)}
    streams = [Together(**codes), Together(**codes)]
    threads = [threading.Thread(target=drain, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(stream.taken) for stream in streams] == [7, 7]
    assert undelivered() == [before[number] for number in (1, 4, 9)]
    assert system.redis.xlen(OUTBOX) == 1
    taking = Scripted()
    drain(taking)
    drain(taking)
    assert taking.taken == [before[number] for number in (1, 4, 9)]


def drafts(message: str, change: tuple[str, str]) -> Fields:
    fields = entry(message)
    assert change[0] in fields["drafts"]
    return fields | {"drafts": fields["drafts"].replace(*change)}


POISON: dict[str, Fields] = {
    "no JSON": entry("x") | {"drafts": "{"},
    "no list": entry("x") | {"drafts": "7"},
    "no event": entry("x") | {"drafts": '[{"offset":1}]'},
    "an empty list": entry("x") | {"drafts": "[]"},
    "an empty text": entry("x") | {"drafts": ""},
    "very deep": entry("x") | {"drafts": "[" * 100_000},
    "an unknown type": drafts("x", ("mission.log_appended", "mission.exploded")),
    "an integer beyond 64 bits": drafts("x", ('"meta": {}', '"meta": {"big":' + "9" * 30 + "}")),
    "a lone surrogate": drafts("hunter2", ("hunter2", "\\ud800")),
    "too large on its own": entry("x" * 1_100_000),
    "no facts": {"drafts": entry("x")["drafts"]},
    "no drafts": {"facts": entry("x")["facts"]},
    "facts that are none": entry("x") | {"facts": "x"},
    "a moment that is no number": entry("x", moment="now"),  # type: ignore[arg-type]
    "a moment of 23 digits": entry("x") | {"facts": "namespace=default mission=m moment=" + "9" * 23 + " sequence=1"},
    "a moment beyond all numbers": entry("x", moment=10**400),
}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("poison", POISON)
def test_what_can_never_be_published_becomes_a_dead_letter_and_blocks_nothing(system: OneServer, poison: str) -> None:
    good = entries(25)
    put_in_outbox(system, POISON[poison], *good[:12], POISON[poison], *good[12:])
    report = invoke()
    assert (report["published"], report["died"], report["left"]) == (25, 2, 0)
    assert sorted(map(int, messages(system))) == list(range(25))
    assert system.redis.xlen(OUTBOX) == 0
    first = operators.answer({"action": "list", "limit": 1}, runtime.current.outbox, no_stream)
    rest = operators.answer({"action": "list", "cursor": first["cursor"]}, runtime.current.outbox, no_stream)
    dead = first["entries"] + rest["entries"]
    assert [bool(entry["error"] and "events" in entry) for entry in dead] == [True, True]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("change", [("mission.log_appended", "mission.exploded"), ("hunter2", "\\ud800")])
def test_of_an_entry_with_one_broken_event_nothing_is_sent_and_all_is_dead(
    system: OneServer, change: tuple[str, str]
) -> None:
    whole = [json.loads(each["drafts"])[0] for each in (entry("first"), entry("second"))]
    broken = drafts("hunter2", change)
    text = f"[{json.dumps(whole[0])},{broken['drafts'][1:-1]},{json.dumps(whole[1])}]"
    put_in_outbox(system, broken | {"drafts": text})
    report = invoke()
    assert (report["published"], report["died"], system.redis.xlen(OUTBOX)) == (0, 1, 0)
    assert system.bus.events == []
    ((_, fields),) = stream(system.redis, DEAD)
    assert fields["drafts"] == text


@pytest.mark.usefixtures("at_once")
def test_the_relay_is_fair_between_partitions(system: OneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PAGE", 10)
    put_in_outbox(system, *entries(100))
    leave_in_outbox("small")
    assert partition_of("small") != partition_of("default")
    time_for = itertools.count()
    drain(more_time=lambda: next(time_for) < 6)
    assert system.redis.xlen(keys.outbox(partition_of("small"))) == 0
    assert 0 < system.redis.xlen(OUTBOX) < 100
    leave_in_outbox("small")
    drain()  # a partition that is done does not end the others
    assert system.redis.xlen(OUTBOX) == 0


@pytest.mark.usefixtures("at_once")
def test_partitions_that_are_always_busy_do_not_starve_the_others(
    system: OneServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PAGE", 10)
    chance = random.Random(1)
    monkeypatch.setattr(random, "SystemRandom", lambda: chance)
    *busy, last = sorted((f"namespace{number}" for number in range(5)), key=partition_of)
    assert len({partition_of(name) for name in (*busy, last)}) == 5
    leave_in_outbox(last)
    for _ in range(20):
        for name in busy:
            put_in_outbox(system, *entries(30), outbox=keys.outbox(partition_of(name)))
        time_for = itertools.count()
        drain(more_time=lambda clock=time_for: next(clock) < 8)  # type: ignore[misc]
    assert system.redis.xlen(keys.outbox(partition_of(last))) == 0
    assert system.redis.xlen(keys.outbox(partition_of(busy[0]))) > 0


@pytest.mark.usefixtures("at_once")
def test_with_a_slow_eventbridge_every_run_gets_on(system: OneServer) -> None:
    """What was accepted is deleted although the time does not suffice for a page."""
    put_in_outbox(system, *entries(3000))
    system.bus.delay = 0.1
    waiting = []
    for _ in range(3):
        started = time.monotonic()
        drain(more_time=lambda since=started: time.monotonic() - since < 0.5)  # type: ignore[misc]
        waiting.append(system.redis.xlen(OUTBOX))
    assert 3000 > waiting[0] > waiting[1] > waiting[2] > 0
    assert len(system.bus.events) == 3000 - waiting[2]  # none twice


@pytest.mark.usefixtures("at_once")
def test_events_that_are_not_allowed_yet_do_not_block_those_behind_them(
    system: OneServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PAGE", 10)
    put_in_outbox(system, *(entry("forbidden") for _ in range(25)), entry("good"))
    report = drain(Scripted(forbidden="NotAuthorizedForDetailTypeException"))
    assert (report.published, report.left, system.redis.xlen(OUTBOX)) == (1, 25, 25)


@pytest.mark.usefixtures("at_once")
def test_two_relays_at_once_lose_nothing(system: OneServer) -> None:
    put_in_outbox(system, *entries(300), entry("x") | {"drafts": "{"})
    threads = [threading.Thread(target=drain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {event["payload"]["message"] for event in system.bus.events} == {str(number) for number in range(300)}
    assert len({event["id"] for event in system.bus.events}) == 300
    assert system.redis.xlen(OUTBOX) == 0
    assert system.redis.xlen(DEAD) == 1


@pytest.mark.usefixtures("at_once")
def test_the_relay_stops_when_its_time_is_up(system: OneServer) -> None:
    put_in_outbox(system, *entries(30))
    report = relay_events.handler({}, Context("relay_events", timeout=1))
    assert (report["published"], report["ended"]) == (0, "the time is up")


def die(at: str) -> None:
    """Create a mission in a process of its own that is killed on the way."""
    fresh_sandbox()
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
def test_a_handler_that_is_killed_after_the_write_loses_no_event(system: OneServer, at: str, copies: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die, args=(at,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(undelivered()) == 2
    invoke()
    assert len(system.bus.events) == 2 * copies
    assert len({event["id"] for event in system.bus.events}) == 2
    system.missions.add("killed")
    system.account()


def test_handlers_killed_at_random_lose_no_event(system: OneServer, operations: int) -> None:
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
    system: OneServer, operations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the 5,000 operations of `make test-faults` there are 100,000 events waiting."""
    (mission_id,) = leave_in_outbox()
    monkeypatch.setattr(runtime.current.emitter, "_paused_until", float("inf"))
    logged = [MissionLogEntry(message=str(number)) for number in range(20 * operations - 2)]
    for first in range(0, len(logged), 100):
        service.append_log_entries(mission_id, logged[first : first + 100])
    waiting = 1 + (len(logged) + 9) // 10  # an entry has ten events
    assert system.redis.xlen(OUTBOX) == waiting
    report = relay_events.handler({}, Context("relay_events", timeout=900))
    assert (report["waiting"], report["published"]) == (waiting, 20 * operations)
    system.figures.operations = system.figures.acknowledged = 1 + (len(logged) + 99) // 100
    system.missions.add(mission_id)
    system.account()


def test_a_batch_never_exceeds_what_eventbridge_takes() -> None:
    event = Event.model_validate(sample("mission.created")["detail"])
    sent = [relay._Sent(place, event, 300_000 if place < 5 else 1) for place in range(30)]
    parts = list(relay._batches(sent))
    assert parts == [sent[:3], sent[3:13], sent[13:23], sent[23:]]
    assert list(relay._batches([])) == []


def test_a_request_publishes_and_deletes_its_own_events(system: OneServer) -> None:
    mission = service.create_mission(MissionCreate(name="m")).value
    service.update_status(mission.id, MissionStatus.RUNNING)
    service.append_log_entry(mission.id, MissionLogEntry(message="m"))
    assert system.redis.xlen(OUTBOX) == 0
    assert len(system.bus.events) == 5
    assert system.bus.calls == 3  # one call for each request, not one for each event


@pytest.mark.usefixtures("at_once")
def test_a_stream_that_answers_for_too_few_events_loses_none(system: OneServer) -> None:
    leave_batch_in_outbox(25)

    class Short:
        def publish(self, sent: Sequence[Event]) -> list[str | None]:
            return [None] * (len(sent) - 1)

    assert drain(Short()).published == 0
    assert len(undelivered()) == 25


@pytest.mark.usefixtures("at_once")
def test_a_backlog_over_many_partitions_is_published_by_all_threads(system: OneServer) -> None:
    for number in range(80):
        leave_in_outbox(namespace=f"tenant-{number}")
    system.bus.delay = 0.05
    before = system.bus.calls
    assert invoke()["published"] == 160
    assert system.bus.calls - before == 16  # ten events a call, of whatever partition


@pytest.mark.usefixtures("at_once")
def test_a_partition_whose_outbox_is_of_a_wrong_type_does_not_stop_the_others(system: OneServer) -> None:
    leave_in_outbox()
    system.redis.set(keys.outbox(700), "in the way")
    system.redis.set(keys.dead(701), "in the way")
    assert invoke()["published"] == 2


@pytest.mark.usefixtures("at_once")
def test_dead_letters_that_take_nothing_more_cost_no_event(system: OneServer) -> None:
    leave_in_outbox()
    system.redis.xadd(keys.dead(partition_of("default")), {"facts": "x"}, id=f"{2**64 - 1}-{2**64 - 1}")

    class Refusing:
        def publish(self, sent: Sequence[Event]) -> list[str | None]:
            return ["MalformedDetail"] * len(sent)

    assert drain(Refusing()).unread == 1  # it could not be settled
    assert len(undelivered()) == 2


@pytest.mark.usefixtures("at_once")
def test_a_primary_that_was_demoted_behind_the_same_name_is_left_in_the_same_run(
    bus: StrictEventBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as running:
        old, new = (start(tmp_path / name) for name in ("old", "new"))
        for server in (old, new):
            running.callback(server.stop)
        first, second = (
            running.enter_context(redis.Redis(port=each.port, decode_responses=True)) for each in (old, new)
        )
        second.replicaof("127.0.0.1", str(old.port))
        name = running.enter_context(Endpoint(old.port))
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{name.port}")
        fresh_sandbox()
        leave_in_outbox()
        wait_until(lambda: second.xlen(OUTBOX) == 1)
        second.replicaof("NO", "ONE")
        first.replicaof("127.0.0.1", str(new.port))
        name.to = new.port
        wait_until(lambda: first.info("replication")["master_link_status"] == "up")
        report = drain()  # reads from the old one, which a running sandbox is connected to
        assert (report.published, report.unread, len(bus.events)) == (2, 0, 2)
        assert second.xlen(OUTBOX) == 0
        assert drain().published == 0
        fresh_sandbox()


def test_a_list_looks_at_the_time_also_where_nothing_is_shown_yet(system: OneServer) -> None:
    put_in_outbox(system, *({"facts": f"namespace=other mission=m moment=1 sequence={n}"} for n in range(300)))
    answer = operators.answer(
        {"action": "list", "what": "undelivered", "namespace": "default"},
        runtime.current.outbox,
        no_stream,
        lambda: False,
    )
    assert answer["entries"] == []
    assert answer["cursor"]


@pytest.mark.usefixtures("at_once")
def test_no_batch_and_no_page_follows_when_the_time_is_up(system: OneServer) -> None:
    put_in_outbox(system, *entries(1234))
    time_for = itertools.count()
    report = drain(Scripted(), more_time=lambda: next(time_for) < 4)  # for a page and three batches
    assert (report.published, report.left, report.ended) == (30, relay.PAGE - 30, "the time is up")
    assert system.redis.xlen(OUTBOX) == 1204


@pytest.mark.usefixtures("at_once")
def test_a_partition_that_is_not_read_after_the_survey_does_not_stop_the_others(system: OneServer) -> None:
    for name in ("default", "small"):
        put_in_outbox(system, entry(name), outbox=keys.outbox(partition_of(name)))
    backlogs, report = relay.survey(runtime.current.outbox)
    system.redis.rename(OUTBOX, "aside")
    system.redis.set(OUTBOX, "in the way")
    relay.drain(runtime.current.outbox, Scripted(), backlogs, report)
    assert (report.waiting, report.published, report.unread) == (2, 1, 1)


@pytest.mark.usefixtures("at_once")
def test_what_comes_behind_an_entry_that_cannot_be_settled_waits(
    system: OneServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PAGE", 10)
    put_in_outbox(system, *entries(30))
    system.redis.xadd(keys.dead(partition_of("default")), {"facts": "x"}, id=f"{2**64 - 1}-{2**64 - 1}")
    stream = Scripted(**{str(number): "MalformedDetail" for number in range(30)})
    assert drain(stream).unread == 1
    assert stream.calls == 1


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("error", [NoScriptError, TryAgainError])
def test_of_commands_together_those_are_run_again_whose_server_was_not_ready(
    system: OneServer, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """It lost its scripts meanwhile, or a slot is on its way."""
    for number in range(10):
        leave_in_outbox(f"tenant-{number}")
    exchange = Link.exchange
    bad = iter([True])

    def refusing(link: Link, until: float, commands: Sequence[Sequence[Any]]) -> list[Any]:
        if len(commands) > 1 and commands[0][0] == "EVAL" and next(bad, False):
            return [exchange(link, until, commands[:1])[0], *(error() for _ in commands[1:])]
        return exchange(link, until, commands)

    monkeypatch.setattr(Link, "exchange", refusing)
    report = invoke()
    assert next(bad, None) is None
    assert (report["published"], report["unread"]) == (20, 0)


@pytest.mark.usefixtures("at_once")
def test_no_age_is_told_while_a_partition_is_not_read(system: OneServer, capsys: pytest.CaptureFixture[str]) -> None:
    leave_in_outbox()
    invoke()
    assert "OutboxAge" in capsys.readouterr().out
    leave_in_outbox()
    system.redis.set(keys.outbox(700), "in the way")
    assert invoke()["unread"] == 1
    assert "OutboxAge" not in capsys.readouterr().out


@pytest.mark.usefixtures("at_once")
def test_no_age_is_told_when_a_partition_is_not_read_after_the_survey(
    system: OneServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_in_outbox()
    survey = relay.survey

    def and_then(outbox: Any) -> Any:
        found = survey(outbox)
        system.redis.rename(OUTBOX, "aside")
        system.redis.set(OUTBOX, "in the way")
        return found

    monkeypatch.setattr(relay, "survey", and_then)
    assert invoke()["unread"] == 1
    assert "OutboxAge" not in capsys.readouterr().out
