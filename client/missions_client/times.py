"""Moments and durations, as people write and read them."""

import re
import time
from datetime import UTC, datetime

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> int:
    """The seconds of a text such as 90, 90s, 15m, 2h or 7d. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,12})([smhd]?)", text.strip().lower())
    if not found:
        raise ValueError("it must be seconds, or such as 90s, 15m, 2h, 7d")
    return int(found[1]) * UNITS[found[2] or "s"]


def moment(text: str, direction: int) -> float:
    """Unix seconds of a text: these, ISO 8601 (local time without a zone), or 2h from now (direction 1) or ago (-1).

    Raises ValueError.
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]+[smhdSMHD]", text):
        return time.time() + direction * seconds(text)
    if re.fullmatch(r"[0-9]{9,10}(\.[0-9]+)?", text):
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError("it must be such as 2h, 2026-11-26T18:19, 2026-11-26T18:19:29Z, or Unix seconds") from None


def stamp(at: float, utc: bool) -> str:
    """2026-11-26 19:19:29 in the local zone, or 2026-11-26 18:19:29Z."""
    if utc:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def long(duration: float) -> str:
    """How long so many seconds are, in one or two units: 0.4 s, 12 s, 3 m 20 s, 2 h 5 m, 4 d 1 h."""
    if duration < 10:
        return f"{duration:.3g} s"
    whole = round(duration)
    for unit, below in (("d", "h"), ("h", "m"), ("m", "s")):
        if whole >= UNITS[unit]:
            count, rest = divmod(whole, UNITS[unit])
            more = rest // UNITS[below]
            return f"{count} {unit} {more} {below}" if more else f"{count} {unit}"
    return f"{whole} s"


def age(duration: float) -> str:
    """How long ago, in one unit: 5s, 3m, 2h, 4d. A clock that is behind gives 0s."""
    whole = max(0, int(duration))
    for unit, size in reversed(UNITS.items()):
        if whole >= size:
            return f"{whole // size}{unit}"
    return "0s"
