"""What both clients share: how a request is written, how an answer is read, and when a request is repeated."""

import json
import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

from missions_client import text
from missions_client.errors import (
    ApiError,
    Broken,
    Busy,
    Conflict,
    Invalid,
    MissionsError,
    NotFound,
    Removed,
    SignInRefused,
    StaleVersion,
    Unreachable,
    one_line,
)
from missions_client.models import Entry, read

LOCAL = "http://127.0.0.1:3000"
IN_ONE_REQUEST = 100  # log entries, and ids to cancel
LARGEST_BODY = 256 * 1024  # bytes
PAGE = 200  # the most that the API gives at once

T = TypeVar("T")

_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_NO_IDS = (".", "..", "health", "stats", "openapi.json")
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_KINDS = {
    401: SignInRefused, 403: SignInRefused, 404: NotFound, 409: Conflict, 410: Removed, 412: StaleVersion,
    400: Invalid, 413: Invalid, 415: Invalid, 422: Invalid, 429: Busy, 503: Busy,
}  # fmt: skip


@dataclass(frozen=True)
class Retry:
    """How often a request is sent, and how long it waits in between.

    A request is repeated if there was no answer (the connection broke, or the time-out passed), or 429, 502, 503, 504,
    or 500 without a `code`. The wait is a random time from 0 to `first`, then to twice as much, and so on, at most
    `longest` (seconds). It comes on top of what Retry-After asks for; if that is more than `longest`, the request is
    not repeated. So by default all waits together take 15.5 seconds at most without a Retry-After, and 115.5 with it.
    Besides these, each of the 6 attempts takes until its answer, or until the time-out of the client.
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 20.0

    def wait(self, attempt: int, failure: MissionsError) -> float | None:
        """The seconds to wait after this attempt (from 1 on); None if the request is not sent again."""
        asked = 0.0
        if isinstance(failure, ApiError):
            again = failure.status in (429, 502, 503, 504) or (failure.status == 500 and failure.code is None)
            asked = failure.retry_after or 0.0
        else:
            again = isinstance(failure, Unreachable)
        if not again or attempt >= self.attempts or asked > self.longest:
            return None
        return asked + random.uniform(0, min(self.longest, self.first * 2.0 ** (attempt - 1)))  # noqa: S311


@dataclass(frozen=True)
class Call:
    """One request, which is the same for each repeat."""

    method: str
    path: str
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def get(path: str, **query: Any) -> Call:
    """A request that reads. None, False and empty lists are not sent; several values get commas between them."""
    sent = {name.rstrip("_"): _in_query(value) for name, value in given(**query).items() if value is not False}
    # Not left to httpx, which writes a space as +: a signature counts only with %20
    return Call("GET", path + ("?" + urlencode(sent, quote_via=quote) if sent else ""))


def post(path: str, body: Any = None, key: str | None = None, if_match: int | None = None) -> Call:
    """A request that writes, with this Idempotency-Key or a new one."""
    key = str(uuid4()) if key is None else key
    if not _KEY.fullmatch(key):
        raise MissionsError("An Idempotency-Key is 1 to 255 printable ASCII characters.")
    headers = {"Idempotency-Key": key}
    if if_match is not None:
        headers["If-Match"] = f'"{if_match}"'
    return with_body(Call("POST", path, headers=headers), body)


def with_body(call: Call, body: Any) -> Call:
    """The call with this body: JSON that is written here, or bytes that are JSON."""
    if body is None:
        return call
    content = body if isinstance(body, bytes) else encode(body)
    return Call(call.method, call.path, content, {**call.headers, "Content-Type": "application/json"})


def encode(value: Any) -> bytes:
    """The value as JSON. What the API would refuse (NaN, a lone surrogate) is sent, so that it says why."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def given(**members: Any) -> dict[str, Any]:
    """These members without those that are None or an empty list. Tuples and sets become lists, as JSON has them."""
    listed = {name: list(value) if isinstance(value, tuple | set) else value for name, value in members.items()}
    return {name: value for name, value in listed.items() if value is not None and value != []}


