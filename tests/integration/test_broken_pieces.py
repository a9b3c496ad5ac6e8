"""A piece that is missing or broken in the store costs itself, and never a page or a mission."""

import logging

import pytest
import redis
from missions.storage import keys
from missions.storage.keys import Keys

from tests.conftest import Listener, invoke

KEYS = Keys("default")


def create(*mission_ids: str) -> None:
    for mission_id in mission_ids:
        assert invoke("create_mission", body={"id": mission_id, "name": mission_id}).status == 201


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("record", [None, "", "nonsense", "status=PENDING\n\n{}", "status=PENDING version=1\n"])
def test_a_mission_that_is_missing_or_broken_is_left_out_of_lists_with_an_error_in_the_log(
    stream: Listener, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture, record: str | None, order: str
) -> None:
    create(*"abcde")
    if record is None:
        redis_client.delete(KEYS.mission("c"))
    else:
        redis_client.set(KEYS.mission("c"), record)
    found, query = [], {"limit": "2", "order": order}
    while True:
        page = invoke("list_missions", query=query)
        assert page.status == 200
        found += [mission["id"] for mission in page.body["missions"]]
        if not page.body["next_cursor"]:
            break
        query["cursor"] = page.body["next_cursor"]
    assert sorted(found) == list("abde")
    (error,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert getattr(error, "mission_id", "") == "c" or "'c'" in str(error.exc_info)


def test_a_mission_whose_status_changed_after_the_index_was_read_is_left_out(
    stream: Listener, redis_client: redis.Redis
) -> None:
    create(*"abc")
    record = str(redis_client.get(KEYS.mission("b")))
    redis_client.set(KEYS.mission("b"), record.replace("status=PENDING", "status=RUNNING"))
    page = invoke("list_missions", query={"status": "PENDING"}).body
    assert [mission["id"] for mission in page["missions"]] == ["c", "a"]


FACTS = "status=PENDING version=1 created=1795557937815911 updated=1795557937815911 active=1795557937815911"


@pytest.mark.parametrize(
    "record",
    [
        "nonsense",
        "version=1\n\n{}",
        "x" * 1000 + "\n",
        f"{FACTS} sequence=x logged=1\n\n{{}}",
        f"{FACTS} sequence=2 logged=9007199254740996\n\n{{}}",
        f"{FACTS} sequence=2\n\n{{}}",
    ],
)
def test_a_broken_mission_alone_is_a_500_that_says_so_for_every_operation(
    stream: Listener, redis_client: redis.Redis, record: str
) -> None:
    create("a")
    redis_client.set(KEYS.mission("a"), record)
    for operation in ("update_status", "append_log_entry"):
        answer = invoke(operation, mission_id="a")
        assert (answer.status, answer.body["code"]) == (500, "broken_record"), operation
    for operation in ("get_mission", "get_log"):
        assert invoke(operation, mission_id="a", query={"level": "error"}).status in (200, 500)
    assert redis_client.get(KEYS.mission("a")) == record


@pytest.mark.parametrize(
    "record",
    [
        f"{FACTS} sequence=2 logged=1\n\nnonsense",
        f"{FACTS} sequence=2 logged=1\n\n[]",
        f"{FACTS.replace('PENDING', 'FOO')} sequence=2 logged=1\n\n{{}}",
        f"{FACTS.replace('version=1', 'version=x')} sequence=2 logged=1\n\n{{}}",
    ],
)
def test_what_cannot_be_shown_is_a_500_that_says_so_for_a_change_of_status_too(
    stream: Listener, redis_client: redis.Redis, record: str
) -> None:
    create("a")
    redis_client.set(KEYS.mission("a"), record)
    for operation in ("update_status", "get_mission"):
        answer = invoke(operation, mission_id="a")
        assert (answer.status, answer.body["code"]) == (500, "broken_record"), operation


def test_a_mission_of_a_wrong_type_or_with_broken_text_is_left_out_of_a_page(
    stream: Listener, redis_client: redis.Redis
) -> None:
    create(*"abcd")
    redis_client.delete(KEYS.mission("b"))
    redis_client.rpush(KEYS.mission("b"), "x")
    redis_client.set(KEYS.mission("c"), b"\xff" + str(redis_client.get(KEYS.mission("c"))).encode())
    page = invoke("list_missions")
    assert (page.status, [mission["id"] for mission in page.body["missions"]]) == (200, ["d", "a"])
    assert invoke("get_mission", mission_id="c").status == 500


def test_a_mission_that_was_lost_and_is_created_again_begins_anew_and_is_listed_once(
    stream: Listener, redis_client: redis.Redis
) -> None:
    create("a")
    invoke("append_log_entry", mission_id="a", body={"message": "of the first"})
    redis_client.delete(KEYS.mission("a"))
    create("a")
    invoke("append_log_entry", mission_id="a", body={"message": "of the second"})
    assert [mission["id"] for mission in invoke("list_missions").body["missions"]] == ["a"]
    log = invoke("get_log", mission_id="a").body["log"]
    assert [entry["message"] for entry in log] == ["Mission created", "of the second"]


@pytest.mark.parametrize("hurt", [{"RUNNING": "x"}, {"PENDING": "x"}])
def test_statistics_that_are_broken_refuse_a_write_whole(
    stream: Listener, redis_client: redis.Redis, hurt: dict[str, str]
) -> None:
    create("a")
    stream.events.clear()
    for name, value in hurt.items():
        redis_client.hset(KEYS.stats, name, value)
    before = redis_client.get(KEYS.mission("a"))
    assert invoke("update_status", mission_id="a", body={"status": "RUNNING"}).status == 500
    assert (redis_client.get(KEYS.mission("a")), redis_client.llen(KEYS.log("a"))) == (before, 1)
    assert stream.events == []


def test_an_outbox_that_takes_nothing_more_refuses_a_write_whole(stream: Listener, redis_client: redis.Redis) -> None:
    redis_client.xadd(keys.outbox(KEYS.partition), {"facts": "x", "drafts": "[]"}, id=f"{2**64 - 1}-{2**64 - 1}")
    assert invoke("create_mission").status == 503
    assert not redis_client.exists(KEYS.mission("deploy-42"), KEYS.log("deploy-42"), KEYS.stats)


def test_lost_durations_leave_the_statistics_readable(stream: Listener, redis_client: redis.Redis) -> None:
    create("a")
    for status in ("RUNNING", "COMPLETED"):
        invoke("update_status", mission_id="a", body={"status": status})
    redis_client.delete(KEYS.durations)
    invoke("update_status", mission_id="a", body={"status": "CANCELLED"})
    stats = invoke("get_stats")
    assert (stats.status, stats.body["stats"]["duration"]["count"]) == (200, 0)


def test_a_lost_log_keeps_no_mission_from_going_on(
    stream: Listener, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    create("a")
    end = invoke("get_log", mission_id="a").body["poll_cursor"]
    redis_client.delete(KEYS.log("a"))
    assert invoke("get_log", mission_id="a").body["log"] == []
    assert any("lost" in record.message for record in caplog.records if record.levelno == logging.ERROR)
    stream.events.clear()
    assert invoke("update_status", mission_id="a", body={"status": "RUNNING"}).status == 200
    assert invoke("append_log_entry", mission_id="a", body={"message": "on"}).status == 201
    assert [event.meta["sequence"] for event in stream.events] == [3, 4, 5]
    new = [entry["message"] for entry in invoke("get_log", mission_id="a", query={"cursor": end}).body["log"]]
    assert new == ["Mission status changed", "on"]
    newest = invoke("get_log", mission_id="a", query={"order": "newest"}).body
    assert ([entry["message"] for entry in newest["log"]], newest["next_cursor"]) == (new[::-1], None)


def test_a_broken_log_entry_is_left_out(stream: Listener, redis_client: redis.Redis) -> None:
    create("a")
    invoke("append_log_entry", mission_id="a", body={"entries": [{"message": "m"}] * 3})
    for position, broken in enumerate(["nonsense", "moment=x level=info\n{}", "level=info\n{}"], start=1):
        redis_client.lset(KEYS.log("a"), position, broken)
    assert [entry["message"] for entry in invoke("get_log", mission_id="a").body["log"]] == ["Mission created"]


def test_a_fact_that_a_later_version_adds_is_kept_by_this_one(stream: Listener, redis_client: redis.Redis) -> None:
    create("a")
    record = str(redis_client.get(KEYS.mission("a")))
    redis_client.set(KEYS.mission("a"), record.replace(" created=", " deadline=17 created=", 1))
    assert invoke("update_status", mission_id="a", body={"status": "RUNNING"}).status == 200
    for _ in range(10):
        assert invoke("append_log_entry", mission_id="a", body={"message": "on"}).status == 201
    facts, reason, content = str(redis_client.get(KEYS.mission("a"))).split("\n")
    assert " deadline=17 " in facts
    assert facts.startswith("status=RUNNING version=2 ")
    assert (" sequence=14 " in facts, " logged=12" in facts, reason, content) == (True, True, "", '{"name":"a"}')


def test_facts_that_need_more_than_the_first_bytes_of_a_record_are_found(
    stream: Listener, redis_client: redis.Redis
) -> None:
    create("a")
    record = str(redis_client.get(KEYS.mission("a")))
    redis_client.set(KEYS.mission("a"), f"note={'x' * 1000} {record}")
    assert invoke("append_log_entry", mission_id="a", body={"message": "on"}).status == 201
    assert len(invoke("get_log", mission_id="a").body["log"]) == 2
