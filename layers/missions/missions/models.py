"""What goes over the API: missions, their log, pages and statistics. Times are Unix seconds."""

import json
import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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
    return _ENCODER.encode(value)


# made once: json.dumps makes one at each call
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


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


MissionId = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._~-]+$", min_length=1, max_length=128), AfterValidator(_not_reserved)
]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_not_blank)]
Description = Annotated[str, Field(max_length=4000), AfterValidator(_no_nul)]
Reason = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_no_nul)]


def _message_size(text: str) -> str:
    size = len(text.encode())
    if size > 8192:
        raise ValueError(f"is {size} bytes; the limit is 8192")
    return text


Message = Annotated[str, Field(min_length=1), AfterValidator(_no_nul), AfterValidator(_message_size)]


Limit = Annotated[int, Field(ge=1, le=200)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False, defer_build=True)


class MissionCreate(_Request):
    """A mission to create. Without an `id` the service makes one (a UUID)."""

    id: MissionId | None = None
    name: Name
    description: Description = ""
    data: Annotated[dict[str, Any], _json_object(65536)] = {}


class StatusUpdate(_Request):
    """The status a mission is to have, and optionally why (up to 1,000 characters)."""

    status: MissionStatus
    reason: Reason | None = None


class MissionLogEntry(_Request):
    """A log entry to append: message up to 8 KiB, data up to 16 KiB of JSON."""

    level: LogLevel = LogLevel.INFO
    message: Message
    data: Annotated[dict[str, Any], _json_object(16384)] = {}


class MissionQuery(_Request):
    """Which page of which missions: of one status or all, newest first."""

    status: MissionStatus | None = None
    limit: Limit = 50
    cursor: str | None = None


class LogQuery(_Request):
    """Which page of a log, oldest first."""

    limit: Limit = 50
    cursor: str | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(defer_build=True)


class Mission(_Answer):
    """A mission as the API shows it. `version` counts its changes: 1 when created, 1 more for each status."""

    id: str
    name: str
    description: str
    data: dict[str, Any]
    status: MissionStatus
    reason: str | None = None
    version: int
    created_at: float
    updated_at: float


class LogEntry(_Answer):
    """A log entry as the API shows it; `timestamp` is when the store took it."""

    timestamp: float
    level: LogLevel
    message: str
    data: dict[str, Any]


class MissionPage(_Answer):
    """One page of missions; `next_cursor` asks for the following one and is null on the last."""

    missions: list[Mission]
    next_cursor: str | None


class LogPage(_Answer):
    """One page of a mission's log; `next_cursor` asks for the following one and is null on the last."""

    mission_id: str
    log: list[LogEntry]
    next_cursor: str | None


class Health(_Answer):
    """The store answers."""

    status: Literal["ok"] = "ok"


class Stats(_Answer):
    """Counts of a namespace's missions; `last_updated` is null before the first one."""

    total: int
    by_status: dict[MissionStatus, int]
    last_updated: float | None


class StatsOverview(_Answer):
    """The statistics of all missions."""

    stats: Stats
