"""Log messages that the API takes: what it would refuse is changed here.

- A NUL is shown as ␀ (U+2400).
- Bytes that are not UTF-8, and lone surrogates, are shown as � (U+FFFD).
- A message of more than 8,192 bytes of UTF-8 becomes several, cut between characters.
- An empty message becomes one space, so that a log keeps its empty lines.
"""

import re

LONGEST = 8192  # bytes of UTF-8 in one message
_SURROGATES = re.compile("[\ud800-\udfff]")
_ON_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def clean(text: str | bytes) -> str:
    """The text without NUL, lone surrogates and bytes that are not UTF-8."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return _SURROGATES.sub("\ufffd", text.replace("\0", "\u2400"))


def pieces(message: str | bytes) -> list[str]:
    """The messages that this one is sent as: one, or several if it is too long."""
    text = clean(message) or " "
    rest = text.encode()
    if len(rest) <= LONGEST:
        return [text]
    found = []
    while rest:
        end = LONGEST
        while end < len(rest) and rest[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        found.append(rest[:end].decode())
        rest = rest[end:]
    return found


def note(text: str) -> str | None:
    """The text as the API takes a note or the name of a worker: at most 200 characters on one line; None if blank."""
    return _ON_A_LINE.sub(" ", clean(text)).strip()[:200] or None


def reason(text: str) -> str:
    """The text as the API takes a reason: 1 to 1,000 characters."""
    return clean(text)[:1000] or "unknown"
