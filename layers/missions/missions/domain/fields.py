"""The kinds of values that go over the API, with their limits. Times are Unix seconds."""

import json
import math
import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, WithJsonSchema
from pydantic_core import to_json

RESERVED_IDS = frozenset({".", "..", "health", "stats", "openapi.json"})  # a GET could not reach these
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAX_DEPTH = 64
INT64 = range(-(2**63), 2**63)
DOUBTFUL = re.compile(rb"[0-9]{19}|u0000|NaN|Infinity")  # of more than 64 bits, U+0000, not finite; or in a text
ID = r"[A-Za-z0-9._~-]{1,128}"
_ID = re.compile(ID)
TAG = r"[A-Za-z0-9._~:/=+@-]{1,50}"
ISO_8601 = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
MOMENT_WORDS = (
    "must be Unix seconds, such as 1703001234.5, or ISO 8601 with a time zone, such as 2023-12-19T15:53:54Z; "
    "in a query write + as %2B"
)
DAY = 86400  # seconds
NO_NUL = r"^[^\x00]*$"
_ON_A_LINE = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
ONE_LINE = rf"^[^{_ON_A_LINE}]*[^\s{_ON_A_LINE}][^{_ON_A_LINE}]*$"


def compact_json(value: Any) -> str:
    """The one JSON text of a value: sorted and without spaces, so equal values are equal texts."""
    return _ENCODER.encode(value)


# made once: json.dumps makes one at each call
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


def checked_id(mission_id: str) -> str:
    """This id of a mission. Raises ValueError when it can be none."""
    if not _ID.fullmatch(mission_id):
        raise ValueError("must be 1 to 128 characters of A-Z a-z 0-9 . _ ~ -")
    if mission_id == "stats":
        raise ValueError("'stats' is reserved: the statistics are at /api/missions/stats/overview")
    if mission_id in RESERVED_IDS:
        raise ValueError(f"'{mission_id}' is reserved; choose another id")
    return mission_id


def checked_namespace(namespace: Any) -> str:
    """This name of a namespace. Raises ValueError when it can be none."""
    if not isinstance(namespace, str) or not _ID.fullmatch(namespace):
        raise ValueError("must name a namespace: 1 to 128 characters of A-Z a-z 0-9 . _ ~ -")
    return namespace


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    if CONTROL.search(text):
        raise ValueError("must not contain control characters or line breaks")
    return text


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


def _tag(tag: str) -> str:
    if not re.fullmatch(TAG, tag):
        raise ValueError("must be 1 to 50 characters of A-Z a-z 0-9 . _ ~ : / = + @ -")
    return tag


def _no_bool(value: Any) -> Any:
    """Take a number, and no text or truth value that could be read as one."""
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError("must be from 0 to 1")
    return value


def _moment(value: Any) -> Any:
    """Unix seconds of a moment in ISO 8601. A number stays what it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        if isinstance(value, str) and re.fullmatch(ISO_8601, value):
            return datetime.fromisoformat(value.upper()).timestamp()
    except (ValueError, OverflowError):  # there is no such day
        pass
    raise ValueError(MOMENT_WORDS)


def _not_milliseconds(value: float) -> float:
    if value >= 10**10:
        raise ValueError("must be Unix seconds, and not milliseconds or more")
    return value


def _moment_in_query(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", value):
        return float(value)
    return _moment(value)


def _message_size(text: str) -> str:
    size = len(text.encode())
    if size > 8192:
        raise ValueError(f"is {size} bytes; the limit is 8192")
    return text


def _json_object(limit: int) -> AfterValidator:
    """Accept only JSON that EventBridge, too, takes: finite numbers, 64-bit integers, bounded depth and size."""

    def check(data: dict[str, Any]) -> dict[str, Any]:
        try:
            text = to_json(data)
        except ValueError:
            raise ValueError("has a text that is not valid Unicode (a lone surrogate)") from None
        if len(text) > limit:
            raise ValueError(f"is {len(text)} bytes of JSON; the limit is {limit}")
        # Most data show at a glance that nothing in them is too large, too deep or forbidden.
        if text.count(b"{") + text.count(b"[") > MAX_DEPTH or DOUBTFUL.search(text):
            walk(data)
        return data

    def walk(data: dict[str, Any]) -> None:
        level: list[Any] = [data]
        for _ in range(MAX_DEPTH + 1):
            below: list[Any] = []
            for value in level:
                if isinstance(value, dict):
                    below += value.keys()
                    below += value.values()
                elif isinstance(value, list):
                    below += value
                elif isinstance(value, str):
                    _no_nul(value)
                elif isinstance(value, int) and value not in INT64:
                    raise ValueError("has an integer of more than 64 bits; send it as a string")
                elif isinstance(value, float) and not math.isfinite(value):
                    raise ValueError("has a number that is not finite; send it as a string or null")
            if not below:
                break
            level = below
        else:
            raise ValueError(f"is nested deeper than {MAX_DEPTH} levels; flatten it")

    return AfterValidator(check)


def _shown_object(limit: int) -> Any:
    """What the documents say of _json_object. A schema that refers to itself is one that generators cannot read."""
    words = (
        f"A JSON object of at most {limit:,} bytes and {MAX_DEPTH} levels. Its integers have at most 64 bits, its "
        "numbers are finite, and no text in it has U+0000."
    )
    names: dict[str, Any] = {"propertyNames": {"pattern": NO_NUL}}
    return Annotated[dict[str, Any], Field(title="Data", description=words, json_schema_extra=names)]


def _null_as(empty: Any, kind: Any) -> BeforeValidator:
    """Take null as empty, as the specification's code does (`mission.description or ""`)."""
    return BeforeValidator(lambda value: type(empty)() if value is None else value, json_schema_input_type=kind)


