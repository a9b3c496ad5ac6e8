"""What can go wrong. The text of each error is one line for people."""

from collections.abc import Mapping
from typing import Any


class MissionsError(Exception):
    """The root of all errors of this package."""


class Unreachable(MissionsError):
    """No answer after all repeats: the connection broke, or it took too long."""


class Misconfigured(MissionsError):
    """What the flags, the environment or the configuration file say makes no sense."""


class CannotSignIn(MissionsError):
    """There is nothing to sign in with: a `token_command` gave no token, or AWS refuses the credentials."""


class MissionCancelled(MissionsError):
    """The mission that this program works on was ended by somebody else: cancelled, removed, or failed by a limit."""

    def __init__(self, mission_id: str, why: str) -> None:
        super().__init__(mission_id, why)
        self.mission_id = mission_id
        self.why = why

    def __str__(self) -> str:
        return f"The mission '{self.mission_id}' was ended by somebody else: {self.why}"


class ApiError(MissionsError):
    """The API refused or failed.

    `status` is that of HTTP, `code` the stable name of the error, `detail` what the API says about it, `problem` its
    whole answer, and `request_id` what its operator finds the request by. `code` and `request_id` are None if not the
    service itself answered, but API Gateway or a proxy. `retry_after` is in seconds.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(status, problem, retry_after)  # so that it can be pickled
        self.status = status
        self.problem = dict(problem)
        self.retry_after = retry_after
        self.code: str | None = problem.get("code")
        self.request_id: str | None = problem.get("request_id")
        self.detail = str(problem.get("detail") or problem.get("message") or "it did not say why")

    def __str__(self) -> str:
        return one_line(self.detail if self.code else f"The API answered {self.status}: {self.detail}")


class SignInRefused(ApiError):
    """401 or 403: no token or no signature, a wrong or an old one, or one without permission."""

    def __str__(self) -> str:
        return one_line(f"The API refused the sign-in ({self.status}: {self.detail}).")


class NotFound(ApiError):
    """404: there is no such mission."""


class Removed(ApiError):
    """410: the mission was removed."""


class Conflict(ApiError):
    """409: the mission exists with other content, or its status does not allow this."""


class StaleVersion(ApiError):
    """412: the mission does not have the version that was asked for."""


class Invalid(ApiError):
    """400, 413, 415, 422: the request is wrong."""


class Busy(ApiError):
    """429 or 503, after all repeats."""


class Broken(ApiError):
    """The API failed (500 or more), or the answer is not one of the API."""


def one_line(text: str) -> str:
    """The text on one line, without what would change a terminal."""
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))[:1000]


def sentence(text: str) -> str:
    """The text with a stop at its end."""
    return text if text.endswith((".", "?")) else f"{text}."
