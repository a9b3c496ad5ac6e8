"""Each function, called with its sample invocation of events/."""

import re
from typing import Any

import pytest
import redis
from missions.storage.keys import Keys

from tests.conftest import Listener, invoke

OPERATIONS = [
    ("create_mission", 201),
    ("get_mission", 200),
    ("list_missions", 200),
    ("update_status", 200),
    ("append_log_entry", 201),
    ("get_log", 200),
    ("get_stats", 200),
    ("get_history", 200),
    ("claim_mission", 200),
    ("heartbeat", 200),
    ("cancel_missions", 200),
    ("retry_mission", 409),
    ("delete_mission", 409),
    ("health", 200),
]


@pytest.mark.parametrize(("operation", "status"), OPERATIONS)
def test_a_sample_invocation_is_answered(stream: Listener, operation: str, status: int) -> None:
    invoke("create_mission")
    assert invoke(operation).status == (200 if operation == "create_mission" else status)


def test_a_created_mission_is_answered_as_the_design_shows_it(stream: Listener) -> None:
    answer = invoke("create_mission")
    assert (answer.status, answer.headers["content-type"]) == (201, "application/json")
    created_at = answer.body.pop("created_at")
    assert answer.body == {
        "id": "deploy-42",
        "name": "Deploy Application v2.0",
        "description": "Deploy new version to production",
        "data": {"commit": "4f2a9c1", "region": "eu-central-1"},
        "status": "PENDING",
        "reason": None,
        "version": 1,
        "updated_at": created_at,
        "active_at": created_at,
        "attempt": 1,
        "tags": [],
        "retries": 0,
        "backoff": 0,
        **dict.fromkeys(
            ["started_at", "finished_at", "duration", "progress", "note", "worker", "retry_of", "next_attempt"]
        ),
        **dict.fromkeys(["timeout", "heartbeat_timeout", "deadline", "not_before", "retention"]),
    }
    assert invoke("get_mission").body == answer.body | {"created_at": created_at}


def test_a_mission_without_an_id_gets_one_of_its_own(stream: Listener) -> None:
    first, second = (invoke("create_mission", body={"name": "twin"}).body["id"] for _ in range(2))
    assert first != second


def test_creating_an_id_again_gives_the_mission_or_a_conflict(stream: Listener) -> None:
    first = invoke("create_mission", body={"id": "m", "name": "one", "data": {"a": 1, "b": []}})
    stream.events.clear()
    same = invoke("create_mission", body={"id": "m", "name": "one", "data": {"b": [], "a": 1}})
    other = invoke("create_mission", body={"id": "m", "name": "two"})
    assert (same.status, same.body) == (200, first.body)
    assert (other.status, other.body["code"]) == (409, "mission_exists")
    assert stream.events == []


def test_a_refused_transition_names_the_status_and_what_is_allowed(stream: Listener) -> None:
    invoke("create_mission")
    answer = invoke("update_status", body={"status": "COMPLETED"})
    assert answer.status == 409
    assert (answer.body["current_status"], answer.body["allowed"]) == ("PENDING", ["RUNNING", "CANCELLED"])


def test_asking_for_the_status_a_mission_has_changes_and_emits_nothing(stream: Listener) -> None:
    invoke("create_mission")
    before = invoke("get_mission")
    stream.events.clear()
    answer = invoke("update_status", body={"status": "PENDING"})
    assert (answer.status, answer.body) == (200, before.body)
    assert stream.events == []


def test_a_reason_is_shown_logged_and_published(stream: Listener) -> None:
    invoke("create_mission")
    answer = invoke("update_status", body={"status": "CANCELLED", "reason": "superseded by v2.1"})
    assert answer.body["reason"] == "superseded by v2.1"
    assert invoke("get_log").body["log"][-1]["data"] == {
        "reason": "superseded by v2.1",
        "from": "PENDING",
        "to": "CANCELLED",
    }
    assert stream.events[-1].meta["reason"] == "superseded by v2.1"


def test_data_come_back_as_they_were_sent(stream: Listener) -> None:
    data = {
        "empty": [],
        "none": {},
        "big": 2**63 - 1,
        "exact": 0.1,
        "text": 'é "quoted" \\ \u2028 👩‍💻',
        "deep": [[[{}]]],
    }
    created = invoke("create_mission", body={"name": "n", "data": data})
    assert created.body["data"] == invoke("get_mission", mission_id=created.body["id"]).body["data"] == data


def walk(operation: str, member: str, **query: str) -> list[Any]:
    pages = [invoke(operation, query=query)]
    while cursor := pages[-1].body["next_cursor"]:
        pages.append(invoke(operation, query=query | {"cursor": cursor}))
    return [each for page in pages for each in page.body[member]]


def test_missions_are_listed_newest_first_page_by_page(stream: Listener) -> None:
    ids = [invoke("create_mission", body={"name": str(n)}).body["id"] for n in range(7)]
    for mission_id in ids[:3]:
        invoke("update_status", mission_id=mission_id, body={"status": "RUNNING"})
    assert [mission["id"] for mission in walk("list_missions", "missions", limit="3")] == ids[::-1]
    running = walk("list_missions", "missions", limit="2", status="RUNNING")
    assert [mission["id"] for mission in running] == ids[2::-1]
    assert running[0] == invoke("get_mission", mission_id=ids[2]).body


def test_missions_of_one_moment_are_listed_by_id(stream: Listener, redis_client: redis.Redis) -> None:
    ids = [invoke("create_mission", body={"name": "n", "id": f"m{n}"}).body["id"] for n in range(5)]
    index = Keys("default").index
    redis_client.delete(index)
    for mission_id in ids:
        key = Keys("default").mission(mission_id)
        redis_client.zadd(index, {"PE1703001234567000" + mission_id: 0})
        redis_client.set(key, re.sub(r" created=\d+", " created=1703001234567000", str(redis_client.get(key))))
    assert [mission["id"] for mission in walk("list_missions", "missions", limit="2")] == ids[::-1]


def test_a_log_is_read_oldest_first_page_by_page(stream: Listener) -> None:
    invoke("create_mission")
    for number in range(5):
        invoke("append_log_entry", body={"message": f"step {number}", "level": "debug"})
    log = walk("get_log", "log", limit="2")
    assert [entry["message"] for entry in log] == ["Mission created", *(f"step {number}" for number in range(5))]
    assert set(log[1]) == {"timestamp", "level", "message", "data"}


def test_statistics_count_every_mission_by_its_status(stream: Listener) -> None:
    assert invoke("get_stats").body["stats"]["last_updated"] is None
    invoke("create_mission")
    invoke("create_mission", body={"name": "other"})
    changed = invoke("update_status", body={"status": "RUNNING"}).body
    assert invoke("get_stats").body["stats"] == {
        "total": 2,
        "by_status": {"PENDING": 1, "RUNNING": 1, "COMPLETED": 0, "FAILED": 0, "CANCELLED": 0},
        "all_time": {"created": 2, "completed": 0, "failed": 0, "cancelled": 0},
        "success_rate": None,
        "duration": {"count": 0, "mean": None, "p50": None, "p95": None},
        "last_updated": changed["updated_at"],
    }


def test_the_longest_mission_that_is_allowed_can_be_created_and_published(stream: Listener) -> None:
    body = {"name": "😀" * 200, "description": "😀" * 4000, "data": {"x": "a" * (65536 - 8)}}
    assert invoke("create_mission", body=body).status == 201
    assert invoke("append_log_entry", body={"message": "x"}).status == 404  # another id
    assert stream.events[-1].payload.description == body["description"]
