"""What clients build on: versions, retries, listings that can be walked, logs that can be polled, statistics."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import redis
from missions import service
from missions.domain import durations
from missions.domain.models import LogEntry, MissionStatus
from missions.storage.keys import Keys

from tests.conftest import Answer, Listener, fresh_sandbox, invoke, sample

KEYS = Keys("default")


def create(mission_id: str) -> dict[str, Any]:
    body: dict[str, Any] = invoke("create_mission", body={"id": mission_id, "name": mission_id}).body
    return body


def change(mission_id: str, status: str, **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return invoke("update_status", mission_id=mission_id, body={"status": status}, headers=sent)


def ids(**query: str) -> list[str]:
    """The ids of all pages."""
    found: list[str] = []
    while True:
        page = invoke("list_missions", query=query).body
        found += [mission["id"] for mission in page["missions"]]
        if not page["next_cursor"]:
            return found
        query["cursor"] = page["next_cursor"]


# Versions


def etag(mission: Any) -> str:
    """The entity tag that a mission must have: its version, and its last sign of life in microseconds."""
    return f'"{mission["version"]}-{round(mission["active_at"] * 1e6)}"'


def test_the_etag_is_the_version_and_the_last_sign_of_life(stream: Listener) -> None:
    created = invoke("create_mission")
    assert (created.headers["etag"], created.body["version"]) == (etag(created.body), 1)
    invoke("append_log_entry")
    logged = invoke("get_mission")
    assert (logged.body["version"], logged.headers["etag"]) == (1, etag(logged.body))
    assert logged.headers["etag"] != created.headers["etag"]
    changed = change("deploy-42", "RUNNING")
    assert (changed.headers["etag"], changed.body["version"]) == (etag(changed.body), 2)
    assert invoke("get_mission").headers["etag"] == changed.headers["etag"]


def test_a_log_entry_hinders_no_change_that_names_the_version(stream: Listener) -> None:
    tag = invoke("create_mission").headers["etag"]
    invoke("append_log_entry")
    assert change("deploy-42", "RUNNING", if_match=tag).status == 200


def test_only_one_of_two_workers_claims_a_mission(stream: Listener, untouched: Callable[[], None]) -> None:
    etag = invoke("create_mission").headers["etag"]
    assert change("deploy-42", "RUNNING", if_match=etag).status == 200
    untouched()
    late = change("deploy-42", "RUNNING", if_match=etag)  # which would be 200 without If-Match
    assert (late.status, late.body["code"], late.body["current_version"]) == (412, "stale_version", 2)


def test_if_match_takes_any_version_as_a_star(stream: Listener) -> None:
    invoke("create_mission")
    assert change("deploy-42", "RUNNING", if_match="*").status == 200


@pytest.mark.parametrize("tag", ["1", '"1" "2"', '*, "1"', '"a b"', "W/1", 'w/"1"', '"1', "\n"])
def test_an_if_match_that_is_no_list_of_entity_tags_is_refused(
    stream: Listener, untouched: Callable[[], None], tag: str
) -> None:
    invoke("create_mission")
    untouched()
    answer = change("deploy-42", "RUNNING", if_match=tag)
    assert (answer.status, answer.body["code"]) == (422, "invalid_if_match")


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ('"1"', 200),
        ('"7", "1"', 200),
        (', "7" ,\t"1",,', 200),
        ('"a,b", "1"', 200),
        ('W/"1", "1"', 200),
        ('"stale"', 412),
        ('"01"', 412),
        ('W/"1"', 412),
        ('"2", "3"', 412),
        ('""', 412),
        ("", 412),
        (" ,\t,", 412),
        ('"١"', 412),
        ('"' + "9" * 30 + '"', 412),
    ],
)
def test_if_match_is_a_list_of_entity_tags_that_are_compared_strongly(stream: Listener, tags: str, status: int) -> None:
    invoke("create_mission")
    answer = change("deploy-42", "RUNNING", if_match=tags)
    assert answer.status == status
    assert invoke("get_mission").body["status"] == ("RUNNING" if status == 200 else "PENDING")
    if status == 412:
        assert (answer.body["code"], answer.body["current_version"]) == ("stale_version", 1)


def test_a_key_with_another_if_match_is_the_same_request(stream: Listener) -> None:
    """A client that reads the version again before it retries gets the first answer."""
    invoke("create_mission")
    first = change("deploy-42", "RUNNING", idempotency_key="k", if_match='"1"')
    again = change("deploy-42", "RUNNING", idempotency_key="k", if_match='"2"')
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("known", "status"),
    [
        ("TAG", 304),
        ("W/TAG", 304),
        ('"7", TAG', 304),
        ("*", 304),
        ('"1"', 200),
        ('"2"', 200),
        ("", 200),
        ("1", 200),
        ("xTAGy", 200),
        ('TAG "2"', 200),
    ],
)
def test_what_a_client_knows_is_not_sent_again(stream: Listener, known: str, status: int) -> None:
    tag = invoke("create_mission").headers["etag"]
    answer = invoke("get_mission", headers={"if-none-match": known.replace("TAG", tag)})
    assert (answer.status, bool(answer.text), answer.headers["etag"]) == (status, status == 200, tag)


# Idempotency-Key

WRITES = [
    ("create_mission", {"name": "n"}),
    ("update_status", {"status": "RUNNING"}),
    ("append_log_entry", {"message": "m"}),
    ("append_log_entry", {"entries": [{"message": "a"}, {"message": "b"}]}),
]


@pytest.mark.parametrize(("operation", "body"), WRITES)
def test_a_key_makes_a_repeated_write_happen_once(
    stream: Listener, untouched: Callable[[], None], operation: str, body: Any
) -> None:
    invoke("create_mission")
    first = invoke(operation, body=body, headers={"idempotency-key": "k"})
    assert "idempotency-replayed" not in first.headers
    untouched()
    again = invoke(operation, body=body, headers={"idempotency-key": "k"})
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status, again.body) == (first.status, first.body)


def test_a_replay_is_the_first_answer_though_the_mission_has_moved_on(stream: Listener) -> None:
    invoke("create_mission")
    first = change("deploy-42", "RUNNING", idempotency_key="k")
    change("deploy-42", "FAILED")
    again = change("deploy-42", "RUNNING", idempotency_key="k")
    assert (again.status, again.body, again.headers["etag"]) == (200, first.body, first.headers["etag"])


OTHERS = [
    ("create_mission", {"body": {"name": "other"}}),
    ("create_mission", {"body": {"name": "n", "id": "other"}}),
    ("update_status", {"body": {"status": "RUNNING"}}),
    ("append_log_entry", {"body": {"message": "m"}}),
    ("append_log_entry", {"body": {"message": "m"}, "mission_id": "nobody"}),
]


@pytest.mark.parametrize(("operation", "changes"), OTHERS)
def test_a_key_with_another_method_path_or_body_is_refused(
    stream: Listener, untouched: Callable[[], None], operation: str, changes: Any
) -> None:
    invoke("create_mission")
    invoke("create_mission", body={"name": "n"}, headers={"idempotency-key": "k"})
    untouched()
    answer = invoke(operation, headers={"idempotency-key": "k"}, **changes)
    assert (answer.status, answer.body["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("operation", "changes"),
    [
        *OTHERS,
        ("claim_mission", {"body": {}}),
        ("cancel_missions", {"body": {"filter": {"status": ["PENDING"]}}}),
        ("retry_mission", {}),
    ],
)
def test_one_attempt_is_one_request(
    stream: Listener, untouched: Callable[[], None], operation: str, changes: Any
) -> None:
    invoke("create_mission")
    same = {"requestContext": sample("create_mission")["requestContext"] | {"requestId": "same"}}
    first = invoke("create_mission", body={"name": "n", "id": "first"}, **same)
    untouched()
    own = {"requestContext": sample(operation)["requestContext"] | {"requestId": "same"}}
    answer = invoke(operation, **changes, **own)
    assert (first.status, answer.status, answer.body["code"]) == (201, 422, "idempotency_key_reused")
    assert invoke("create_mission", body={"name": "n", "id": "first"}, **same).body == first.body


def test_a_key_of_one_log_entry_is_not_that_of_a_batch(stream: Listener, untouched: Callable[[], None]) -> None:
    invoke("create_mission")
    key = {"idempotency-key": "k"}
    invoke("append_log_entry", body={"message": "m"}, headers=key)
    untouched()
    assert invoke("append_log_entry", body={"entries": [{"message": "m"}]}, headers=key).status == 422


def test_a_repeated_request_may_name_the_members_of_its_data_in_another_order(stream: Listener) -> None:
    invoke("create_mission")
    for data in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        answer = invoke("append_log_entry", body={"message": "m", "data": data}, headers={"idempotency-key": "k"})
        assert answer.status == 201
    assert answer.headers["idempotency-replayed"] == "true"


def test_a_refused_request_does_not_use_up_its_key(stream: Listener, untouched: Callable[[], None]) -> None:
    create("a")
    change("a", "CANCELLED")
    untouched()
    assert change("a", "RUNNING", idempotency_key="k").status == 409
    assert invoke("append_log_entry", mission_id="b", headers={"idempotency-key": "k"}).status == 404
    assert change("b", "RUNNING", idempotency_key="k").status == 404
    assert invoke("create_mission", body={"id": "a", "name": "z"}, headers={"idempotency-key": "k"}).status == 409


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "é", "\x7f"])
def test_a_key_that_is_not_printable_or_too_long_is_refused(untouched: Callable[[], None], key: str) -> None:
    answer = invoke("create_mission", headers={"idempotency-key": key})
    assert (answer.status, answer.body["code"]) == (422, "invalid_idempotency_key")


def test_keys_are_kept_for_a_day_or_as_long_as_set_and_request_ids_for_a_minute(
    stream: Listener, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def life(prefix: str) -> int:
        (token,) = redis_client.scan_iter(KEYS.token(prefix))
        return redis_client.ttl(token)

    invoke("create_mission", body={"name": "n"}, headers={"idempotency-key": "day"})
    assert 86390 <= life("key:day") <= 86400
    invoke("create_mission", body={"name": "n"})
    assert 55 <= life("attempt:*") <= 60
    monkeypatch.setenv("IDEMPOTENCY_KEY_LIFE", "120")
    fresh_sandbox(stream)
    invoke("create_mission", body={"name": "n"}, headers={"idempotency-key": "short"})
    assert 115 <= life("key:short") <= 120
    assert redis_client.ttl(KEYS.mission("deploy-42")) < 0


def test_api_gateway_calling_twice_for_one_request_changes_nothing_the_second_time(
    stream: Listener, untouched: Callable[[], None]
) -> None:
    invoke("create_mission")
    context = sample("append_log_entry")["requestContext"] | {"requestId": "one"}
    first = invoke("append_log_entry", requestContext=context)
    untouched()
    again = invoke("append_log_entry", requestContext=context)
    assert (again.status, again.body) == (201, first.body)


def test_null_is_an_empty_description_and_empty_data(stream: Listener) -> None:
    created = invoke("create_mission", body={"id": "m", "name": "n", "description": None, "data": None})
    assert (created.status, created.body["description"], created.body["data"]) == (201, "", {})
    assert invoke("create_mission", body={"id": "m", "name": "n"}).status == 200  # the same mission
    entry = invoke("append_log_entry", mission_id="m", body={"message": "x", "data": None})
    assert (entry.status, entry.body["data"]) == (201, {})
    assert stream.of_type("mission.created")[0].payload.description == ""


# Listing


def test_missions_are_listed_by_one_or_several_statuses_in_both_orders(stream: Listener) -> None:
    for mission_id in "abcdef":
        create(mission_id)
    for mission_id in "bcd":
        change(mission_id, "RUNNING")
    change("d", "FAILED")
    assert ids(limit="2") == list("fedcba")
    assert ids(limit="2", order="oldest") == list("abcdef")
    assert ids(limit="1", status="RUNNING") == list("cb")
    assert ids(limit="1", status="RUNNING,FAILED", order="oldest") == list("bcd")
    assert ids(status="COMPLETED") == []


def test_missions_with_the_longest_ids_are_listed_page_by_page(stream: Listener) -> None:
    names = [letter * 128 for letter in "abc"]
    for name in names:
        create(name)
    assert ids(limit="1") == names[::-1]


def test_a_status_that_is_named_twice_lists_no_mission_twice(stream: Listener) -> None:
    create("a")
    assert ids(status="PENDING,PENDING") == ["a"]


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_page_is_never_larger_than_lambda_can_answer(stream: Listener, order: str) -> None:
    quotes = {"x": '"' * 30_000}  # which doubles in JSON, and again in the payload that holds it
    for number in range(100):
        invoke("create_mission", body={"id": f"m{number:02}", "name": "n", "data": quotes})
    query = {"limit": "200", "order": order}
    found = []
    while True:
        page = invoke("list_missions", query=query)
        assert len(json.dumps(page.text)) < 6_000_000
        found += [mission["id"] for mission in page.body["missions"]]
        if not page.body["next_cursor"]:
            break
        query["cursor"] = page.body["next_cursor"]
    assert found == sorted((f"m{number:02}" for number in range(100)), reverse=order == "newest")


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("level", [{}, {"level": "info"}])
def test_a_page_of_a_log_is_never_larger_than_lambda_can_answer(
    stream: Listener, order: str, level: dict[str, str]
) -> None:
    invoke("create_mission")
    for number in range(300):
        invoke("append_log_entry", body={"message": f"{number:03}" + "x" * 8000, "data": {"x": '"' * 8_000}})
    query = {"limit": "200", "order": order, **level}
    found = []
    while True:
        page = invoke("get_log", query=query)
        assert len(json.dumps(page.text)) < 6_000_000
        found += [entry["message"][:3] for entry in page.body["log"]]
        if not page.body["next_cursor"]:
            break
        query["cursor"] = page.body["next_cursor"]
    found.remove("Mis")
    assert found == sorted((f"{number:03}" for number in range(300)), reverse=order == "newest")


def test_missions_are_listed_by_the_time_of_their_creation_both_ends_excluded(stream: Listener) -> None:
    at = {mission_id: repr(create(mission_id)["created_at"]) for mission_id in "abcde"}
    assert ids(created_after=at["b"]) == list("edc")
    assert ids(created_before=at["d"], limit="1") == list("cba")
    assert ids(created_after=at["a"], created_before=at["e"], order="oldest", limit="2") == list("bcd")
    assert ids(created_after=at["e"]) == []


def test_a_cursor_of_one_order_is_refused_by_the_other(stream: Listener) -> None:
    create("a")
    create("b")
    cursor = invoke("list_missions", query={"limit": "1"}).body["next_cursor"]
    answer = invoke("list_missions", query={"cursor": cursor, "order": "oldest"})
    assert (answer.status, answer.body["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_walk_sees_every_mission_that_matched_throughout_exactly_once_while_missions_come_and_change(
    stream: Listener, order: str
) -> None:
    chance = random.Random(order)
    before = [create(f"m{number}")["id"] for number in range(40)]
    stay = set(before[::2])
    seen: list[str] = []
    query = {"limit": "3", "order": order, "status": "PENDING,RUNNING"}
    while True:
        page = invoke("list_missions", query=query).body
        seen += [mission["id"] for mission in page["missions"]]
        create(f"new{len(seen)}")
        for mission_id in chance.sample(before, 4):
            wanted = "RUNNING" if mission_id in stay else "CANCELLED"
            assert change(mission_id, wanted).status == 200
        for mission in page["missions"]:  # as it was when it was listed, get had shown it, too
            assert mission["status"] in ("PENDING", "RUNNING")
        if len(seen) > 100 or not page["next_cursor"]:
            break
        query["cursor"] = page["next_cursor"]
    assert len(seen) == len(set(seen))
    assert stay <= set(seen)


def test_a_list_shows_what_get_shows(stream: Listener) -> None:
    invoke("create_mission")
    invoke("update_status", body={"status": "RUNNING", "reason": "why"})
    assert invoke("list_missions").body["missions"] == [invoke("get_mission").body]


# Logs


def messages(answer: Answer) -> list[str]:
    return [entry["message"] for entry in answer.body["log"]]


def fill(count: int, levels: str = "info") -> None:
    invoke("create_mission")
    names = levels.split(",")
    entries = [{"message": str(n), "level": names[n % len(names)]} for n in range(count)]
    for first in range(0, count, 100):
        assert invoke("append_log_entry", body={"entries": entries[first : first + 100]}).status == 201


def test_a_batch_is_appended_whole_with_one_event_for_each_entry(stream: Listener) -> None:
    invoke("create_mission")
    stream.events.clear()
    body = {"entries": [{"message": str(number), "level": "debug", "data": {"n": number}} for number in range(100)]}
    answer = invoke("append_log_entry", body=body)
    assert answer.status == 201
    assert [entry["message"] for entry in answer.body["entries"]] == [str(number) for number in range(100)]
    assert [event.payload.message for event in stream.events] == [str(number) for number in range(100)]
    assert [event.meta["sequence"] for event in stream.events] == list(range(3, 103))
    assert len({entry["timestamp"] for entry in answer.body["entries"]}) == 1
    assert invoke("get_log", query={"limit": "200"}).body["log"][1:] == answer.body["entries"]


def test_a_log_is_read_the_newest_first(stream: Listener) -> None:
    fill(5)
    page = invoke("get_log", query={"order": "newest", "limit": "4"})
    assert messages(page) == ["4", "3", "2", "1"]
    page = invoke("get_log", query={"order": "newest", "limit": "4", "cursor": page.body["next_cursor"]})
    assert (messages(page), page.body["next_cursor"], page.body["poll_cursor"]) == (
        ["0", "Mission created"],
        None,
        None,
    )


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("limit", ["1", "7", "200"])
def test_a_log_is_filtered_by_level(stream: Listener, order: str, limit: str) -> None:
    fill(100, "error,debug,warning,debug")
    found = []
    query = {"level": "error,warning", "limit": limit, "order": order}
    while True:
        page = invoke("get_log", query=query)
        assert len(page.body["log"]) <= int(limit)
        found += messages(page)
        if not page.body["next_cursor"]:
            break
        query["cursor"] = page.body["next_cursor"]
    assert sorted(map(int, found)) == list(range(0, 100, 2))
    assert found == sorted(found, key=int, reverse=order == "newest")


def test_a_filter_that_finds_little_examines_a_bounded_part_and_goes_on_from_there(stream: Listener) -> None:
    fill(2500, "debug")
    invoke("append_log_entry", body={"message": "at last", "level": "error"})
    cursor: dict[str, str] = {}
    pages = []
    while True:
        pages.append(invoke("get_log", query={"level": "error", **cursor}))
        if not pages[-1].body["next_cursor"]:
            break
        cursor = {"cursor": pages[-1].body["next_cursor"]}
    assert [messages(page) for page in pages] == [[], [], ["at last"]]


def test_a_reader_that_polls_gets_exactly_what_is_new(stream: Listener) -> None:
    fill(3)
    cursor = invoke("get_log", query={"order": "newest", "limit": "1"}).body["poll_cursor"]
    for number in range(10, 14):
        page = invoke("get_log", query={"cursor": cursor})
        assert (messages(page), page.body["next_cursor"]) == ([], None)
        cursor = page.body["poll_cursor"]
        invoke("append_log_entry", body={"entries": [{"message": str(number)}, {"message": "and"}]})
        page = invoke("get_log", query={"cursor": cursor})
        assert messages(page) == [str(number), "and"]
        cursor = page.body["poll_cursor"]


# Statistics


def run(mission_id: str, end: str, redis_client: redis.Redis, milliseconds: int) -> None:
    """Create, start and end a mission that ran this long: the store's clock is not waited for, its start is moved."""
    create(mission_id)
    change(mission_id, "RUNNING")
    key = KEYS.mission(mission_id)
    record = str(redis_client.get(key))
    (started,) = re.findall(r" updated=(\d+)", record)
    earlier = int(started) - milliseconds * 1000
    redis_client.set(key, record.replace(f"={started}", f"={earlier}"))
    change(mission_id, end)


