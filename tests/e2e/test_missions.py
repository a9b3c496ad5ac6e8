"""A mission's life over HTTP, and its events from the bus."""

import json
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from missions.domain.events import PAYLOADS

from tests.conftest import sample
from tests.e2e.conftest import Client, Tap

MISSIONS = "/api/missions"


def create(api: Client, **members: object) -> str:
    answer = api("POST", MISSIONS, {"name": "end to end", **members})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_the_stack_is_healthy(api: Client) -> None:
    answer = api("GET", f"{MISSIONS}/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_mission_lives_from_pending_to_completed_and_its_events_arrive(api: Client, tap: Tap) -> None:
    created = api("POST", MISSIONS, {"name": "Deploy v2.0", "description": "to production", "data": {"n": [1, {}]}})
    assert created.status_code == 201
    mission = created.json()
    own = f"{MISSIONS}/{mission['id']}"
    running = api("POST", f"{own}/status", {"status": "RUNNING"})
    entry = api("POST", f"{own}/log", {"level": "warning", "message": "halfway", "data": {"step": 1}})
    completed = api("POST", f"{own}/status", {"status": "COMPLETED", "reason": "all green"})
    assert [running.status_code, entry.status_code, completed.status_code] == [200, 201, 200]
    assert api("GET", own).json() == completed.json()
    log = api("GET", f"{own}/log").json()
    assert log["mission_id"] == mission["id"]
    assert [each["message"] for each in log["log"]] == [
        "Mission created",
        "Mission status changed",
        "halfway",
        "Mission status changed",
    ]

    events = tap.of_mission(mission["id"], 7)
    assert [(event["detail-type"], event["detail"]["target"]) for event in events] == [
        ("mission.log_appended", f"mission_{mission['id']}"),
        ("mission.created", None),
        ("mission.log_appended", f"mission_{mission['id']}"),
        ("mission.status_changed", f"mission_{mission['id']}"),
        ("mission.log_appended", f"mission_{mission['id']}"),
        ("mission.log_appended", f"mission_{mission['id']}"),
        ("mission.status_changed", f"mission_{mission['id']}"),
    ]
    for sequence, event in enumerate(events, start=1):
        assert sample(event["detail-type"]).keys() - event.keys() <= {"account"}  # which moto leaves out
        detail = event["detail"]
        assert list(detail) == ["id", "type", "source", "target", "timestamp", "payload", "meta"]
        assert UUID(detail["id"])
        assert event["source"] == detail["source"] == "missions_service"
        assert event["detail-type"] == detail["type"]
        assert list(detail["payload"]) == list(PAYLOADS[detail["type"]].model_fields)
        assert detail["meta"]["sequence"] == sequence
    assert events[1]["detail"]["payload"] == {
        "mission_id": mission["id"],
        "name": "Deploy v2.0",
        "description": "to production",
        "status": "PENDING",
        "created_at": mission["created_at"],
    }
    assert events[6]["detail"]["payload"] == {
        "mission_id": mission["id"],
        "old_status": "RUNNING",
        "new_status": "COMPLETED",
        "changed_at": completed.json()["updated_at"],
    }
    assert events[6]["detail"]["meta"]["reason"] == "all green"


def test_one_of_many_wins_a_transition(api: Client, tap: Tap) -> None:
    mission_id = create(api)
    own = f"{MISSIONS}/{mission_id}/status"
    api("POST", own, {"status": "RUNNING"})
    ends = ["COMPLETED", "FAILED"] * 4
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda status: api("POST", own, {"status": status}), ends))
    winner = api("GET", f"{MISSIONS}/{mission_id}").json()
    assert {answer.status_code for answer in answers} == {200, 409}
    assert all(answer.json() == winner for answer in answers if answer.status_code == 200)
    changes = [e["detail"]["payload"] for e in tap.of_mission(mission_id, 6) if e["detail-type"].endswith("changed")]
    assert [change["new_status"] for change in changes] == ["RUNNING", winner["status"]]


