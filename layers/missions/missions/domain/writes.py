"""What a write is given besides its content, and what it returns."""

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from uuid import uuid4

from missions.domain.events import Draft
from missions.domain.models import LogLevel, MissionStatus

T = TypeVar("T")
DEFAULT = "default"  # the namespace of those who name none
Outcome = Literal["created", "exists", "changed", "unchanged", "appended", "claimed", "retried"]


@dataclass(frozen=True)
class Write:
    """Who writes, and what makes the write happen once.

    `attempt` names this one try: API Gateway and the client library may run it twice, and it takes effect once.
    `key` is the caller's Idempotency-Key: every try with it gets the answer of the first.
    `versions` are those that a change of status may start from; None for any.
    `actor` is the caller as its sign-in names it, for the events and the log; None where there is no sign-in.
    """

    namespace: str = DEFAULT
    attempt: str = field(default_factory=lambda: str(uuid4()))
    key: str | None = None
    versions: Set[int] | None = None
    actor: str | None = None


class NewEntry(NamedTuple):
    """A log entry to append."""

    level: LogLevel
    message: str
    data: dict[str, Any]


class Change(NamedTuple):
    """A change of status: what it is, why, its log entry and its events; without drafts there are none."""

    status: MissionStatus
    reason: str | None
    entry: NewEntry
    drafts: Sequence[Draft]


class NextAttempt(NamedTuple):
    """What is needed to make a mission's next attempt: a free id, its first log entry and its events."""

    id: str
    entry: NewEntry
    drafts: Sequence[Draft]


class Found(NamedTuple):
    """Missions that a request is about, and where others begin; None without others."""

    ids: Sequence[str]
    cursor: str | None


class Kept(NamedTuple):
    """A mission to remove once its retention has passed, and if it is still the one that was `active_at` then.

    That moment is in Unix seconds; None for any.
    """

    namespace: str
    mission_id: str
    active_at: float | None = None


class OneChange(NamedTuple):
    """A change of one mission. One that becomes FAILED needs a successor, in case it has retries left.

    With a `limit`, such as `timeout`, it is made only if that has passed, and with `sources` only from these statuses.
    """

    write: Write
    mission_id: str
    change: Change
    successor: NextAttempt | None = None
    limit: str = ""
    sources: Collection[MissionStatus] | None = None


class Result(NamedTuple, Generic[T]):
    """What a write did. `replayed`: its key was used before, so `value` is the first answer and nothing changed now."""

    value: T
    outcome: Outcome
    replayed: bool = False


class View(NamedTuple, Generic[T]):
    """What is shown of many missions, and the version of it; None when its caller has that version.

    The version is empty where there is none: of a namespace without missions, and of what changes by itself.
    """

    value: T | None
    version: str
