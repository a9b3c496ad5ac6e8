"""What goes over the API: missions, their log, pages and statistics. Times are Unix seconds."""

import json
import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

RESERVED_IDS = frozenset({".", "..", "health", "stats", "openapi.json"})  # a GET could not reach these
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MAX_DEPTH = 64
INT64 = range(-(2**63), 2**63)


class MissionStatus(StrEnum):
    """Where a mission stands (specification, "MissionStatus Enum Values")."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class LogLevel(StrEnum):
    """How much a log entry matters (specification, "Log Levels")."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    DEBUG = "debug"


def compact_json(value: Any) -> str:
    """The one JSON text of a value: sorted and without spaces, so equal values are equal texts."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


def _not_reserved(mission_id: str) -> str:
    if mission_id in RESERVED_IDS:
        raise ValueError(f"'{mission_id}' is reserved; choose another id")
    return mission_id


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


def _json_object(limit: int) -> AfterValidator:
    """Accept only JSON that EventBridge, too, would take: finite numbers, int64, bounded depth and size."""

    def check(data: dict[str, Any]) -> dict[str, Any]:
        level: list[Any] = [data]
        for _ in range(MAX_DEPTH + 1):
            below: list[Any] = []
            for value in level:
                match value:
                    case dict():
                        below += value.keys()
                        below += value.values()
                    case list():
                        below += value
                    case str():
                        if "\0" in value:
                            raise ValueError("must not contain the character U+0000")
                    case bool() | None | float():
                        pass
                    case int():
                        if value not in INT64:
                            raise ValueError("has an integer beyond 64 bits; send it as a string")
                    case _:
                        raise ValueError(f"has a value of type {type(value).__name__}, which is not JSON")
            if not below:
                break
            level = below
        else:
            raise ValueError(f"is nested deeper than {MAX_DEPTH} levels; flatten it")
        try:
            size = len(compact_json(data).encode())
        except UnicodeEncodeError:
            raise ValueError("has a text that is not valid Unicode (a lone surrogate)") from None
        except ValueError:
            raise ValueError("has a number that is not finite; send it as a string or null") from None
        if size > limit:
            raise ValueError(f"is {size} bytes of JSON; the limit is {limit}")
        return data

    return AfterValidator(check)


def _text(minimum: int, maximum: int, **schema: Any) -> Any:
    """Limits in characters, and for the documents what the validator checks beside them."""
    return Field(min_length=minimum, max_length=maximum, json_schema_extra=schema)


NO_NUL = r"^[^\x00]*$"
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"

MissionId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9._~-]+$",
        min_length=1,
        max_length=128,
        json_schema_extra={"not": {"enum": sorted(RESERVED_IDS)}},
    ),
    AfterValidator(_not_reserved),
]
Name = Annotated[str, _text(1, 200, pattern=ONE_LINE), AfterValidator(_not_blank)]
Description = Annotated[str, _text(0, 4000, pattern=NO_NUL), AfterValidator(_no_nul)]
Reason = Annotated[str, _text(1, 1000, pattern=NO_NUL), AfterValidator(_no_nul)]


def _message_size(text: str) -> str:
    size = len(text.encode())
    if size > 8192:
        raise ValueError(f"is {size} bytes; the limit is 8192")
    return text


Message = Annotated[
    str,
    Field(min_length=1, json_schema_extra={"maxLength": 8192, "pattern": NO_NUL}),
    AfterValidator(_no_nul),
    AfterValidator(_message_size),
]
JSON_OBJECT = WithJsonSchema(
    {
        "type": "object",
        "propertyNames": {"pattern": NO_NUL},
        "additionalProperties": {"$ref": "#/components/schemas/JsonValue"},
    }
)
Limit = Annotated[int, Field(ge=1, le=200)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)


def _example(**members: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [members]})


class MissionCreate(_Request):
    """A mission to create. Without an `id` the service makes one (a UUID)."""

    model_config = _example(id="deploy-42", name="Deploy v2.0", description="To production", data={"commit": "4f2a9c1"})

    id: MissionId | None = None
    name: Name
    description: Description = ""
    data: Annotated[dict[str, Any], _json_object(65536), JSON_OBJECT] = {}


class StatusUpdate(_Request):
    """The status a mission is to have, and optionally why (up to 1,000 characters)."""

    model_config = _example(status="FAILED", reason="disk full")

    status: MissionStatus
    reason: Reason | None = None


class MissionLogEntry(_Request):
    """A log entry to append: message up to 8 KiB, data up to 16 KiB of JSON."""

    model_config = _example(level="info", message="Deployment step 3/5 completed", data={"step": 3})

    level: LogLevel = LogLevel.INFO
    message: Message
    data: Annotated[dict[str, Any], _json_object(16384), JSON_OBJECT] = {}


class LogBatch(_Request):
    """Up to 100 log entries to append together, or not at all."""

    model_config = _example(entries=[{"message": "Step 1/2"}, {"level": "error", "message": "Step 2/2 failed"}])

    entries: Annotated[list[MissionLogEntry], Field(min_length=1, max_length=100)]


def _several(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value  # as API Gateway joins a parameter given twice


Moment = Annotated[float, Field(ge=0, lt=10**10)]  # Unix seconds; the store's texts of 16 digits end there
Cursor = Annotated[str, Field(min_length=1, max_length=200)]


class MissionQuery(_Request):
    """Which page of which missions: of some statuses, created in some time (Unix seconds, both ends excluded)."""

    status: Annotated[list[MissionStatus], BeforeValidator(_several)] = []
    created_after: Moment | None = None
    created_before: Moment | None = None
    order: Literal["newest", "oldest"] = "newest"
    limit: Limit = 50
    cursor: Cursor | None = None


class LogQuery(_Request):
    """Which page of a log: of some levels, the oldest or the newest first."""

    level: Annotated[list[LogLevel], BeforeValidator(_several)] = []
    order: Literal["newest", "oldest"] = "oldest"
    limit: Limit = 50
    cursor: Cursor | None = None


class Mission(BaseModel):
    """A mission as the API shows it. `version` counts its changes: 1 when created, 1 more for each status."""

    model_config = _example(
        id="deploy-42",
        name="Deploy v2.0",
        description="To production",
        data={"commit": "4f2a9c1"},
        status="FAILED",
        reason="disk full",
        version=3,
        created_at=1703001234.567,
        updated_at=1703001300.123,
    )

    id: str
    name: str
    description: str
    data: dict[str, Any]
    status: MissionStatus
    reason: str | None = None
    version: int
    created_at: float
    updated_at: float


class LogEntry(BaseModel):
    """A log entry as the API shows it; `timestamp` is when the store took it."""

    model_config = _example(timestamp=1703001350.789, level="info", message="Deployment step 3/5 completed", data={})

    timestamp: float
    level: LogLevel
    message: str
    data: dict[str, Any]


class LoggedBatch(BaseModel):
    """The log entries that were appended together."""

    entries: list[LogEntry]


class MissionPage(BaseModel):
    """One page of missions; `next_cursor` asks for the following one and is null on the last."""

    missions: list[Mission]
    next_cursor: str | None


class LogPage(BaseModel):
    """One page of a mission's log; `next_cursor` asks for the following one and is null on the last.

    `poll_cursor` asks, with order=oldest, for exactly what is appended after this page; on a later page of the newest
    first it is null.
    """

    mission_id: str
    log: list[LogEntry]
    next_cursor: str | None
    poll_cursor: str | None


class FieldError(BaseModel):
    """One bad field: where it is, as a JSON pointer into the body, the query or the path, and what is wrong."""

    place: Literal["body", "query", "path"] = Field(serialization_alias="in")
    pointer: str
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457): `code` is stable, `detail` says what to do."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:missions:problem:validation_failed",
                    "title": "Invalid request",
                    "status": 422,
                    "detail": "name: must not be blank",
                    "code": "validation_failed",
                    "request_id": "JKJaXmPLvHcESHA=",
                    "errors": [{"in": "body", "pointer": "/name", "detail": "must not be blank"}],
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError] = []


class Health(BaseModel):
    """The store answers."""

    status: Literal["ok"] = "ok"


class Durations(BaseModel):
    """How long finished missions ran, from RUNNING to COMPLETED or FAILED, in seconds; null while there is none.

    The percentiles are within 3.2 % of the true ones.
    """

    count: int
    mean: float | None
    p50: float | None
    p95: float | None


class Stats(BaseModel):
    """Counts of a namespace's missions; `last_updated` is null before the first one.

    `success_rate` is the share of COMPLETED in COMPLETED and FAILED. A finished mission that is cancelled afterwards
    counts as CANCELLED, and neither in the rate nor in the durations.
    """

    total: int
    by_status: dict[MissionStatus, int]
    success_rate: float | None
    duration: Durations
    last_updated: float | None


class StatsOverview(BaseModel):
    """The statistics of all missions."""

    model_config = _example(
        stats={
            "total": 12,
            "by_status": {"PENDING": 1, "RUNNING": 2, "COMPLETED": 6, "FAILED": 2, "CANCELLED": 1},
            "success_rate": 0.75,
            "duration": {"count": 8, "mean": 61.5, "p50": 48.128, "p95": 158.72},
            "last_updated": 1703001350.789,
        }
    )

    stats: Stats
