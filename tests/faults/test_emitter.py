"""The emitter never raises and never takes long: EventBridge's troubles are not the caller's."""

import json
import logging
import time
from collections.abc import Sequence

import pytest
from missions import runtime, service
from missions.domain.errors import MissionsError, StoreUnavailable
from missions.domain.events import Event
from missions.domain.models import MissionCreate, MissionLogEntry, MissionStatus
from missions.domain.writes import Write
from missions.publishing import emitter
from missions.storage import keys
from missions.storage.connection import Connection
from missions.storage.keys import partition_of

from tests.conftest import invoke
from tests.faults.harness import OUTBOX, OneServer, stream


def waiting(system: OneServer) -> list[str]:
    """The ids of the events in the outbox."""
    return [draft["id"] for _, fields in stream(system.redis, OUTBOX) for draft in json.loads(fields["drafts"])]


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_no_request_takes_three_seconds_while_eventbridge_stalls_and_a_pause_follows(
    system: OneServer, fault: str
) -> None:
    invoke("health")  # imports and connects
    system.bus.fault = fault
    started = time.monotonic()
    assert invoke("create_mission").status == 201
    assert time.monotonic() - started < 3
    for _ in range(20):
        assert invoke("append_log_entry").status == 201
    assert system.bus.calls == 1  # nothing more was tried
    assert len(waiting(system)) == 22


def test_an_answer_that_drips_is_held_to_the_deadline(system: OneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitter, "DEADLINE", 0.3)
    service.create_mission(MissionCreate(name="n"))
    system.bus.fault = "drip"
    started = time.monotonic()
    service.create_mission(MissionCreate(name="n"))
    assert 0.3 <= time.monotonic() - started < 2
    system.bus.fault = ""
    service.create_mission(MissionCreate(name="n"))
    assert system.bus.calls == 2  # the third left its events to the relay
    assert len(waiting(system)) == 4


def test_the_trace_of_a_request_is_passed_on_to_eventbridge(system: OneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
    invoke("create_mission")
    monkeypatch.delenv("_X_AMZN_TRACE_ID")
    invoke("append_log_entry")
    assert system.bus.traces == ["Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"] * 2 + [None]


def test_after_the_pause_requests_publish_again(system: OneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitter, "PAUSE", 0.05)
    system.bus.fault = "throttle"
    invoke("create_mission")
    system.bus.fault = ""
    time.sleep(0.11)
    invoke("append_log_entry")
    assert [event["meta"]["sequence"] for event in system.bus.events] == [3]


def test_one_deadline_holds_for_all_that_a_request_publishes(system: OneServer) -> None:
    mission = service.create_mission(MissionCreate(name="n")).value
    system.bus.events.clear()
    system.bus.delay = 0.3
    started = time.monotonic()
    service.append_log_entries(mission.id, [MissionLogEntry(message=str(number)) for number in range(100)])
    assert time.monotonic() - started < 2
    left = waiting(system)
    taken = 100 - len(left)
    assert 10 <= taken <= 50  # batches of ten that were answered within the deadline
    assert {event["id"] for event in system.bus.events[:taken]}.isdisjoint(left)
    assert [event["meta"]["sequence"] for event in system.bus.events[:taken]] == list(range(3, 3 + taken))


@pytest.mark.parametrize("fault", ["throttle", "denied", "error", "empty", "reset", "both", "partial"])
def test_a_failure_is_logged_at_error_with_the_ids_of_its_events(
    system: OneServer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    system.bus.fault = fault
    assert invoke("create_mission").status == 201
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    left = waiting(system)
    assert list(vars(record)["events"]) == left
    assert len(left) == (1 if fault == "partial" else 2)


def test_a_request_settles_the_part_that_was_accepted(system: OneServer) -> None:
    system.bus.fault = "partial"
    mission = service.create_mission(MissionCreate(name="n")).value
    (accepted,) = system.bus.events
    (left,) = waiting(system)
    assert accepted["meta"]["sequence"] == 1
    system.bus.fault = ""
    system.drain()
    event = Event.model_validate(system.bus.events[-1])
    assert (len(system.bus.events), event.id, event.meta["sequence"]) == (2, left, 2)
    assert event.timestamp == accepted["timestamp"] == mission.created_at


@pytest.mark.parametrize("error", [RuntimeError("boto3 can raise anything"), KeyError("x"), MemoryError()])
def test_whatever_the_stream_raises_the_write_succeeds(system: OneServer, error: Exception) -> None:
    class Broken:
        def publish(self, events: Sequence[Event]) -> list[str | None]:
            raise error

    service.set_event_stream(Broken())
    service.create_mission(MissionCreate(name="n"))
    assert len(waiting(system)) == 2


def test_a_stream_that_cannot_be_made_is_no_error_of_the_write(system: OneServer) -> None:
    def connect() -> emitter.EventStream:
        raise RuntimeError("no region")

    runtime.current.emitter = emitter.Emitter(connect)
    service.create_mission(MissionCreate(name="n"))
    assert len(waiting(system)) == 2


def test_a_stream_that_answers_for_too_few_events_is_not_believed(system: OneServer) -> None:
    class Short:
        def publish(self, events: Sequence[Event]) -> list[str | None]:
            return [None]

    service.set_event_stream(Short())
    service.create_mission(MissionCreate(name="n"))
    assert len(waiting(system)) == 2


def test_an_acknowledgement_that_fails_is_no_error_of_the_write(
    system: OneServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Connection.script

    def script(self: Connection, name: str, *args: object) -> object:
        if name == "settle":
            raise StoreUnavailable
        return plain(self, name, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Connection, "script", script)
    assert invoke("create_mission").status == 201
    assert len(system.bus.events) == len(waiting(system)) == 2


def test_a_namespace_is_in_the_set_of_its_partition_after_its_first_create(system: OneServer) -> None:
    for _ in range(2):
        service.create_mission(MissionCreate(name="n"), Write("acme"))
    assert system.redis.smembers(keys.namespaces(partition_of("acme"))) == {"acme"}
    assert list(system.redis.scan_iter("*:namespaces")) == [keys.namespaces(partition_of("acme"))]
    assert runtime.current.outbox.namespaces() == (["acme"], 0)


def test_a_request_that_is_refused_or_finds_no_mission_adds_nothing_anywhere(system: OneServer) -> None:
    service.create_mission(MissionCreate(id="here", name="n"), Write(key="used"))
    log = MissionLogEntry(message="m")

    def stored() -> dict[str, bytes]:
        return {key: system.redis.execute_command("DUMP", key, NEVER_DECODE=True) for key in system.redis.scan_iter()}

    before = stored()
    for refused in (
        lambda: service.update_status("gone", MissionStatus.RUNNING, write=Write("acme", key="k")),
        lambda: service.append_log_entry("gone", log, Write("acme", key="k")),
        lambda: service.append_log_entries("gone", [log], Write("acme")),
        lambda: service.get_mission("gone", "acme"),
        lambda: service.get_log("gone", "acme"),
        lambda: service.create_mission(MissionCreate(id="here", name="another"), Write(key="k")),
        lambda: service.create_mission(MissionCreate(id="there", name="n"), Write(key="used")),
        lambda: service.update_status("here", MissionStatus.COMPLETED, write=Write(key="k")),
        lambda: service.update_status("here", MissionStatus.RUNNING, write=Write(key="k", versions={2})),
    ):
        with pytest.raises(MissionsError):
            refused()
    service.list_missions("acme")
    service.get_stats("acme")
    assert stored() == before
    assert runtime.current.outbox.namespaces() == (["default"], 0)
