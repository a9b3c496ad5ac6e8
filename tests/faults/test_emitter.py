"""The emitter never raises and never dawdles: EventBridge's troubles are not the caller's."""

import logging
import time
from collections.abc import Sequence

import pytest
from missions import emitter, service
from missions.charter import Event
from missions.errors import StoreUnavailable
from missions.models import LogLevel, MissionCreate
from missions.store import Store

from tests.conftest import invoke
from tests.faults.harness import KEYS, System


def test_no_request_takes_three_seconds_while_eventbridge_hangs_and_a_pause_follows(system: System) -> None:
    system.bus.fault = "hang"
    started = time.monotonic()
    assert invoke("create_mission").status == 201
    first = time.monotonic()
    for _ in range(20):
        assert invoke("append_log_entry").status == 201
    assert first - started < 3
    assert time.monotonic() - first < 1  # nothing was tried
    assert system.bus.calls == 1
    assert system.redis.xlen(KEYS.outbox) == 22


def test_the_trace_of_a_request_is_passed_on_to_eventbridge(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
    invoke("create_mission")
    monkeypatch.delenv("_X_AMZN_TRACE_ID")
    invoke("append_log_entry")
    assert system.bus.traces == ["Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"] * 2 + [None]


def test_after_the_pause_requests_publish_again(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitter, "PAUSE", 0.05)
    system.bus.fault = "throttle"
    invoke("create_mission")
    system.bus.fault = ""
    time.sleep(0.11)
    invoke("append_log_entry")
    assert [event["meta"]["sequence"] for event in system.bus.events] == [3]


def test_one_deadline_holds_for_all_that_a_request_publishes(system: System) -> None:
    mission = service.create_mission(MissionCreate(name="n"))
    system.bus.delay = 0.3
    facts = [
        f'{{"sequence":{n},"timestamp":1.5,' + service._log(mission.id, LogLevel.INFO, "m", {})[1] for n in range(100)
    ]
    started = time.monotonic()
    accepted = emitter.emit("default", facts)
    assert time.monotonic() - started < 2
    taken = sum(accepted)
    assert accepted == [True] * taken + [False] * (100 - taken)
    assert 10 <= taken <= 30  # batches of ten that began within the deadline


@pytest.mark.parametrize("fault", ["throttle", "denied", "error", "empty", "reset", "partial"])
def test_a_failure_is_logged_at_error_with_the_ids_of_its_events(
    system: System, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    system.bus.fault = fault
    assert invoke("create_mission").status == 201
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    left = {fields["facts"].partition('"id":"')[2][:36] for _, fields in system.redis.xrange(KEYS.outbox)}
    assert record.events.keys() == left
    assert len(left) == (1 if fault == "partial" else 2)


@pytest.mark.parametrize("error", [RuntimeError("boto3 can raise anything"), KeyError("x"), MemoryError()])
def test_whatever_the_stream_raises_the_write_succeeds(system: System, error: Exception) -> None:
    class Broken:
        def publish(self, events: Sequence[Event]) -> list[str | None]:
            raise error

    emitter.set_event_stream(Broken())
    service.create_mission(MissionCreate(name="n"))
    assert system.redis.xlen(KEYS.outbox) == 2


def test_a_stream_that_answers_for_too_few_events_is_not_believed(system: System) -> None:
    class Short:
        def publish(self, events: Sequence[Event]) -> list[str | None]:
            return [None]

    emitter.set_event_stream(Short())
    service.create_mission(MissionCreate(name="n"))
    assert system.redis.xlen(KEYS.outbox) == 2


def test_an_acknowledgement_that_fails_is_no_error_of_the_write(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Store.command

    def command(self: Store, *args: str | int) -> object:
        if args[0] == "XDEL":
            raise StoreUnavailable
        return plain(self, *args)

    monkeypatch.setattr(Store, "command", command)
    assert invoke("create_mission").status == 201
    assert len(system.bus.events) == system.redis.xlen(KEYS.outbox) == 2


def test_a_namespace_is_known_to_the_relay_before_its_first_write(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(Store, "script", script)
    with pytest.raises(StoreUnavailable):
        service.create_mission(MissionCreate(name="n"), service.Write("acme"))
    assert system.redis.smembers("missions:namespaces") == {"acme"}


def test_a_namespace_that_a_failover_lost_is_registered_again(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    service.create_mission(MissionCreate(name="n"))
    system.redis.delete("missions:namespaces")
    service.create_mission(MissionCreate(name="n"))
    assert system.redis.smembers("missions:namespaces") == set()  # not at every write
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 301)
    service.create_mission(MissionCreate(name="n"))
    assert system.redis.smembers("missions:namespaces") == {"default"}
