"""Every refusal of the service: one root that carries the HTTP status and a stable code.

MissionsError
  InvalidRequest       400, 413, 415 or 422: what the caller sent cannot be taken
  Forbidden            403: the caller's token names no namespace
  MissionNotFound      404
  MissionExists        409: the id belongs to a mission of other content
  TransitionRefused    409: the status table does not allow it
  StaleVersion         412: If-Match named another version
  KeyReused            422: the Idempotency-Key belongs to another request
  BrokenRecord         500: what the store keeps of the mission cannot be read
  StoreUnavailable     503: Redis did not answer; for a write the outcome is unknown
"""

from typing import Any

from missions.domain import lifecycle
from missions.domain.models import MissionStatus


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

    def __init__(self, current: MissionStatus, wanted: MissionStatus) -> None:
        allowed = lifecycle.TRANSITIONS[current]
        remedy = f"allowed from here: {', '.join(allowed)}" if allowed else "it is final"
        super().__init__(
            f"The mission is {current} and cannot become {wanted}; {remedy}.",
            current_status=current,
            allowed=list(allowed),
        )


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
