"""The envelope and payloads are the specification's."""

import json
from uuid import RFC_4122, UUID

import pytest
from missions.domain import events
from missions.domain.events import PAYLOADS, Event, EventType, OutboxEntry

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


def entry(*drafts: events.Draft, old_status: str = "") -> OutboxEntry:
    return OutboxEntry("1-1", "acme", "m", 1703001300123000, 7, old_status, json.dumps(drafts))


def test_a_draft_and_what_the_store_adds_make_the_whole_envelope() -> None:
    draft = events.draft("mission.status_changed", {"new_status": "FAILED"}, offset=1, reason="disk full")
    (event,) = entry(draft, old_status="RUNNING").envelopes()
    assert event.model_dump(mode="json") == {
        "id": draft["id"],
        "type": "mission.status_changed",
        "source": "missions_service",
        "target": "mission_m",
        "timestamp": 1703001300.123,
        "payload": {"mission_id": "m", "old_status": "RUNNING", "new_status": "FAILED", "changed_at": 1703001300.123},
        "meta": {"namespace": "acme", "sequence": 8, "reason": "disk full"},
    }


def test_the_events_of_a_batch_share_a_moment_and_count_on() -> None:
    payload = {"log_level": "info", "message": "m"}
    drafts = [events.draft("mission.log_appended", payload, offset=offset) for offset in range(3)]
    made = entry(*drafts).envelopes()
    assert [event.meta["sequence"] for event in made] == [7, 8, 9]
    assert {event.timestamp for event in made} == {1703001300.123}
    assert len({event.id for event in made}) == 3


def test_what_is_left_of_an_entry_is_the_same_events_as_before() -> None:
    payload = {"log_level": "info", "message": "m"}
    whole = entry(*(events.draft("mission.log_appended", payload, offset=offset) for offset in range(3)))
    made = whole.envelopes()
    left = OutboxEntry("2-1", "acme", "m", 1703001300123000, 7, "", whole.only({made[1].id}))
    assert left.envelopes() == [made[1]]


def test_an_event_id_is_a_random_uuid_of_version_4() -> None:
    ids = [events.draft("mission.created", {})["id"] for _ in range(1000)]
    assert all(str(UUID(each)) == each and UUID(each).version == 4 and UUID(each).variant == RFC_4122 for each in ids)
    assert len(set(ids)) == 1000
    for place in set(range(36)) - {8, 13, 14, 18, 23}:
        assert len({each[place] for each in ids}) == (4 if place == 19 else 16)
