"""What the OpenAPI document cannot say: which valid values are refused for what happened before."""

import re
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import schemathesis
from jsonschema import FormatChecker
from missions.domain.fields import RESERVED_IDS, LogData, MissionData
from pydantic import TypeAdapter, ValidationError

# A moment that is valid may still be one of which nothing is kept, or that is over
FIT = {
    "deadline": 9_000_000_000,
    "not_before": 0.5,
    "created_after": 0,
    "created_before": "2200-12-31T00:00:00Z",
}
MOMENTS = {*FIT, "from", "to"}
FORMATS = FormatChecker(["date-time"])
DATA = {"create_mission": TypeAdapter(MissionData), "append_log_entry": TypeAdapter(LogData)}
LONGEST = 8000  # bytes of a query; API Gateway takes 10,240 of all headers


def is_moment(value: Any) -> bool:
    """Whether the document lets this be a moment."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, str):
        return bool(FORMATS.conforms(value, "date-time"))
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10**10


def has_fit_data(operation: str, members: Any) -> bool:
    """Whether data keep the rules that the document has in words alone; test_bad_input.py breaks them."""
    data = members.get("data") if isinstance(members, dict) else None
    if isinstance(data, dict) and operation in DATA:
        with suppress(ValidationError):
            DATA[operation].validate_python(data)
            return True
        return False
    return True


@schemathesis.hook
def filter_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> bool:
    """A reserved id is no mission's: its path is another operation's, or none."""
    return (path_parameters or {}).get("mission_id") not in RESERVED_IDS


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """A body that is not UTF-8 is refused with 400 (test_bad_input.py), but sam local itself fails at it with 502.

    API Gateway refuses a request line that is too long before the service sees what is wrong in it. And no schema that
    clients can be made from says what is in data.
    """
    if len(urlencode(case.query or {}, doseq=True)) > LONGEST:
        return False
    if isinstance(case.body, bytes):
        try:
            case.body.decode()
        except UnicodeDecodeError:
            return False
    operation = case.operation.definition.raw["operationId"]
    entries = case.body.get("entries") if isinstance(case.body, dict) else None
    return all(has_fit_data(operation, each) for each in (case.body, *(entries if isinstance(entries, list) else ())))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A key is used once, a version is one that a mission had, a cursor one that a page gave, and a moment fits."""
    headers, query = case.headers or {}, case.query or {}
    for name in set(query) & MOMENTS:
        if is_moment(query[name]):
            del query[name]
    body = case.body if isinstance(case.body, dict) else {}
    filtered = body.get("filter")
    for members in (body, filtered if isinstance(filtered, dict) else {}):
        for name in set(members) & MOMENTS:
            if is_moment(members[name]):
                members[name] = FIT[name]
    if re.fullmatch(r"[ -~]{1,255}", str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = str(uuid4())
    if "If-Match" in headers:
        headers["If-Match"] = '"1"'
    for members in (query, body):
        if isinstance(members.get("cursor"), str) and re.fullmatch(r"[A-Za-z0-9_=-]{1,2048}", members["cursor"]):
            del members["cursor"]
