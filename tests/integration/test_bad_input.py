"""Bad input is refused with a clear 4xx that names the field; nothing is written, nothing is emitted."""

import base64
import concurrent.futures
import json
from collections.abc import Callable
from typing import Any

import pytest
from missions.domain import cursors

from tests.conftest import Listener, invoke

ARABIC = [cursors.encode("newest", "\u0661" * 16 + "a"), cursors.encode("oldest", "\u0661")]
DEEP = "[" * 100_000 + "]" * 100_000


def mission(**members: Any) -> dict[str, Any]:
    return {"name": "n", **members}


@pytest.mark.parametrize(
    ("operation", "body", "pointer"),
    [
        ("create_mission", {}, "/name"),
        ("create_mission", {"name": ""}, "/name"),
        ("create_mission", {"name": " \t"}, "/name"),
        ("create_mission", {"name": "a\nb"}, "/name"),
        ("create_mission", {"name": "x" * 201}, "/name"),
        ("create_mission", {"name": 7}, "/name"),
        ("create_mission", mission(description="x" * 4001), "/description"),
        ("create_mission", mission(description="\0"), "/description"),
        ("create_mission", mission(data=[]), "/data"),
        ("create_mission", mission(data={"x": "a" * 65536}), "/data"),
        ("create_mission", mission(data={"x": 2**63}), "/data"),
        ("create_mission", mission(data={"x": -(2**63) - 1}), "/data"),
        ("create_mission", mission(data={"\0": 1}), "/data"),
        ("create_mission", mission(nmae="typo"), "/nmae"),
        ("create_mission", mission(id=""), "/id"),
        ("create_mission", mission(id="a b"), "/id"),
        ("create_mission", mission(id="a/b"), "/id"),
        ("create_mission", mission(id="{x}"), "/id"),
        ("create_mission", mission(id="x\n"), "/id"),
        ("create_mission", mission(id="x" * 129), "/id"),
        ("create_mission", mission(id="stats"), "/id"),
        ("create_mission", mission(id=".."), "/id"),
        ("update_status", {"status": "DONE"}, "/status"),
        ("update_status", {"status": "running"}, "/status"),
        ("update_status", {}, "/status"),
        ("update_status", {"status": "RUNNING", "reason": "x" * 1001}, "/reason"),
        ("append_log_entry", {"level": "fatal", "message": "m"}, "/level"),
        ("append_log_entry", {"level": "info"}, "/message"),
        ("append_log_entry", {"message": ""}, "/message"),
        ("append_log_entry", {"message": "é" * 4097}, "/message"),
        ("append_log_entry", {"message": "m", "data": {"x": "a" * 16384}}, "/data"),
        ("append_log_entry", {"message": "m", "timestamp": 1}, "/timestamp"),
        ("append_log_entry", {"entries": []}, "/entries"),
        ("append_log_entry", {"entries": [{"message": "m"}] * 101}, "/entries"),
        ("append_log_entry", {"entries": [{"message": "m"}, {"message": ""}]}, "/entries/1/message"),
        ("append_log_entry", {"entries": [{"message": "m"}], "message": "m"}, "/message"),
    ],
)
def test_a_field_that_is_wrong_is_named(untouched: Callable[[], None], operation: str, body: Any, pointer: str) -> None:
    invoke("create_mission")
    untouched()
    answer = invoke(operation, body=body)
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]
    assert answer.body["detail"].startswith(pointer[1:] + ": ")
    assert answer.body["code"] == "validation_failed"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("", 400),
        ("{", 400),
        ("nonsense", 400),
        ('{"name": "n", "name": "m"}', 400),
        ('{"\\ud800": 1, "\\ud800": 2}', 400),
        ('{"name": "n", "data": {"\\ud800": 1, "\\ud800": 2}}', 400),
        ('{"name": "n", "data": {"x": NaN}}', 400),
        ('{"name": "n", "data": {"x": -Infinity}}', 400),
        ('{"name": "n", "data": {"x": 1e999}}', 422),
        ('{"name": "n", "data": {"x": ' + "9" * 5000 + "}}", 400),
        ('{"name": "n", "data": {"x": ' + DEEP + "}}", 400),
        ('{"name": "n", "data": {"x": ' + "[" * 70 + "]" * 70 + "}}", 422),
        ('{"name": "\\ud800"}', 422),
        ('{"name": "n", "data": {"x": "\\ud800"}}', 422),
        ('{"name": "n", "data": {"\\udfff": 1}}', 422),
        ("null", 422),
        ('["name"]', 422),
        (json.dumps(mission(description="x" * 300_000)), 413),
    ],
)
def test_a_body_that_is_no_proper_json_is_refused(untouched: Callable[[], None], raw: str, status: int) -> None:
    answer = invoke("create_mission", raw=raw)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_duplicate_member_among_very_many_is_found_without_delay(untouched: Callable[[], None]) -> None:
    members = ",".join(f'"{number}":1' for number in (*range(25_000), 24_999))
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        answer = thread.submit(invoke, "create_mission", raw="{" + members + "}").result(
            timeout=3
        )  # seconds; a hang is 10
    assert (answer.status, "duplicate member '24999'" in answer.body["detail"]) == (400, True)