def _text(minimum: int, maximum: int, **schema: Any) -> Any:
    """Limits in characters, and for the documents what the validator checks besides them."""
    return Field(min_length=minimum, max_length=maximum, json_schema_extra=schema)


def _whole_number(minimum: int, maximum: int) -> Any:
    return Annotated[int, Field(ge=minimum, le=maximum), BeforeValidator(_no_bool)]


Lease = _whole_number(1, DAY)
Timeout = _whole_number(1, 365 * DAY)
_Backoff = Annotated[int, Field(ge=0, le=DAY)]
Backoff = Annotated[_Backoff, BeforeValidator(_no_bool), _null_as(0, _Backoff | None)]
Retention = _whole_number(60, 3650 * DAY)
_Retries = Annotated[int, Field(ge=0, le=10)]
Retries = Annotated[_Retries, BeforeValidator(_no_bool), _null_as(0, _Retries | None)]
MissionId = Annotated[
    str,
    AfterValidator(checked_id),
    WithJsonSchema(
        {"type": "string", "pattern": rf"^{ID}$", "minLength": 1, "maxLength": 128,
         "not": {"enum": sorted(RESERVED_IDS)}}
    ),
]  # fmt: skip
Name = Annotated[str, _text(1, 200, pattern=ONE_LINE), AfterValidator(_not_blank)]
_Description = Annotated[str, _text(0, 4000, pattern=NO_NUL), AfterValidator(_no_nul)]
Description = Annotated[_Description, _null_as("", _Description | None)]
Tag = Annotated[str, AfterValidator(_tag), WithJsonSchema({"type": "string", "pattern": f"^{TAG}$"})]
# A set: in one order, each once
_Tags = Annotated[list[Tag], Field(max_length=10), AfterValidator(lambda tags: sorted(set(tags)))]
Tags = Annotated[_Tags, _null_as([], _Tags | None)]
Worker = Annotated[str, _text(1, 200, pattern=ONE_LINE), AfterValidator(_not_blank)]
Note = Worker
Progress = Annotated[
    float,
    AfterValidator(_share),
    BeforeValidator(_no_bool),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]
Reason = Annotated[str, _text(1, 1000, pattern=NO_NUL), AfterValidator(_no_nul)]
Message = Annotated[
    str,
    Field(min_length=1, json_schema_extra={"maxLength": 8192, "pattern": NO_NUL}),
    AfterValidator(_no_nul),
    AfterValidator(_message_size),
]
MissionData = Annotated[dict[str, JsonValue], _json_object(65536), _null_as({}, _shown_object(65536) | None)]
LogData = Annotated[dict[str, JsonValue], _json_object(16384), _null_as({}, _shown_object(16384) | None)]


def _several(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


SEVERAL = BeforeValidator(_several)  # as API Gateway joins a parameter that is given twice


def written(pattern: str, what: str) -> BeforeValidator:
    """Take a text from a query only when it is written like this: int() and float() take '1_0', ' 5 ' and '٥', too."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            raise ValueError(what)
        return value

    return BeforeValidator(check)


def _flag(value: Any) -> Any:
    if value not in ("true", "false", True, False):
        raise ValueError("must be true or false")
    return value in ("true", True)


Limit = Annotated[int, Field(ge=1, le=200), written(r"-?[0-9]{1,9}", "must be a whole number from 1 to 200")]
# What the store keeps of a moment has 16 digits, which end there.
_MOMENT_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 10**10}, {"type": "string", "format": "date-time"}]
}
_Seconds = Annotated[float, Field(ge=0), AfterValidator(_not_milliseconds)]
Moment = Annotated[_Seconds, BeforeValidator(_moment), WithJsonSchema(_MOMENT_SCHEMA, "validation")]
QueryMoment = Annotated[_Seconds, BeforeValidator(_moment_in_query), WithJsonSchema(_MOMENT_SCHEMA, "validation")]
Cursor = Annotated[
    str, Field(min_length=1, max_length=2048, json_schema_extra={"pattern": "^[A-Za-z0-9_=-]*$"})
]  # of the longest name and id it has 1,800
Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]