def test_a_repeated_write_takes_effect_once_and_a_stale_one_not_at_all(api: Client) -> None:
    own = f"{MISSIONS}/{create(api)}"
    headers = {"Idempotency-Key": str(uuid4()), "If-Match": '"1"'}
    first, again = (api("POST", f"{own}/status", {"status": "RUNNING"}, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    stale = api("POST", f"{own}/status", {"status": "FAILED"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    tag = api("GET", own).headers["ETag"]
    assert api("GET", own, headers={"If-None-Match": tag}).status_code == 304


def test_missions_and_logs_are_read_page_by_page(api: Client) -> None:
    ids = [create(api) for _ in range(5)]
    first = api("GET", f"{MISSIONS}?limit=2&status=PENDING").json()
    second = api("GET", f"{MISSIONS}?limit=2&status=PENDING&cursor={first['next_cursor']}").json()
    assert [mission["id"] for mission in first["missions"] + second["missions"]] == ids[:0:-1]
    log = api("GET", f"{MISSIONS}/{ids[0]}/log?limit=1").json()
    assert [entry["message"] for entry in log["log"]] == ["Mission created"]
    assert log["next_cursor"] is None


def test_statistics_follow_every_change(api: Client) -> None:
    before = api("GET", f"{MISSIONS}/stats/overview").json()["stats"]
    mission_id = create(api)
    api("POST", f"{MISSIONS}/{mission_id}/status", {"status": "CANCELLED"})
    after = api("GET", f"{MISSIONS}/stats/overview").json()["stats"]
    assert after["total"] == before["total"] + 1
    assert after["by_status"]["CANCELLED"] == before["by_status"]["CANCELLED"] + 1


def test_a_worker_takes_a_mission_shows_signs_of_life_and_the_mission_is_removed(api: Client, tap: Tap) -> None:
    label = f"team={uuid4()}"
    mission_id = create(api, tags=[label, "env=prod"], retries=1)
    create(api, tags=["env=prod"])
    own = f"{MISSIONS}/{mission_id}"
    claim = {"tags": [label], "lease": 60, "worker": "worker-1"}
    taken = api("POST", f"{MISSIONS}/claim", claim)
    assert (taken.status_code, taken.json()["id"], taken.json()["worker"]) == (200, mission_id, "worker-1")
    nothing = api("POST", f"{MISSIONS}/claim", claim)
    assert (nothing.status_code, nothing.content) == (204, b"")
    sign = api("POST", f"{own}/heartbeat", {"progress": 0.5, "note": "step 1 of 2"}).json()
    assert (sign["status"], sign["next_before"]) == ("RUNNING", sign["active_at"] + 60)
    assert api("POST", f"{own}/heartbeat").status_code == 200
    mission = api("GET", own).json()
    assert (mission["progress"], mission["note"], mission["heartbeat_timeout"]) == (0.5, "step 1 of 2", 60)
    failed = api("POST", f"{own}/status", {"status": "FAILED", "reason": "disk full"}).json()
    second = api("POST", f"{MISSIONS}/claim", {"tags": [label]}).json()
    assert (second["id"], second["retry_of"], second["attempt"]) == (failed["next_attempt"], mission_id, 2)
    assert api("POST", f"{MISSIONS}/{second['id']}/status", {"status": "COMPLETED"}).status_code == 200

    events = tap.of_mission(mission_id, 6) + tap.of_mission(second["id"], 6)
    assert [event["detail"]["meta"]["sequence"] for event in events] == [*range(1, 7), *range(1, 7)]
    assert all(event["detail"]["meta"]["tags"] == ["env=prod", label] for event in events)
    for each in (own, f"{MISSIONS}/{second['id']}"):
        assert [api("DELETE", each).status_code for _ in range(2)] == [204, 204]
        gone = api("GET", each)
        assert (gone.status_code, gone.json()["code"]) == (410, "mission_removed")
    assert api("GET", f"{MISSIONS}?tag={label}").json()["missions"] == []


def test_missions_are_cancelled_together_and_one_is_tried_again(api: Client) -> None:
    label = f"batch={uuid4()}"
    ids = [create(api, tags=[label]) for _ in range(3)]
    headers = {"Idempotency-Key": str(uuid4())}
    filtered = {"filter": {"tags": [label]}, "reason": "superseded"}
    first, again = (api("POST", f"{MISSIONS}/cancel", filtered, headers=headers).json() for _ in range(2))
    assert [(each["id"], each["outcome"]) for each in first["results"]] == [(each, "cancelled") for each in ids]
    assert [each["id"] for each in again["results"]] == ids
    retried = api("POST", f"{MISSIONS}/{ids[0]}/retry")
    assert (retried.status_code, retried.json()["retry_of"]) == (201, ids[0])
    refused = api("POST", f"{MISSIONS}/{ids[0]}/retry")
    assert (refused.status_code, refused.json()["next_attempt"]) == (409, retried.json()["id"])


def test_who_polls_a_list_is_told_that_nothing_changed(api: Client) -> None:
    create(api)
    for path in (MISSIONS, f"{MISSIONS}/stats/overview"):
        tag = api("GET", path).headers["ETag"]
        assert api("GET", path, headers={"If-None-Match": tag}).status_code == 304
        create(api)
        assert api("GET", path, headers={"If-None-Match": tag}).status_code == 200


def test_the_history_counts_what_was_created(api: Client) -> None:
    create(api)
    history = api("GET", f"{MISSIONS}/stats/history?step=day").json()["history"]
    assert history[-1]["created"] >= 1


def test_creating_an_id_again_is_answered_with_the_mission(api: Client) -> None:
    mission_id = f"again-{uuid4()}"
    create(api, id=mission_id)
    assert api("POST", MISSIONS, {"name": "end to end", "id": mission_id}).status_code == 200
    assert api("POST", MISSIONS, {"name": "another", "id": mission_id}).status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", MISSIONS, {"name": ""}, 422),
        ("POST", MISSIONS, {"name": "n", "id": "health"}, 422),
        ("GET", f"{MISSIONS}/nobody", None, 404),
        ("GET", f"{MISSIONS}/nobody/log", None, 404),
        ("POST", f"{MISSIONS}/nobody/log", {"message": "m"}, 404),
        ("POST", f"{MISSIONS}/nobody/status", {"status": "RUNNING"}, 404),
        ("POST", f"{MISSIONS}/nobody/status", {"status": "DONE"}, 422),
        ("GET", f"{MISSIONS}?limit=0", None, 422),
        ("GET", f"{MISSIONS}?cursor=nonsense", None, 422),
        ("POST", f"{MISSIONS}/claim", {"lease": 0}, 422),
        ("POST", f"{MISSIONS}/nobody/heartbeat", {"progress": 2}, 422),
        ("POST", f"{MISSIONS}/nobody/heartbeat", None, 404),
        ("POST", f"{MISSIONS}/nobody/retry", None, 404),
        ("DELETE", f"{MISSIONS}/nobody", None, 404),
        ("POST", f"{MISSIONS}/cancel", {"filter": {}}, 422),
        ("GET", f"{MISSIONS}/stats/history?step=minute", None, 422),
    ],
)
def test_bad_input_is_refused_with_a_problem(api: Client, method: str, path: str, body: object, status: int) -> None:
    answer = api(method, path, body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = json.loads(answer.text)
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["code"]


def test_an_id_with_an_encoded_slash_reaches_no_mission(api: Client) -> None:
    assert 400 <= api("GET", f"{MISSIONS}/a%2Fb").status_code < 500
