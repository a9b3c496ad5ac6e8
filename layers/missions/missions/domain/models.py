"""What goes over the API: missions, their log, pages, statistics and errors. Times are Unix seconds."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from missions.domain.fields import (
    SEVERAL,
    Cursor,
    Description,
    Limit,
    LogData,
    Message,
    MissionData,
    MissionId,
    Moment,
    Name,
    Reason,
)


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


class _Model(BaseModel):
    model_config = ConfigDict(defer_build=True)  # a function builds those that it uses (api.handler)


class _Request(_Model):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _example(**members: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [members]})


class MissionCreate(_Request):
    """A mission to create. Without an `id` the service makes one (a UUID)."""

    model_config = _example(id="deploy-42", name="Deploy v2.0", description="To production", data={"commit": "4f2a9c1"})

    id: MissionId | None = None
    name: Name
    description: Description = ""
    data: MissionData = {}


class StatusUpdate(_Request):
    """The status that a mission is to have, and optionally why (up to 1,000 characters)."""

    model_config = _example(status="FAILED", reason="disk full")

    status: MissionStatus
    reason: Reason | None = None


class MissionLogEntry(_Request):
    """A log entry to append: message up to 8 KiB, data up to 16 KiB of JSON."""

    model_config = _example(level="info", message="Deployment step 3/5 completed", data={"step": 3})

    level: LogLevel = LogLevel.INFO
    message: Message
    data: LogData = {}


class LogBatch(_Request):
    """Up to 100 log entries to append together, or not at all."""

    model_config = _example(entries=[{"message": "Step 1/2"}, {"level": "error", "message": "Step 2/2 failed"}])

    entries: Annotated[list[MissionLogEntry], Field(min_length=1, max_length=100)]


def _kind(body: Any) -> str:
    return "batch" if isinstance(body, dict) and "entries" in body else "entry"


LogAppend = Annotated[
    Annotated[MissionLogEntry, Tag("entry")] | Annotated[LogBatch, Tag("batch")], Discriminator(_kind)
]


class MissionQuery(_Request):
    """Which page of which missions: of some statuses, created in some time (Unix seconds, both ends excluded)."""

    status: Annotated[list[MissionStatus], SEVERAL] = []
    created_after: Moment | None = None
    created_before: Moment | None = None
    order: Literal["newest", "oldest"] = "newest"
    limit: Limit = 50
    cursor: Cursor | None = None


class LogQuery(_Request):
    """Which page of a log: of some levels, the oldest or the newest first."""

    level: Annotated[list[LogLevel], SEVERAL] = []
    order: Literal["newest", "oldest"] = "oldest"
    limit: Limit = 50
    cursor: Cursor | None = None


class Mission(_Model):
    """A mission as the API shows it. `version` counts its changes: 1 when created, 1 more for each status."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True) | _example(
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
    description: str = ""
    data: dict[str, Any] = {}
    status: MissionStatus
    reason: str | None = None
    version: int
    created_at: float
    updated_at: float


class LogEntry(_Model):
    """A log entry as the API shows it; `timestamp` is when the store took it."""

    model_config = _example(timestamp=1703001350.789, level="info", message="Deployment step 3/5 completed", data={})

    timestamp: float
    level: LogLevel
    message: str
    data: dict[str, Any]


class LoggedBatch(_Model):
    """The log entries that were appended together."""

    entries: list[LogEntry]


class MissionPage(_Model):
    """One page of missions; `next_cursor` asks for the following one and is null on the last."""

    missions: list[Mission]
    next_cursor: str | None


class LogPage(_Model):
    """One page of a mission's log; `next_cursor` asks for the following one and is null on the last.

    `poll_cursor` asks, with order=oldest, for exactly what is appended after this page; on a later page of the newest
    first it is null.
    """

    mission_id: str
    log: list[LogEntry]
    next_cursor: str | None
    poll_cursor: str | None


class FieldError(_Model):
    """One bad field: where it is, as a JSON pointer into the body, the query or the path, and what is wrong."""

    place: Literal["body", "query", "path"] = Field(serialization_alias="in")
    pointer: str
    detail: str


class Problem(_Model):
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


class Health(_Model):
    """The store answers."""

    status: Literal["ok"] = "ok"


class Durations(_Model):
    """How long finished missions ran, from RUNNING to COMPLETED or FAILED, in seconds; null while there is none.

    The percentiles are within 3.2 % of the true ones.
    """

    count: int
    mean: float | None
    p50: float | None
    p95: float | None


class Stats(_Model):
    """Counts of a namespace's missions; `last_updated` is null before the first one.

    `success_rate` is the share of COMPLETED in COMPLETED and FAILED. A finished mission that is cancelled afterwards
    counts as CANCELLED, and neither in the rate nor in the durations.
    """

    total: int
    by_status: dict[MissionStatus, int]
    success_rate: float | None
    duration: Durations
    last_updated: float | None


class StatsOverview(_Model):
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
