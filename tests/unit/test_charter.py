"""The envelope and payloads are the specification's."""

import json

import pytest
from missions import charter
from missions.charter import PAYLOADS, Event, EventType

from tests.conftest import sample

KEYS = {
    "mission.created": ["mission_id", "name", "description", "status", "created_at"],
    "mission.status_changed": ["mission_id", "old_status", "new_status", "changed_at"],
    "mission.log_appended": ["mission_id", "log_level", "message", "appended_at"],
}


@pytest.mark.parametrize("event_type", KEYS)
def test_a_payload_has_the_keys_of_the_specification_in_its_order(event_type: EventType) -> None:
    assert list(PAYLOADS[event_type].model_fields) == KEYS[event_type]


@pytest.mark.parametrize("event_type", KEYS)
def test_the_sample_event_is_the_envelope_that_the_service_makes(event_type: EventType) -> None:
    detail = sample(event_type)["detail"]
    assert json.loads(Event.model_validate(detail).model_dump_json()) == detail


def test_facts_and_what_the_store_adds_make_the_whole_envelope() -> None:
    facts = charter.facts("mission.status_changed", {"mission_id": "m", "new_status": "FAILED"}, reason="disk full")
    event = Event.from_facts("acme", '{"sequence":7,"timestamp":1703001300.123,"old_status":"RUNNING",' + facts)
    assert event.model_dump(mode="json", exclude={"id"}) == {
        "type": "mission.status_changed",
        "source": "missions_service",
        "target": "mission_m",
        "timestamp": 1703001300.123,
        "payload": {"mission_id": "m", "old_status": "RUNNING", "new_status": "FAILED", "changed_at": 1703001300.123},
        "meta": {"namespace": "acme", "sequence": 7, "reason": "disk full"},
    }