def test_very_many_numbers_that_are_not_finite_are_refused_in_few_words(untouched: Callable[[], None]) -> None:
    raw = '{"name": "n", "data": {"' + "k" * 9000 + '": [' + ",".join(["1e999"] * 20_000) + "]}}"
    answer = invoke("create_mission", raw=raw)
    assert (answer.status, len(answer.text) < 10_000) == (422, True)


def test_very_deep_data_are_explained_at_their_field(untouched: Callable[[], None]) -> None:
    answer = invoke("create_mission", raw='{"name": "n", "data": {"x": ' + "[" * 900 + "]" * 900 + "}}")
    assert (answer.status, answer.body["detail"]) == (422, "data: is nested deeper than 64 levels; flatten it")


def test_an_integer_of_very_many_digits_is_refused_in_words(untouched: Callable[[], None]) -> None:
    answer = invoke("create_mission", raw='{"name": "n", "data": {"x": ' + "9" * 5000 + "}}")
    assert "send it as a string" in answer.body["detail"]


def test_a_name_with_a_line_separator_is_refused(untouched: Callable[[], None]) -> None:
    assert invoke("create_mission", body=mission(name="a\u2028b")).status == 422


def test_a_binary_body_is_refused(untouched: Callable[[], None]) -> None:
    body = base64.b64encode(b"\xff\xfe{}").decode()
    assert invoke("create_mission", raw=body, isBase64Encoded=True).status == 400
    assert invoke("create_mission", raw="not base64!", isBase64Encoded=True).status == 400


def test_a_body_in_base64_is_taken(stream: Any) -> None:
    body = base64.b64encode(json.dumps(mission()).encode()).decode()
    assert invoke("create_mission", raw=body, isBase64Encoded=True).status == 201


def test_another_media_type_is_refused(untouched: Callable[[], None]) -> None:
    answer = invoke("create_mission", headers={"content-type": "application/x-www-form-urlencoded"})
    assert (answer.status, answer.body["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("operation", "query", "pointer"),
    [
        ("list_missions", {"limit": "0"}, "/limit"),
        ("list_missions", {"limit": "201"}, "/limit"),
        ("list_missions", {"limit": "many"}, "/limit"),
        ("list_missions", {"status": "DONE"}, "/status/0"),
        ("list_missions", {"status": "RUNNING,DONE"}, "/status/1"),
        ("list_missions", {"created_after": "yesterday"}, "/created_after"),
        ("list_missions", {"created_before": "nan"}, "/created_before"),
        ("list_missions", {"created_before": "-1"}, "/created_before"),
        ("list_missions", {"created_after": "1e300"}, "/created_after"),
        ("list_missions", {"order": "random"}, "/order"),
        ("get_log", {"level": "fatal"}, "/level/0"),
        ("get_log", {"cursor": ""}, "/cursor"),
        ("list_missions", {"stauts": "RUNNING"}, "/stauts"),
        ("get_log", {"limit": "-1"}, "/limit"),
        ("get_log", {"limit": "1_0"}, "/limit"),
        ("get_log", {"limit": " 5 "}, "/limit"),
        ("get_log", {"limit": "٥"}, "/limit"),
        ("get_log", {"limit": "5.0"}, "/limit"),
        ("get_log", {"limit": "+5"}, "/limit"),
        ("list_missions", {"created_after": "1_0"}, "/created_after"),
        ("list_missions", {"created_after": " 5 "}, "/created_after"),
        ("list_missions", {"created_after": "٥"}, "/created_after"),
    ],
)
def test_a_query_that_is_wrong_is_named(
    untouched: Callable[[], None], operation: str, query: dict[str, str], pointer: str
) -> None:
    answer = invoke(operation, query=query)
    assert answer.status == 422
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]


