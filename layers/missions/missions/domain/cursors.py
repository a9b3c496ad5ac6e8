"""Cursors: opaque to a caller, they say where the following page begins, and of which order of the listing."""

import base64
import re

from missions.domain.errors import InvalidRequest


def encode(order: str, position: str | int) -> str:
    """The cursor of this position: the last mission shown, or a position in a log."""
    return base64.urlsafe_b64encode(f"{order} {position}".encode()).decode().rstrip("=")


def member(cursor: str, order: str, prefix: str = "") -> str:
    """What the index, or another order, has of the last mission shown; it begins like this. Raises InvalidRequest."""
    return _decode(cursor, order, re.escape(prefix) + _MEMBERS[order])


def position(cursor: str, order: str) -> int:
    """The position in a log. Raises InvalidRequest."""
    return int(_decode(cursor, order, r"[0-9]{1,15}"))


_MEMBERS = {
    "newest": r"[0-9]{16}[!-~]{1,128}",
    "oldest": r"[0-9]{16}[!-~]{1,128}",
    "name": r"[^\n]{0,800}",
    "overdue": r"[0-9]{1,17} [!-~]{1,128} [!-~]{1,128}",
}


def _bytes(cursor: str) -> bytes:
    return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)


def _decode(cursor: str, order: str, pattern: str) -> str:
    try:
        given, _, position = _bytes(cursor).decode().partition(" ")
    except ValueError:
        given = position = ""
    if given != order or not re.fullmatch(pattern, position):
        raise InvalidRequest(
            422, "invalid_cursor", f"This listing, {order} first, did not give this cursor; begin without one."
        )
    return position
