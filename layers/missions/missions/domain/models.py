"""What goes over the API: missions, their log, pages, statistics and errors. Times are Unix seconds."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from missions.domain.fields import (
    SEVERAL,
    Backoff,
    Cursor,
    Description,
    Flag,
    Lease,
    Limit,
    LogData,
    Message,
    MissionData,
    MissionId,
    Moment,
    Name,
    Note,
    Progress,
    QueryMoment,
    Reason,
    Retention,
    Retries,
    Tags,
    Timeout,
    Worker,
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


def _empty() -> list[Any]:
    """An empty list. `list` itself would do, but pydantic takes 2 ms to find out how it may be called."""
    return []


class _Model(BaseModel):
    # A function builds those that it uses (api.handler). Empty defaults are made by default_factory: pydantic copies a
    # list that is a default with copy.deepcopy, each time.
    model_config = ConfigDict(defer_build=True)


class _Request(_Model):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _example(**members: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [members]})


class MissionCreate(_Request):
    """A mission to create. Without an `id` the service makes one (a UUID).

    Limits, in seconds: `timeout` from RUNNING on, `heartbeat_timeout` between two signs of life, `retention` after its
    end. Moments: `deadline`, until which it must be finished, and `not_before`, from which it may be claimed. A mission
    that fails is tried again up to `retries` times, `backoff` seconds later, and twice as long each time.
    """

    model_config = _example(
        id="deploy-42", name="Deploy v2.0", description="To production", data={"commit": "4f2a9c1"}, tags=["env=prod"]
    )

    id: MissionId | None = None
    name: Name
    description: Description = ""
    data: MissionData = Field(default_factory=dict)
    tags: Tags = Field(default_factory=_empty)
    timeout: Timeout | None = None
    heartbeat_timeout: Lease | None = None
    deadline: Moment | None = None
    not_before: Moment | None = None
    retries: Retries = 0
    backoff: Backoff = 0
    retention: Retention | None = None

    @field_validator("not_before")
    @classmethod
    def _can_be_done(cls, not_before: float | None, info: ValidationInfo) -> float | None:
        deadline = info.data.get("deadline")
        if not_before is not None and deadline is not None and not_before >= deadline:
            raise ValueError("must be before the deadline")
        return not_before


class Claim(_Request):
    """Which mission a worker takes: one with all these tags. With a `lease` it must show a sign of life within it."""

    model_config = _example(tags=["env=prod"], lease=60, worker="worker-1")

    tags: Tags = Field(default_factory=_empty)
    lease: Lease | None = None
    worker: Worker | None = None


class Heartbeat(_Request):
    """A sign of life, and optionally how far the mission is (0 to 1), and a short note."""

    model_config = _example(progress=0.6, note="step 3 of 5")

    progress: Progress | None = None
    note: Note | None = None


class StatusUpdate(_Request):
    """The status that a mission is to have, and optionally why (up to 1,000 characters)."""

    model_config = _example(status="FAILED", reason="disk full")

    status: MissionStatus
    reason: Reason | None = None


class MissionLogEntry(_Request):
    """A log entry to append: message up to 8 KiB, data up to 16 KiB of JSON. Its level is info, if it names none."""

    model_config = _example(level="info", message="Deployment step 3/5 completed", data={"step": 3})

    level: LogLevel = LogLevel.INFO
    message: Message
    data: LogData = Field(default_factory=dict)


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
    """Which page of which missions: of some statuses, with all of some tags, created in some time (both ends excluded).

    With a `name` those whose names begin like it, small letters or not, in the order of names. With `overdue` those of
    which a limit has passed, the longest first. `order` is for neither.
    """

    status: Annotated[list[MissionStatus], SEVERAL] = Field(default_factory=_empty)
    tag: Annotated[Tags, SEVERAL] = Field(default_factory=_empty)
    name: Name | None = None
    overdue: Flag = False
    created_after: QueryMoment | None = None
    created_before: QueryMoment | None = None
    order: Literal["newest", "oldest"] = "newest"
    limit: Limit = 50
    cursor: Cursor | None = None


class LogQuery(_Request):
    """Which page of a log: of some levels, the oldest or the newest first."""

    level: Annotated[list[LogLevel], SEVERAL] = Field(default_factory=_empty)
    order: Literal["newest", "oldest"] = "oldest"
    limit: Limit = 50
    cursor: Cursor | None = None


class HistoryQuery(_Request):
    """Which time of the history, by hours or days (UTC). The last day by default; it goes back 30 days."""

    begin: QueryMoment | None = Field(default=None, alias="from")
    end: QueryMoment | None = Field(default=None, alias="to")
    step: Literal["hour", "day"] = "hour"


class MissionFilter(_Request):
    """Which missions to cancel: what is not finished, or of these statuses, with all of some tags, and so on."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    status: Annotated[list[MissionStatus], Field(min_length=1)] = [MissionStatus.PENDING, MissionStatus.RUNNING]
    tags: Tags = Field(default_factory=_empty)
    name: Name | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must name what to cancel, such as a status or a tag")
        return self