def test_success_rate_and_durations_are_those_of_the_finished_missions(
    stream: Listener, redis_client: redis.Redis
) -> None:
    spans = [100 * number for number in range(1, 21)]
    for number, span in enumerate(spans):
        run(f"m{number}", "FAILED" if number % 4 == 0 else "COMPLETED", redis_client, span)
    stats = invoke("get_stats").body["stats"]
    assert stats["success_rate"] == 0.75
    assert stats["duration"]["count"] == 20
    assert stats["duration"]["mean"] == pytest.approx(sum(spans) / 20 / 1000, abs=0.1)
    assert stats["duration"]["p50"] == pytest.approx(1.0, rel=0.05)
    assert stats["duration"]["p95"] == pytest.approx(1.9, rel=0.05)


def test_a_finished_mission_that_is_cancelled_leaves_rate_and_durations(
    stream: Listener, redis_client: redis.Redis
) -> None:
    run("a", "COMPLETED", redis_client, 1000)
    alone = invoke("get_stats").body["stats"]
    run("b", "FAILED", redis_client, 50_000)
    change("b", "CANCELLED")
    stats = invoke("get_stats").body["stats"]
    assert (stats["success_rate"], stats["duration"]) == (1.0, alone["duration"])
    change("a", "CANCELLED")
    stats = invoke("get_stats").body["stats"]
    assert (stats["success_rate"], stats["duration"]["count"]) == (None, 0)


def test_the_buckets_of_the_store_are_those_that_the_percentiles_read(
    stream: Listener, redis_client: redis.Redis
) -> None:
    for number, span in enumerate([0, 1, 31, 32, 33, 63, 64, 1000, 123_456, 10**9]):
        run(f"m{number}", "COMPLETED", redis_client, span)
    buckets = [int(name) for name in redis_client.hkeys(KEYS.durations) if name != "sum"]
    assert all(name % durations._width(name) == 0 for name in buckets)


# One round trip, and an unbroken answer


def test_a_log_entry_comes_back_as_it_was_taken(stream: Listener) -> None:
    invoke("create_mission")
    entry = {"level": "debug", "message": 'ä\n😀"', "data": {"a": [1, 2.5, None, {"b": []}], "n": 2**53 + 1}}
    answer = invoke("append_log_entry", body=entry).body
    assert LogEntry.model_validate(answer).model_dump(exclude={"timestamp"}) == entry


def test_the_service_itself_answers_without_a_query(stream: Listener) -> None:
    create("a")
    assert [mission.id for mission in service.list_missions().missions] == ["a"]
    assert len(service.get_log("a").log) == 1
    assert service.get_stats().by_status[MissionStatus.PENDING] == 1