@pytest.mark.parametrize("cursor", ["nonsense", "%", "AAAA", "é", "MTcwMzAwMTIzNDU2NzAwMA", "x" * 200, *ARABIC])
@pytest.mark.parametrize("operation", ["list_missions", "get_log"])
def test_a_cursor_that_no_page_gave_is_refused(untouched: Callable[[], None], operation: str, cursor: str) -> None:
    answer = invoke(operation, query={"cursor": cursor})
    assert (answer.status, answer.body["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("operation", ["get_mission", "get_log", "update_status", "append_log_entry"])
def test_a_mission_that_does_not_exist_is_not_found(untouched: Callable[[], None], operation: str) -> None:
    answer = invoke(operation, mission_id="nobody")
    assert (answer.status, answer.body["code"]) == (404, "mission_not_found")


@pytest.mark.parametrize("operation", ["get_mission", "get_log", "update_status", "append_log_entry"])
@pytest.mark.parametrize("mission_id", ["a b", "a/b", "{x}", "é", "\0", "x" * 129, "health", ".."])
def test_an_id_that_no_mission_can_have_is_refused(
    untouched: Callable[[], None], operation: str, mission_id: str
) -> None:
    answer = invoke(operation, pathParameters={"mission_id": mission_id})
    assert answer.status == 422
    assert answer.body["errors"][0]["pointer"] == "/mission_id"


@pytest.mark.parametrize(
    "path", ["/api/missions/a%2Fb/status", "/api/missions/..%2Fstatus", "/api/missions/%00/status"]
)
def test_an_encoded_path_reaches_no_other_mission(untouched: Callable[[], None], path: str) -> None:
    mission_id = path.split("/")[3].replace("%2F", "/").replace("%00", "\0")
    assert invoke("update_status", rawPath=path, pathParameters={"mission_id": mission_id}).status in (404, 422)


def test_a_bad_id_is_explained_in_words(untouched: Callable[[], None]) -> None:
    for answer in (invoke("create_mission", body=mission(id="a b")), invoke("get_mission", mission_id="a b")):
        (error,) = answer.body["errors"]
        assert error["detail"] == "must be 1 to 128 characters of A-Z a-z 0-9 . _ ~ -"


@pytest.mark.parametrize(
    "moment", ["yesterday", "2026-11-24", "2026-11-24T12:00:00", "2026-11-24T12:00:00 01:00", "0x5"]
)
def test_a_moment_that_is_none_is_told_how_to_write_one(untouched: Callable[[], None], moment: str) -> None:
    answer = invoke("list_missions", query={"created_after": moment})
    assert answer.status == 422
    assert "Unix seconds" in answer.body["detail"]
    assert "time zone" in answer.body["detail"]


@pytest.mark.parametrize("moment", [[], {}, True, "soon"], ids=repr)
def test_a_moment_in_a_body_that_is_no_number_is_told_how_to_write_one(
    untouched: Callable[[], None], moment: Any
) -> None:
    answer = invoke("create_mission", body=mission(deadline=moment))
    assert (answer.status, "deadline: must be Unix seconds" in answer.body["detail"]) == (422, True)


def test_a_text_with_half_a_character_is_told_in_words(untouched: Callable[[], None]) -> None:
    answer = invoke("create_mission", body=mission(name="\ud800"))
    assert "name: is not valid Unicode" in answer.body["detail"]


def test_half_a_character_in_a_header_is_no_failure_of_ours(untouched: Callable[[], None]) -> None:
    assert invoke("create_mission", headers={"content-type": "\ud800"}).status == 415
    assert invoke("list_missions", headers={"if-none-match": '"\ud800"'}).status == 200


@pytest.mark.parametrize(
    "moment", ["2026-11-24T12:00:00Z", "2026-11-24t13:00:00.000+01:00", "1795521600", "1.7955216e9"]
)
def test_a_moment_may_be_written_in_iso_8601(stream: Listener, moment: str) -> None:
    assert invoke("list_missions", query={"created_after": moment}).status == 200
    far = invoke("create_mission", body={"name": "n", "deadline": "2100-01-01T00:00:00Z"})
    assert far.body["deadline"] == 4102444800


def test_a_caller_who_asks_for_the_statistics_at_the_wrong_path_is_told_the_right_one(
    untouched: Callable[[], None],
) -> None:
    answer = invoke("get_mission", mission_id="stats")
    assert (answer.status, "/api/missions/stats/overview" in answer.body["detail"]) == (422, True)


def test_an_unknown_field_is_called_so(untouched: Callable[[], None]) -> None:
    assert invoke("create_mission", body=mission(nmae="typo")).body["detail"] == "nmae: unknown field"


def test_the_least_of_a_moment_is_told_as_a_person_writes_it(untouched: Callable[[], None]) -> None:
    assert invoke("create_mission", body=mission(deadline=-1)).body["detail"] == "deadline: must be at least 0"


@pytest.mark.parametrize(
    ("operation", "changes", "detail"),
    [
        ("create_mission", {"body": {"name": ""}}, "name: must not be empty"),
        ("append_log_entry", {"body": {"entries": []}}, "entries: must not be empty"),
        ("list_missions", {"query": {"limit": "0"}}, "limit: must be at least 1"),
        ("list_missions", {"query": {"order": "random"}}, "order: must be 'newest' or 'oldest'"),
        ("append_log_entry", {"body": {"message": "m", "level": "{x}"}}, "level: must be 'info', 'warning', "),
    ],
)
def test_what_is_wrong_is_said_in_our_words(
    untouched: Callable[[], None], operation: str, changes: Any, detail: str
) -> None:
    assert invoke(operation, **changes).body["detail"].startswith(detail)