def path_of(mission_id: str, *more: str) -> str:
    """The path of a mission. Raises Invalid for what can be no id: another path would be meant."""
    if not _ID.fullmatch(mission_id) or mission_id in _NO_IDS:
        told = f"{mission_id!r} is no id of a mission: an id has 1 to 128 characters of A-Z a-z 0-9 . _ ~ -"
        raise Invalid(422, {"code": "validation_failed", "detail": told})
    return "/".join(("/api/missions", mission_id, *more))


def batches(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The bodies that append these entries: each within the limits of the API."""
    batch: list[bytes] = []
    size = 0
    for each in _pieces(entries):
        written = encode(each)
        if batch and (len(batch) == IN_ONE_REQUEST or size + len(written) + 1 > LARGEST_BODY - 16):
            yield _batch(batch)
            batch, size = [], 0
        batch.append(written)
        size += len(written) + 1
    if batch:
        yield _batch(batch)


def keys(key: str | None) -> Iterator[str | None]:
    """The keys of the requests that one call makes: this one, then others that are made from it."""
    if key is not None and len(key) > 240:
        raise MissionsError("The key of a call that may need several requests has 240 characters at most.")
    yield key
    number = 2
    while True:
        yield None if key is None else f"{key}/{number}"
        number += 1


def onward(before: str | None, cursor: str) -> str:
    """The cursor of the next page. Raises Broken if it leads nowhere."""
    if cursor == before:
        raise Broken(200, {"detail": "a page that leads to itself. Is the URL right?"})
    return cursor


def address(url: str | None) -> str:
    """The URL of the API: this one, or MISSIONS_URL, or that of `make run`. Raises MissionsError if it is none."""
    url = (url or os.environ.get("MISSIONS_URL") or LOCAL).strip().rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        good = False
    if good and parts.username is not None:
        raise MissionsError("The URL of the API must have no name and no password in it. Use a token, or a profile.")
    if not good or not url.isprintable():
        raise MissionsError(f"{one_line(url)!r} is no URL of an API, such as https://missions.example.com")
    return url


def unreachable(url: str, error: Exception) -> Unreachable:
    """There was no answer."""
    parts = urlsplit(url)
    what = one_line(str(error)) or "it took too long"
    failure = Unreachable(f"The API at {parts.scheme}://{parts.netloc} does not answer: {what}")
    failure.__cause__ = error
    return failure


def answer(status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """The parsed body of an answer; None without one. Raises ApiError, and Unreachable if its JSON was cut off."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind.endswith(("/json", "+json"))
    if status == 204:
        return None
    value: Any = None
    try:
        value = json.loads(content) if is_json else None
    except (ValueError, RecursionError):
        if 200 <= status < 300:
            raise Unreachable("The answer of the API is no whole JSON: it was cut off on its way.") from None
    if 200 <= status < 300:
        if is_json:
            return value
        raise Broken(status, {"detail": f"an answer of the type '{kind}', which is not JSON. Is the URL right?"})
    problem = value if isinstance(value, dict) else {}
    # A 404 of something else than the API says nothing about a mission
    found = _KINDS.get(status) if status != 404 or isinstance(problem.get("code"), str) else None
    if not problem.get("detail") and not problem.get("message"):
        problem = {**problem, "detail": "no error of the API. Is the URL right?"} if status < 500 else problem
    raise (found or (Broken if status >= 500 else ApiError))(status, problem, _seconds(headers.get("retry-after")))


def model(kind: type[T], value: Any) -> T:
    """An answer as this model. Raises Broken if it is something else."""
    try:
        return read(kind, value)
    except (ValueError, TypeError) as error:
        raise Broken(200, {"detail": f"an answer that is not one of the API ({error}). Is the URL right?"}) from None


def _batch(entries: list[bytes]) -> bytes:
    return b'{"entries":[' + b",".join(entries) + b"]}"


def _pieces(entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        data = dict(entry.data or {})
        for message in text.pieces(entry.message):
            yield {"level": entry.level, "message": message} | ({"data": data} if data else {})
            data = {}  # only the first piece has it


def _in_query(value: Any) -> str:
    if value is True:
        return "true"
    return ",".join(value) if isinstance(value, list) else str(value)


def _seconds(value: str | None) -> float | None:
    """The seconds of a Retry-After; None for a date, which the API does not send."""
    return float(value) if value and re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value.strip()) else None
