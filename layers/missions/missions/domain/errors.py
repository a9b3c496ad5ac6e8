"""Every refusal of the service: one root that carries the HTTP status and a stable code.

MissionsError
  InvalidRequest       400, 413, 415 or 422: what the caller sent cannot be taken
  Forbidden            403: the caller's token names no namespace
  MissionNotFound      404
  MissionExists        409: the id belongs to a mission of other content
  TransitionRefused    409: the status table does not allow it
  RetryRefused         409: the mission is neither FAILED nor CANCELLED
  AlreadyRetried       409: the mission has its next attempt
  MissionOpen          409: the mission is not finished, so it is not removed
  MissionRemoved       410: the mission was removed
  StaleVersion         412: If-Match named another version
  KeyReused            422: the Idempotency-Key belongs to another request
  BrokenRecord         500: what the store keeps of the mission cannot be read
  StoreUnavailable     503: Redis did not answer; for a write the outcome is unknown
"""

from datetime import UTC, datetime
from typing import Any, Self

from missions.domain import lifecycle
from missions.domain.models import FieldError, MissionStatus


class MissionsError(Exception):
    """The root: `status` is the HTTP status, `code` is stable, `extra` joins the answer's members."""

    status = 500
    code = "internal"
    title = "Internal error"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class InvalidRequest(MissionsError):
    """The request cannot be taken; `errors` has a JSON pointer and a detail for each bad field."""

    title = "Invalid request"

    def __init__(self, status: int, code: str, detail: str, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.status = status
        self.code = code

    @classmethod
    def of(cls, *errors: FieldError) -> Self:
        """What is wrong with fields. Its text has the first five."""
        detail = "; ".join(f"{each.pointer.removeprefix('/') or each.place}: {each.detail}" for each in errors[:5])
        return cls(422, "validation_failed", detail, errors=list(errors))


class Forbidden(MissionsError):
    status = 403
    code = "forbidden"
    title = "Forbidden"


class MissionNotFound(MissionsError):
    status = 404
    code = "mission_not_found"
    title = "Mission not found"

    def __init__(self, mission_id: str) -> None:
        super().__init__(f"There is no mission '{mission_id}'.")


class MissionExists(MissionsError):
    status = 409
    code = "mission_exists"
    title = "Mission exists"

    def __init__(self, mission_id: str) -> None:
        super().__init__(f"Mission '{mission_id}' exists with other content; choose another id.")


class TransitionRefused(MissionsError):
    status = 409
    code = "transition_refused"
    title = "Transition refused"

    def __init__(self, current: MissionStatus, wanted: MissionStatus, reason: str | None = None) -> None:
        allowed = lifecycle.TRANSITIONS[current]
        remedy = f"allowed from here: {', '.join(allowed)}" if allowed else "it is final"
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"The mission is {current}{why} and cannot become {wanted}; {remedy}.",
            current_status=current,
            allowed=list(allowed),
            **({"reason": reason} if reason else {}),
        )


class RetryRefused(MissionsError):
    status = 409
    code = "retry_refused"
    title = "Retry refused"

    def __init__(self, current: MissionStatus) -> None:
        super().__init__(
            f"The mission is {current}; only one that is FAILED or CANCELLED can be retried.", current_status=current
        )


class AlreadyRetried(MissionsError):
    status = 409
    code = "already_retried"
    title = "Already retried"

    def __init__(self, next_attempt: str) -> None:
        super().__init__(f"The next attempt is mission '{next_attempt}'; look at that one.", next_attempt=next_attempt)


class MissionOpen(MissionsError):
    status = 409
    code = "mission_open"
    title = "Mission open"

    def __init__(self, current: MissionStatus) -> None:
        super().__init__(f"The mission is {current}; cancel it first, or let it finish.", current_status=current)


class MissionRemoved(MissionsError):
    status = 410
    code = "mission_removed"
    title = "Mission removed"

    def __init__(self, mission_id: str, removed_at: float) -> None:
        on = datetime.fromtimestamp(removed_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        super().__init__(f"Mission '{mission_id}' was removed on {on}.", removed_at=removed_at)


class StaleVersion(MissionsError):
    status = 412
    code = "stale_version"
    title = "Stale version"

    def __init__(self, version: int) -> None:
        super().__init__(
            f"The mission is at version {version}, which If-Match does not name; read it again.",
            current_version=version,
        )


class KeyReused(MissionsError):
    status = 422
    code = "idempotency_key_reused"
    title = "Idempotency-Key reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request; use a new key for a new request.")


class BrokenRecord(MissionsError):
    code = "broken_record"
    title = "Broken record"

    def __init__(self, mission_id: str) -> None:
        super().__init__(f"What the store keeps of mission '{mission_id}' cannot be read.")


class StoreUnavailable(MissionsError):
    status = 503
    code = "store_unavailable"
    title = "Store unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The store did not answer; repeat the request. The outcome of a write is unknown, "
            "so repeat it with the same Idempotency-Key."
        )