class Cancel(_Request):
    """Up to 100 missions to cancel: by their ids, or the oldest that match a filter; with a `cursor` the next ones."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"filter": {"tags": ["env=prod"]}, "reason": "superseded"}],
            # Either ids or a filter, and a cursor only with a filter. Generators make models of the parts of a oneOf
            "if": {"required": ["ids"], "properties": {"ids": {"type": "array"}}},
            "then": {"properties": {"filter": {"type": "null"}, "cursor": {"type": "null"}}},
            "else": {"required": ["filter"], "properties": {"filter": {"type": "object"}}},
        }
    )

    ids: Annotated[list[MissionId], Field(min_length=1, max_length=100)] | None = None
    filter: MissionFilter | None = None
    cursor: Cursor | None = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("must have either ids or a filter")
        if self.cursor and self.ids:
            raise ValueError("must have a cursor only with a filter")
        return self


class Mission(_Model):
    """A mission as the API shows it. `version` counts its changes: 1 when created, 1 more for each status.

    `active_at` is the last sign of life; `duration` the seconds from its start to its end; `retry_of` and
    `next_attempt` are the ids of the attempts before and after it; `heartbeat_timeout` is that of a lease, if it has
    one.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True) | _example(
        id="deploy-42",
        name="Deploy v2.0",
        description="To production",
        data={"commit": "4f2a9c1"},
        status="RUNNING",
        reason=None,
        version=2,
        created_at=1703001234.567,
        updated_at=1703001240.123,
        active_at=1703001300.123,
        started_at=1703001240.123,
        finished_at=None,
        duration=None,
        progress=0.6,
        note="step 3 of 5",
        worker="worker-1",
        attempt=1,
        retry_of=None,
        next_attempt=None,
        tags=["env=prod"],
        timeout=900,
        heartbeat_timeout=60,
        deadline=None,
        not_before=None,
        retries=2,
        backoff=30,
        retention=None,
    )

    id: str
    name: str
    description: str = ""
    data: dict[str, Any] = Field(default_factory=dict)
    status: MissionStatus
    reason: str | None = None
    version: int
    created_at: float
    updated_at: float
    active_at: float
    started_at: float | None = None
    finished_at: float | None = None
    duration: float | None = None
    progress: float | None = None
    note: str | None = None
    worker: str | None = None
    attempt: int = 1
    retry_of: str | None = None
    next_attempt: str | None = None
    tags: list[str] = Field(default_factory=_empty)
    timeout: int | None = None
    heartbeat_timeout: int | None = None
    deadline: float | None = None
    not_before: float | None = None
    retries: int = 0
    backoff: int = 0
    retention: int | None = None


class SignOfLife(_Model):
    """What a worker learns when it shows a sign of life: the status, and until when it must show the next one."""

    model_config = _example(
        id="deploy-42",
        status="RUNNING",
        reason=None,
        version=2,
        worker="worker-1",
        active_at=1703001350.789,
        next_before=1703001410.789,
    )

    id: str
    status: MissionStatus
    reason: str | None
    version: int
    worker: str | None
    active_at: float
    next_before: float | None


class Cancelled(_Model):
    """What became of one mission: CANCELLED now, or before, or refused, and why.

    `unknown` is one of which the store did not tell: repeat the request with the same Idempotency-Key.
    """

    id: str
    outcome: Literal["cancelled", "unchanged", "refused", "unknown"]
    detail: str | None = None


class CancelledPage(_Model):
    """What became of each mission; `next_cursor` is where others that match the filter begin, and null without them."""

    model_config = _example(results=[{"id": "deploy-42", "outcome": "cancelled", "detail": None}], next_cursor=None)

    results: list[Cancelled]
    next_cursor: str | None


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

    model_config = _example(
        mission_id="deploy-42",
        log=[{"timestamp": 1703001350.789, "level": "info", "message": "Deployment step 3/5 completed", "data": {}}],
        next_cursor=None,
        poll_cursor="b2xkZXN0IDM",
    )

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


class AllTime(_Model):
    """How many missions were ever created, and how many ever became COMPLETED, FAILED and CANCELLED."""

    created: int
    completed: int
    failed: int
    cancelled: int


class Stats(_Model):
    """Counts of a namespace's missions; `last_updated` is null before the first one. `all_time` has removed ones, too.

    `success_rate` is the share of COMPLETED in COMPLETED and FAILED. A finished mission that is cancelled afterwards
    counts as CANCELLED, and neither in the rate nor in the durations.
    """

    total: int
    by_status: dict[MissionStatus, int]
    all_time: AllTime
    success_rate: float | None
    duration: Durations
    last_updated: float | None


class StatsOverview(_Model):
    """The statistics of all missions."""

    model_config = _example(
        stats={
            "total": 12,
            "by_status": {"PENDING": 1, "RUNNING": 2, "COMPLETED": 6, "FAILED": 2, "CANCELLED": 1},
            "all_time": {"created": 40, "completed": 30, "failed": 6, "cancelled": 1},
            "success_rate": 0.75,
            "duration": {"count": 8, "mean": 61.5, "p50": 48.128, "p95": 158.72},
            "last_updated": 1703001350.789,
        }
    )

    stats: Stats


class Step(_Model):
    """What happened in an hour or a day that begins at `at`."""

    at: float
    created: int
    completed: int
    failed: int
    cancelled: int


class History(_Model):
    """Counts by hour or day, the oldest first."""

    model_config = _example(
        step="hour", history=[{"at": 1702998000.0, "created": 12, "completed": 9, "failed": 1, "cancelled": 0}]
    )

    step: Literal["hour", "day"]
    history: list[Step]
