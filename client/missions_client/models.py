"""What the API answers, with the names of its OpenAPI document. Moments are Unix seconds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache, partial
from typing import Any, Literal, TypedDict, TypeVar, cast, get_args, get_origin

Status = Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]
Level = Literal["debug", "info", "warning", "error"]
Order = Literal["newest", "oldest"]
Moment = float | str
"""Unix seconds, or ISO 8601 with a time zone."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mission:
    """A mission. `version` is 1 after the creation, and 1 more after each change of status.

    `active_at` is the last sign of life, `duration` the seconds from the start to the end. `retry_of` and
    `next_attempt` are the ids of the attempts before and after it.
    """

    id: str
    name: str
    description: str
    data: dict[str, Any]
    status: Status
    reason: str | None
    version: int
    created_at: float
    updated_at: float
    active_at: float
    started_at: float | None
    finished_at: float | None
    duration: float | None
    progress: float | None
    note: str | None
    worker: str | None
    attempt: int
    retry_of: str | None
    next_attempt: str | None
    tags: list[str]
    timeout: int | None
    heartbeat_timeout: int | None
    deadline: float | None
    not_before: float | None
    retries: int
    backoff: int
    retention: int | None

    @property
    def finished(self) -> bool:
        """Whether it is COMPLETED, FAILED or CANCELLED."""
        return self.status not in ("PENDING", "RUNNING")


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionPage:
    """One page of missions; `next_cursor` asks for the next page, and is None on the last one."""

    missions: list[Mission]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOfLife:
    """The answer to a heartbeat. The next one must come before `next_before`, which is None if there is no limit."""

    id: str
    status: Status
    reason: str | None
    version: int
    worker: str | None
    active_at: float
    next_before: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A log entry; `timestamp` is when the API took it."""

    timestamp: float
    level: Level
    message: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedBatch:
    """The log entries that were appended together."""

    entries: list[LogEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """One page of a log. `next_cursor` asks for the next page; `poll_cursor` for what is appended after this page."""

    mission_id: str
    log: list[LogEntry]
    next_cursor: str | None
    poll_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """What became of one mission of a cancel request; `detail` says why it was refused."""

    id: str
    outcome: Literal["cancelled", "unchanged", "refused", "unknown"]
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledPage:
    """What became of each mission; with a `next_cursor`, others may match the filter."""

    results: list[Cancelled]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AllTime:
    """How many missions were ever created, and how often one became COMPLETED, FAILED and CANCELLED."""

    created: int
    completed: int
    failed: int
    cancelled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long finished missions ran, in seconds; None while there is none."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts of all missions. `success_rate` is the share of COMPLETED in COMPLETED and FAILED."""

    total: int
    by_status: dict[Status, int]
    all_time: AllTime
    success_rate: float | None
    duration: Durations
    last_updated: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsOverview:
    """The answer that has the statistics."""

    stats: Stats


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happened in an hour or a day that begins at `at`."""

    at: float
    created: int
    completed: int
    failed: int
    cancelled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Counts by hour or day, the oldest first."""

    step: Literal["hour", "day"]
    history: list[Step]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The API and its store answer."""

    status: Literal["ok"] = "ok"


@dataclass(frozen=True, slots=True)
class Entry:
    """A log entry to append: a message of any length, and data of at most 16 KiB of JSON."""

    message: str
    level: Level = "info"
    data: Mapping[str, Any] = field(default_factory=dict)


class NewMission(TypedDict, total=False):
    """What may be said of a new mission besides its name. None is the same as not said.

    Seconds: `timeout`, `heartbeat_timeout`, `backoff`, `retention`. Moments: `deadline`, `not_before`.
    """

    id: str | None
    description: str | None
    data: Mapping[str, Any] | None
    tags: Sequence[str]
    timeout: int | None
    heartbeat_timeout: int | None
    deadline: Moment | None
    not_before: Moment | None
    retries: int | None
    backoff: int | None
    retention: int | None


def read(kind: type[T], value: Any) -> T:
    """Make a model from parsed JSON. Members that it does not have are ignored. ValueError if one is missing."""
    if not isinstance(value, dict):
        raise ValueError(f"{kind.__name__} is not an object")
    members = {}
    for name, convert, optional in _members(cast(Any, kind)):
        if name in value:
            members[name] = convert(value[name]) if convert else value[name]
        elif not optional:
            raise ValueError(f"{kind.__name__} has no '{name}'")
    make: Callable[..., T] = kind
    return make(**members)


@cache
def _members(kind: Any) -> list[tuple[str, Callable[[Any], Any] | None, bool]]:
    return [(each.name, _converter(each.type), each.default is not MISSING) for each in fields(kind)]


def _converter(kind: Any) -> Callable[[Any], Any] | None:
    if is_dataclass(kind):
        return partial(read, cast(Any, kind))
    if get_origin(kind) is list:
        return partial(_read_list, _converter(get_args(kind)[0]))
    return None


def _read_list(convert: Callable[[Any], Any] | None, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list is missing")
    return [convert(each) for each in value] if convert else value
