"""The test cases of the specification's section "Test Cases", by their names, against a real Valkey server."""

from uuid import UUID

import pytest
from missions import service
from missions.domain.models import LogLevel, MissionCreate, MissionLogEntry, MissionStatus

from tests.conftest import Listener


@pytest.fixture
def sample_mission_create() -> MissionCreate:
    return MissionCreate(name="Deploy Application v2.0", description="Deploy new version to production")


def test_mission_created(stream: Listener, sample_mission_create: MissionCreate) -> None:
    mission = service.create_mission(sample_mission_create).value

    (event,) = stream.of_type("mission.created")
    assert event.source == "missions_service"
    assert event.target is None
    assert event.payload.model_dump() == {
        "mission_id": mission.id,
        "name": sample_mission_create.name,
        "description": sample_mission_create.description,
        "status": "PENDING",
        "created_at": mission.created_at,
    }


def test_mission_status_changed(stream: Listener, sample_mission_create: MissionCreate) -> None:
    mission = service.create_mission(sample_mission_create).value
    stream.events.clear()

    updated = service.update_status(mission.id, MissionStatus.RUNNING).value

    (event,) = stream.of_type("mission.status_changed")
    assert event.target == f"mission_{mission.id}"
    assert event.payload.model_dump() == {
        "mission_id": mission.id,
        "old_status": "PENDING",
        "new_status": "RUNNING",
        "changed_at": updated.updated_at,
    }


def test_mission_log_appended(stream: Listener, sample_mission_create: MissionCreate) -> None:
    mission = service.create_mission(sample_mission_create).value
    stream.events.clear()

    entry = service.append_log_entry(mission.id, MissionLogEntry(level=LogLevel.INFO, message="Test log message")).value

    (event,) = stream.of_type("mission.log_appended")
    assert event.target == f"mission_{mission.id}"
    assert event.payload.model_dump() == {
        "mission_id": mission.id,
        "log_level": "info",
        "message": "Test log message",
        "appended_at": entry.timestamp,
    }


def test_mission_status_transitions(stream: Listener, sample_mission_create: MissionCreate) -> None:
    mission = service.create_mission(sample_mission_create).value
    stream.events.clear()

    service.update_status(mission.id, MissionStatus.RUNNING)
    service.update_status(mission.id, MissionStatus.COMPLETED)

    changes = [(e.payload.old_status, e.payload.new_status) for e in stream.of_type("mission.status_changed")]
    assert changes == [("PENDING", "RUNNING"), ("RUNNING", "COMPLETED")]


def test_mission_charter_compliance(stream: Listener, sample_mission_create: MissionCreate) -> None:
    mission = service.create_mission(sample_mission_create).value
    service.update_status(mission.id, MissionStatus.RUNNING)
    service.append_log_entry(mission.id, MissionLogEntry(level=LogLevel.INFO, message="Test"))

    assert [event.type for event in stream.events] == [
        "mission.log_appended",
        "mission.created",
        "mission.log_appended",
        "mission.status_changed",
        "mission.log_appended",
    ]
    for sequence, event in enumerate(stream.events, start=1):
        assert UUID(event.id).version == 4
        assert event.source == "missions_service"
        assert isinstance(event.timestamp, float)
        assert event.meta == {"namespace": "default", "sequence": sequence}
        assert list(event.model_dump()) == ["id", "type", "source", "target", "timestamp", "payload", "meta"]
    assert len({event.id for event in stream.events}) == len(stream.events)
