"""What a write is given besides its content, and what it returns."""

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from uuid import uuid4

from missions.domain.models import LogLevel

T = TypeVar("T")
DEFAULT = "default"  # the namespace of those who name none
Outcome = Literal["created", "exists", "changed", "unchanged", "appended"]


@dataclass(frozen=True)
class Write:
    """Who writes, and what makes the write happen once.

    `attempt` names this one try: API Gateway and the client library may run it twice, and it takes effect once.
    `key` is the caller's Idempotency-Key: every try with it gets the answer of the first.
    `versions` are those that a change of status may start from; None for any.
    """

    namespace: str = DEFAULT
    attempt: str = field(default_factory=lambda: str(uuid4()))
    key: str | None = None
    versions: Set[int] | None = None


class NewEntry(NamedTuple):
    """A log entry to append."""

    level: LogLevel
    message: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Result(Generic[T]):
    """What a write did. `replayed`: its key was used before, so `value` is the first answer and nothing changed now."""

    value: T
    outcome: Outcome
    replayed: bool = False
