"""Workers take missions, show signs of life, and are missed when they do not."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from missions import service, sweeper
from missions.domain.models import Claim, MissionCreate, MissionStatus
from missions.storage.keys import Keys, partition_of
from missions.storage.keys import due as due_of

from tests.conftest import Answer, Listener, invoke


def create(mission_id: str, **members: Any) -> Answer:
    answer = invoke("create_mission", body={"id": mission_id, "name": mission_id} | members)
    assert answer.status == 201, answer.text
    return answer


def claim(**members: Any) -> Answer:
    return invoke("claim_mission", body=members)


def swept() -> sweeper.Report:
    report = sweeper.Report()
    sweeper.sweep(report, lambda: None)
    return report


def test_a_worker_takes_the_mission_that_waits(stream: Listener) -> None:
    create("a", tags=["env=prod", "gpu"])
    stream.events.clear()
    taken = claim(lease=60, worker="worker 1")
    assert (taken.status, taken.body["id"], taken.body["status"]) == (200, "a", "RUNNING")
    assert (taken.body["worker"], taken.body["heartbeat_timeout"], taken.body["version"]) == ("worker 1", 60, 2)
    assert taken.body["started_at"] == taken.body["updated_at"]
    assert taken.body == invoke("get_mission", mission_id="a").body
    assert [event.type for event in stream.events] == ["mission.log_appended", "mission.status_changed"]
    assert stream.events[1].meta["tags"] == ["env=prod", "gpu"]
    entry = invoke("get_log", mission_id="a").body["log"][-1]
    assert entry["data"] == {"worker": "worker 1", "from": "PENDING", "to": "RUNNING"}
    nothing = claim()
    assert (nothing.status, nothing.text) == (204, "")


def test_only_missions_with_all_tags_are_taken(stream: Listener) -> None:
    create("a", tags=["x"])
    create("b", tags=["x", "y", "z"])
    assert claim(tags=["y", "x"]).body["id"] == "b"
    assert claim(tags=["y", "x"]).status == 204
    assert claim(tags=["x"]).body["id"] == "a"


def test_a_repeat_of_a_claim_gets_the_first_answer_and_204_is_not_recorded(stream: Listener) -> None:
    headers = {"idempotency-key": "k"}
    assert invoke("claim_mission", body={}, headers=headers).status == 204
    create("a", data={"x": 1})
    create("b")
    first = invoke("claim_mission", body={}, headers=headers)
    again = invoke("claim_mission", body={}, headers=headers)
    assert (again.status, again.body, again.headers["idempotency-replayed"]) == (200, first.body, "true")
    assert invoke("claim_mission", body={"lease": 5}, headers=headers).body["code"] == "idempotency_key_reused"


def test_a_mission_that_waits_for_its_moment_is_not_taken_before(stream: Listener) -> None:
    create("later", not_before=time.time() + 2)
    create("now")
    assert claim().body["id"] == "now"
    assert claim().status == 204
    time.sleep(2.1)
    assert claim().body["id"] == "later"


def test_no_two_workers_get_the_same_mission(stream: Listener) -> None:
    ids = [service.create_mission(MissionCreate(name=f"m{n}")).value.id for n in range(200)]

    def work(_: int) -> list[str]:
        found = []
        while taken := service.claim_mission(Claim()):
            found.append(taken.value.id)
        return found

    with ThreadPoolExecutor(8) as threads:
        taken = [each for found in threads.map(work, range(8)) for each in found]
    assert sorted(taken) == sorted(ids)


def test_a_sign_of_life_tells_progress_and_the_status(stream: Listener) -> None:
    create("a", heartbeat_timeout=60)
    early = invoke("heartbeat", mission_id="a").body
    assert (early["status"], early["next_before"]) == ("PENDING", None)
    claim()
    stream.events.clear()
    sign = invoke("heartbeat", mission_id="a", body={"progress": 0.25, "note": "step 1 of 4"})
    assert (sign.status, sign.body["status"], sign.body["next_before"]) == (200, "RUNNING", sign.body["active_at"] + 60)
    mission = invoke("get_mission", mission_id="a").body
    assert (mission["progress"], mission["note"], mission["active_at"]) == (0.25, "step 1 of 4", sign.body["active_at"])
    assert (mission["version"], stream.events) == (2, [])
    invoke("update_status", mission_id="a", body={"status": "CANCELLED", "reason": "not needed"})
    told = invoke("heartbeat", mission_id="a", raw="").body
    assert (told["status"], told["reason"]) == ("CANCELLED", "not needed")


@pytest.mark.parametrize(
    ("limits", "word"),
    [({"timeout": 1}, "timeout"), ({"heartbeat_timeout": 1}, "heartbeat_timeout"), ({}, "deadline")],
)
def test_what_is_overdue_fails_and_says_which_limit_it_was(
    stream: Listener, limits: dict[str, float], word: str
) -> None:
    create("a", **(limits or {"deadline": time.time() + 1}))
    claim()
    assert swept().failed == 0
    time.sleep(1.1)
    stream.events.clear()
    report = swept()
    assert (report.failed, report.oldest > 0) == (1, True)
    mission = invoke("get_mission", mission_id="a").body
    assert (mission["status"], mission["reason"].split(":")[0]) == ("FAILED", word)
    assert stream.events == []  # they are in the outbox
    late = invoke("update_status", mission_id="a", body={"status": "COMPLETED"})
    assert (late.status, late.body["current_status"], word in late.body["detail"]) == (409, "FAILED", True)


def test_what_waits_past_its_deadline_is_cancelled(stream: Listener) -> None:
    create("a", deadline=time.time() + 1)
    time.sleep(1.1)
    assert claim().status == 204
    overdue = invoke("list_missions", query={"overdue": "true"}).body["missions"]
    assert [each["id"] for each in overdue] == ["a"]
    assert swept().cancelled == 1
    assert invoke("get_mission", mission_id="a").body["status"] == "CANCELLED"
    assert invoke("list_missions", query={"overdue": "true"}).body["missions"] == []


def test_a_sign_of_life_in_time_keeps_a_mission_running(stream: Listener) -> None:
    create("a")
    claim(lease=1)
    for _ in range(3):
        time.sleep(0.5)
        invoke("heartbeat", mission_id="a")
        assert swept().failed == 0
    time.sleep(1.1)
    assert swept().failed == 1


def test_a_mission_that_fails_gets_its_next_attempt_until_none_is_left(stream: Listener) -> None:
    create("a", retries=1, backoff=0, tags=["x"], description="d")
    claim()
    stream.events.clear()
    failed = invoke("update_status", mission_id="a", body={"status": "FAILED"}).body
    second = invoke("get_mission", mission_id=failed["next_attempt"]).body
    assert (second["attempt"], second["retry_of"], second["status"], second["name"]) == (2, "a", "PENDING", "a")
    assert [event.type for event in stream.events] == [
        "mission.log_appended", "mission.status_changed", "mission.log_appended", "mission.created",
    ]  # fmt: skip
    created = stream.events[-1]
    assert (created.payload.mission_id, created.payload.description, created.meta["tags"]) == (second["id"], "d", ["x"])
    assert (created.meta["sequence"], created.timestamp) == (2, second["created_at"])
    assert invoke("get_log", mission_id=second["id"]).body["log"][0]["data"] == {"attempt": 2, "retry_of": "a"}
    assert claim().body["id"] == second["id"]
    last = invoke("update_status", mission_id=second["id"], body={"status": "FAILED"}).body
    assert last["next_attempt"] is None
    stats = invoke("get_stats").body["stats"]
    assert (stats["by_status"]["FAILED"], stats["all_time"]["created"], stats["all_time"]["failed"]) == (2, 2, 2)


def test_a_retry_by_hand_makes_the_next_attempt_once(stream: Listener) -> None:
    create("a")
    assert invoke("retry_mission", mission_id="a").body["code"] == "retry_refused"
    invoke("update_status", mission_id="a", body={"status": "CANCELLED"})
    first = invoke("retry_mission", mission_id="a", headers={"idempotency-key": "k"})
    assert (first.status, first.body["retry_of"], first.body["attempt"]) == (201, "a", 2)
    again = invoke("retry_mission", mission_id="a", headers={"idempotency-key": "k"})
    assert (again.status, again.body) == (201, first.body)
    refused = invoke("retry_mission", mission_id="a")
    assert (refused.status, refused.body["next_attempt"]) == (409, first.body["id"])


def test_a_removed_mission_is_gone_and_its_id_counts_on(stream: Listener, redis_client: redis.Redis) -> None:
    create("a", tags=["x"])
    assert invoke("delete_mission", mission_id="a").body["code"] == "mission_open"
    claim()
    invoke("update_status", mission_id="a", body={"status": "COMPLETED"})
    assert invoke("delete_mission", mission_id="a").status == 204
    assert invoke("delete_mission", mission_id="a").status == 204
    for operation in ("get_mission", "update_status", "append_log_entry", "get_log", "heartbeat", "retry_mission"):
        gone = invoke(operation, mission_id="a")
        assert (gone.status, gone.body["code"]) == (410, "mission_removed"), operation
    stats = invoke("get_stats").body["stats"]
    assert (stats["total"], stats["all_time"]["completed"], stats["duration"]["count"]) == (0, 1, 0)
    assert invoke("list_missions").body["missions"] == []
    again = create("a")
    assert again.body["version"] == 4
    assert stream.events[-1].meta["sequence"] == 8


@pytest.mark.parametrize("limit", ["1", "50"])
def test_lists_are_filtered_by_tags_names_and_status(stream: Listener, limit: str) -> None:
    create("a", tags=["x", "y"])
    create("b", tags=["x"])
    create("c", tags=["y", "x"])
    claim(tags=["y"])

    def walk(**query: str) -> list[str]:
        found, query = [], query | {"limit": limit}
        while True:
            page = invoke("list_missions", query=query)
            assert page.status == 200, page.text
            found += [each["id"] for each in page.body["missions"]]
            if not page.body["next_cursor"]:
                return found
            query["cursor"] = page.body["next_cursor"]

    assert walk(tag="x") == ["c", "b", "a"]
    assert walk(tag="x", order="oldest") == ["a", "b", "c"]
    assert walk(tag="x,y") == ["c", "a"]
    assert len(walk(tag="y", status="RUNNING")) == 1
    assert len(walk(tag="y", status="PENDING,RUNNING")) == 2
    for name in ("Nightly build", "nightly Test", "NIGHT", "Ünder"):
        invoke("create_mission", body={"id": name.replace(" ", "").replace("Ü", "U"), "name": name, "tags": ["n"]})
    assert walk(name="nightly ") == ["Nightlybuild", "nightlyTest"]
    assert walk(name="night") == ["NIGHT", "Nightlybuild", "nightlyTest"]
    assert walk(name="ÜN") == ["Under"]
    assert walk(name="night", status="RUNNING") == []
    assert walk(name="night", tag="n", status="PENDING") == ["NIGHT", "Nightlybuild", "nightlyTest"]


def test_a_claim_passes_over_what_waits_past_its_deadline_and_walks_the_rarest_tag(stream: Listener) -> None:
    soon = time.time() + 2.5
    for number in range(70):
        create(f"late{number}", deadline=soon, tags=["x"])
    create("good", tags=["x", "rare"])
    time.sleep(max(0, soon + 0.1 - time.time()))
    assert claim().body["id"] == "good"
    create("other", tags=["rare", "x"])
    assert claim(tags=["x", "rare"]).body["id"] == "other"


def test_a_filter_that_matches_more_than_a_hundred_is_followed_by_its_cursor(stream: Listener) -> None:
    for number in range(105):
        create(f"m{number}")
    first = invoke("cancel_missions", body={"filter": {"name": "m"}}).body
    assert len(first["results"]) == 100
    second = invoke("cancel_missions", body={"filter": {"name": "m"}, "cursor": first["next_cursor"]}).body
    assert (len(second["results"]), second["next_cursor"]) == (5, None)
    assert invoke("get_stats").body["stats"]["by_status"]["CANCELLED"] == 105


@pytest.mark.parametrize(
    "body",
    [{"ids": ["b"]}, {"ids": ["a"], "reason": "another"}, {"filter": {"name": "a"}}],
)
def test_a_key_of_a_cancel_is_for_one_request(stream: Listener, body: dict[str, Any]) -> None:
    create("a")
    headers = {"idempotency-key": "k"}
    assert invoke("cancel_missions", body={"ids": ["a"]}, headers=headers).status == 200
    again = invoke("cancel_missions", body=body, headers=headers)
    assert (again.status, again.body["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""), ({"ids": []}, "/ids"), ({"ids": [str(n) for n in range(101)]}, "/ids"),
        ({"filter": {}}, "/filter"),
        ({"ids": ["a"], "filter": {"name": "a"}}, ""), ({"filter": {"status": ["DONE"]}}, "/filter/status/0"),
    ],
)  # fmt: skip
def test_a_cancel_that_does_not_say_which_is_refused(stream: Listener, body: dict[str, Any], pointer: str) -> None:
    create("a")
    answer = invoke("cancel_missions", body=body)
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, pointer)
    assert invoke("get_mission", mission_id="a").body["status"] == "PENDING"


@pytest.mark.parametrize(
    ("operation", "body", "pointer"),
    [
        ("claim_mission", {"lease": 86401}, "/lease"), ("claim_mission", {"lease": 0}, "/lease"),
        ("claim_mission", {"worker": ""}, "/worker"), ("claim_mission", {"tags": ["a,b"]}, "/tags/0"),
        ("heartbeat", {"progress": 1.1}, "/progress"), ("heartbeat", {"progress": "1"}, "/progress"),
        ("heartbeat", {"note": "a\nb"}, "/note"),
    ],
)  # fmt: skip
def test_a_worker_is_told_which_field_is_wrong(
    stream: Listener, operation: str, body: dict[str, Any], pointer: str
) -> None:
    create("a")
    answer = invoke(operation, mission_id="a", body=body) if operation == "heartbeat" else invoke(operation, body=body)
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, pointer)
    assert invoke("get_mission", mission_id="a").body["status"] == "PENDING"


def test_missions_are_cancelled_together_and_a_repeat_is_about_the_same_ones(stream: Listener) -> None:
    for name in "abc":
        create(name, tags=["x"])
    claim(tags=["x"])
    done = invoke("cancel_missions", body={"ids": ["a", "nobody", "a"], "reason": "r"})
    assert [(each["id"], each["outcome"]) for each in done.body["results"]] == [
        ("a", "cancelled"),
        ("nobody", "refused"),
    ]
    headers = {"idempotency-key": "k"}
    first = invoke("cancel_missions", body={"filter": {"tags": ["x"]}}, headers=headers).body
    assert [(each["id"], each["outcome"]) for each in first["results"]] == [("b", "cancelled"), ("c", "cancelled")]
    create("d", tags=["x"])
    again = invoke("cancel_missions", body={"filter": {"tags": ["x"]}}, headers=headers).body
    assert [each["id"] for each in again["results"]] == ["b", "c"]
    assert invoke("get_mission", mission_id="d").body["status"] == "PENDING"


def test_the_history_counts_by_hour_and_day(stream: Listener) -> None:
    create("a")
    create("b")
    claim()
    invoke("update_status", mission_id="b", body={"status": "CANCELLED"})
    for step in ("hour", "day"):
        history = invoke("get_history", query={"step": step}).body["history"]
        assert (history[-1]["created"], history[-1]["cancelled"], history[-1]["failed"]) == (2, 1, 0)
    assert len(invoke("get_history", query={"from": str(time.time() - 7200)}).body["history"]) == 3


def test_a_list_that_has_not_changed_is_a_304(stream: Listener) -> None:
    create("a")
    for operation in ("list_missions", "get_stats"):
        tag = invoke(operation).headers["etag"]
        assert invoke(operation, headers={"if-none-match": tag}).status == 304
        create(operation)
        claim()
        invoke("heartbeat", mission_id="a")
        assert invoke(operation, headers={"if-none-match": tag}).status == 200


def test_who_did_it_is_told(stream: Listener) -> None:
    context = {"requestId": "r", "routeKey": "x", "authorizer": {"jwt": {"claims": {"sub": "alice"}}}}
    invoke("create_mission", requestContext=context)
    assert {event.meta["actor"] for event in stream.events} == {"alice"}
    iam = {"requestId": "s", "routeKey": "x", "authorizer": {"iam": {"userArn": "arn:aws:iam::1:user/bob"}}}
    invoke("update_status", requestContext=iam)
    assert invoke("get_log").body["log"][-1]["data"]["actor"] == "arn:aws:iam::1:user/bob"


def test_half_a_character_in_a_token_does_not_keep_its_caller_from_writing(stream: Listener) -> None:
    context = {"requestId": "r", "routeKey": "x", "authorizer": {"jwt": {"claims": {"sub": "al\ud800ice"}}}}
    assert invoke("create_mission", requestContext=context).status == 201
    assert {event.meta["actor"] for event in stream.events} == {"al\\ud800ice"}


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"timeout": -1}, "/timeout"), ({"timeout": "5"}, "/timeout"), ({"timeout": True}, "/timeout"),
        ({"deadline": 1703001234}, "/deadline"), ({"deadline": "2026-11-24"}, "/deadline"),
        ({"tags": [str(n) for n in range(11)]}, "/tags"), ({"tags": ["a b"]}, "/tags/0"),
        ({"retries": 11}, "/retries"), ({"backoff": 86401}, "/backoff"),
        ({"heartbeat_timeout": 86401}, "/heartbeat_timeout"),
        ({"retention": 1}, "/retention"),
        ({"not_before": 5000000000, "deadline": 4000000000}, "/not_before"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_the_field(stream: Listener, members: dict[str, Any], pointer: str) -> None:
    answer = invoke("create_mission", body={"name": "n", **members})
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, pointer)
    assert invoke("get_stats").body["stats"]["total"] == 0


def test_a_reason_that_looks_like_a_fact_is_none(stream: Listener) -> None:
    create("a")
    claim()
    change = {"status": "FAILED", "reason": "x removed=1 version=9 sequence=9 y"}
    failed = invoke("update_status", mission_id="a", body=change).body
    again = invoke("create_mission", body={"id": "a", "name": "a"})
    assert (again.status, again.body) == (200, failed)
    assert invoke("get_stats").body["stats"]["total"] == 1


def test_a_repeated_cancel_by_filter_gives_the_same_page(stream: Listener) -> None:
    for number in range(205):
        service.create_mission(MissionCreate(id=f"m{number}", name="m"))
    headers, body = {"idempotency-key": "k"}, {"filter": {"name": "m"}}
    first = invoke("cancel_missions", body=body, headers=headers).body
    again = invoke("cancel_missions", body=body, headers=headers).body
    assert again == first
    assert len(first["results"]) == 100
    last = invoke("cancel_missions", body=body | {"cursor": first["next_cursor"]}).body
    assert len(last["results"]) == 100
    rest = invoke("cancel_missions", body=body | {"cursor": last["next_cursor"]}).body
    assert (len(rest["results"]), rest["next_cursor"]) == (5, None)


def test_a_mission_that_was_completed_meanwhile_is_not_cancelled_by_a_filter(
    stream: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    create("a")
    claim()
    listed = service.list_missions

    def late(namespace: str, query: Any) -> Any:
        page = listed(namespace, query)
        service.update_status("a", MissionStatus.COMPLETED)
        return page

    monkeypatch.setattr(service, "list_missions", late)
    done = invoke("cancel_missions", body={"filter": {"name": "a"}}).body
    assert done["results"] == [{"id": "a", "outcome": "refused", "detail": "It became COMPLETED meanwhile."}]


@pytest.mark.parametrize("since_one_moment", [False, True])
def test_a_walk_shows_all_that_are_overdue_though_one_is_filed_again_meanwhile(
    stream: Listener, redis_client: redis.Redis, since_one_moment: bool
) -> None:
    for mission_id in "abhcd":
        create(mission_id, heartbeat_timeout=1)
        claim()
    time.sleep(0.7)
    invoke("heartbeat", mission_id="h")  # it is filed as due at its first limit, and is not due then
    time.sleep(0.5)
    if since_one_moment:
        redis_client.zadd(due_of(partition_of("default")), {f"default {each}": 1703001234000000 for each in "abhcd"})
    for limit in range(1, 6):
        found, query = [], {"overdue": "true", "limit": str(limit)}
        for _ in range(10):
            page = invoke("list_missions", query=query).body
            found += [each["id"] for each in page["missions"]]
            if not page["next_cursor"]:
                break
            if since_one_moment:  # the last one that was shown, too
                redis_client.zadd(due_of(partition_of("default")), {f"default {found[-1]}": 1703001234000001})
            query["cursor"] = page["next_cursor"]
        assert sorted({*found}) == ["a", "b", "c", "d"]
        if not since_one_moment:
            assert len(found) == 4
            redis_client.zadd(due_of(partition_of("default")), {"default h": time.time() * 1_000_000 - 600_000})


def test_a_walk_of_many_that_are_overdue_since_one_moment_ends(stream: Listener, redis_client: redis.Redis) -> None:
    ids = [f"m{number:04}" for number in range(1100)]
    for mission_id in ids:
        service.create_mission(MissionCreate(id=mission_id, name="m", deadline=4e9))
    due = due_of(partition_of("default"))
    redis_client.zadd(due, {f"default {mission_id}": 1703001234000000 for mission_id in ids})
    for mission_id in ids:
        key = Keys("default").mission(mission_id)
        redis_client.set(
            key, str(redis_client.get(key)).replace("deadline=4000000000000000", "deadline=1703001234000000")
        )
    found, query = [], {"overdue": "true", "limit": "200"}
    for _ in range(7):
        page = invoke("list_missions", query=query).body
        found += [each["id"] for each in page["missions"]]
        if not page["next_cursor"]:
            break
        query["cursor"] = page["next_cursor"]
    assert sorted(found) == ids


def test_a_claim_finds_its_tag_behind_many_that_wait_for_others(stream: Listener) -> None:
    for number in range(1050):
        service.create_mission(MissionCreate(id=f"b{number}", name="b", tags=["team=b"], not_before=1))
    create("a", tags=["team=a"], not_before=1)
    assert claim(tags=["team=a"]).body["id"] == "a"


def test_lost_records_are_no_candidates_for_ever(stream: Listener, redis_client: redis.Redis) -> None:
    for number in range(70):
        create(f"lost{number}", tags=["x"])
        redis_client.delete(Keys("default").mission(f"lost{number}"))
    create("good", tags=["x"])
    taken = [claim(tags=["x"]) for _ in range(2)]  # the first one tries up to 80 of them
    assert [each.body["id"] for each in taken if each.status == 200] == ["good"]


@pytest.mark.parametrize("after", ["heartbeat", "log", "change", "create", "delete", "retry"])
def test_an_etag_of_a_list_changes_though_the_clock_was_set_back(
    stream: Listener, redis_client: redis.Redis, after: str
) -> None:
    create("a")
    create("done")
    claim()
    claim()
    invoke("update_status", mission_id="done", body={"status": "FAILED"})
    future = "9" * 16
    redis_client.hset(Keys("default").stats, mapping={"last_updated": future, "changed": future})
    tags = {operation: invoke(operation).headers["etag"] for operation in ("list_missions", "get_stats")}
    match after:
        case "heartbeat":
            invoke("heartbeat", mission_id="a")
        case "log":
            invoke("append_log_entry", mission_id="a")
        case "change":
            invoke("update_status", mission_id="a", body={"status": "COMPLETED"})
        case "create":
            create("b")
        case "delete":
            invoke("delete_mission", mission_id="done")
        case "retry":
            invoke("retry_mission", mission_id="done")
    for operation, tag in tags.items():
        assert invoke(operation, headers={"if-none-match": tag}).status == 200


def test_a_key_that_was_used_for_a_mission_that_is_gone_does_not_show_another(stream: Listener) -> None:
    create("a")
    headers = {"idempotency-key": "k"}
    assert invoke("claim_mission", body={}, headers=headers).body["id"] == "a"
    changed = {"idempotency-key": "l"}
    invoke("update_status", mission_id="a", body={"status": "FAILED"}, headers=changed)
    retried = {"idempotency-key": "m"}
    assert invoke("retry_mission", mission_id="a", headers=retried).status == 201
    invoke("delete_mission", mission_id="a")
    create("a", description="another")
    assert invoke("claim_mission", body={}, headers=headers).status == 410
    assert invoke("update_status", mission_id="a", body={"status": "FAILED"}, headers=changed).status == 410
    assert invoke("retry_mission", mission_id="a", headers=retried).status == 410


def test_the_cursor_of_the_longest_name_is_taken(stream: Listener) -> None:
    for number in range(2):
        create(f"{number}{'x' * 127}", name="\ufb03" * 200)
    first = invoke("list_missions", query={"name": "ffi", "limit": "1"}).body
    second = invoke("list_missions", query={"name": "ffi", "limit": "1", "cursor": first["next_cursor"]})
    assert (second.status, second.body["missions"][0]["id"][0]) == (200, "1")
    other = invoke("list_missions", query={"name": "g", "cursor": first["next_cursor"]})
    assert (other.status, other.body["code"]) == (422, "invalid_cursor")


def test_old_hours_are_forgotten_when_a_mission_ends(stream: Listener, redis_client: redis.Redis) -> None:
    stats = Keys("default").stats
    redis_client.hset(stats, mapping={f"{hour} created": 1 for hour in range(9000)})
    create("a")
    claim()
    assert invoke("update_status", mission_id="a", body={"status": "COMPLETED"}).status == 200
    assert redis_client.hlen(stats) < 20
    assert invoke("get_stats").body["stats"]["all_time"]["completed"] == 1
