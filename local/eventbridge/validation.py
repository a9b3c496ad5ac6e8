"""What PutEvents takes and what it refuses, as AWS does. The local EventBridge and the tests' double both go by it."""

import json
import math
from collections.abc import Set
from typing import Any

INT64 = range(-(2**63), 2**63)
MAX_BYTES = 1024 * 1024
MAX_ENTRIES = 10
MAX_DETAIL_TYPE = 128
YEAR_10000 = 253_402_300_800  # in Unix seconds
REQUIRED = ("Source", "DetailType", "Detail")
TEXTS = (*REQUIRED, "EventBusName", "TraceHeader")


class Refusal(Exception):
    """The request is refused as a whole."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Rejection(Exception):
    """One entry is refused."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = {"ErrorCode": code, "ErrorMessage": message}


def entries_of(request: Any) -> list[dict[str, Any]]:
    """The entries of a request. Raises Refusal."""
    entries = request.get("Entries") if isinstance(request, dict) else None
    if not isinstance(entries, list) or not all(map(_well_formed, entries)):
        raise Refusal("SerializationException", "The request is not what PutEvents takes.")
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise Refusal("ValidationException", f"{len(entries)} entries; 1 to {MAX_ENTRIES} are allowed")
    if sum(map(_size, entries)) >= MAX_BYTES:
        raise Refusal("ValidationException", "Total size of the entries in the request is over the limit.")
    return entries


def detail_of(entry: dict[str, Any]) -> dict[str, Any]:
    """The detail of an entry that is taken. Raises Rejection."""
    for name in REQUIRED:
        if not entry.get(name):
            reason = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            raise Rejection("InvalidArgument", reason)
    try:
        detail = json.loads(entry["Detail"], parse_constant=_constant, parse_float=_finite, parse_int=_int64)
        entry["Detail"].encode()
        if "\\u" in entry["Detail"]:  # perhaps half of a character
            json.dumps(detail, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Rejection("MalformedDetail", str(error)) from error
    if not isinstance(detail, dict):
        raise Rejection("MalformedDetail", "Detail is no object")
    return detail


def bus_of(entry: dict[str, Any]) -> str:
    """The name of the bus, which may also be given as an ARN."""
    return str(entry.get("EventBusName") or "default").rpartition("/")[2]


def arrives(entry: dict[str, Any], buses: Set[str]) -> bool:
    """Whether an event that was taken gets to a bus.

    A bus that does not exist, and a detail type that is too long: the answer is a success, and the event is gone.
    """
    return bus_of(entry) in buses and len(entry["DetailType"]) <= MAX_DETAIL_TYPE


def answer(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """What PutEvents answers: an EventId or an ErrorCode for each entry."""
    return {"FailedEntryCount": sum("ErrorCode" in entry for entry in entries), "Entries": entries}


def _well_formed(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    moment, resources = entry.get("Time", 0), entry.get("Resources", [])
    return (
        all(isinstance(entry.get(name, ""), str) for name in TEXTS)
        and isinstance(moment, (int, float))
        and 0 <= moment < YEAR_10000
        and isinstance(resources, list)
        and all(isinstance(each, str) for each in resources)
    )


def _size(entry: dict[str, Any]) -> int:
    texts = [entry.get(name, "") for name in REQUIRED] + entry.get("Resources", [])
    return sum(len(text.encode(errors="surrogatepass")) for text in texts) + (14 if "Time" in entry else 0)


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("a number is too large")
    return number


def _int64(text: str) -> int:
    if len(text) > 20 or int(text) not in INT64:
        raise ValueError("an integer is beyond 64 bits")
    return int(text)
