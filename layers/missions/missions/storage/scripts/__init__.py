"""The Lua scripts of the store. Each says in its first lines what it does, its KEYS, its ARGV and its replies."""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Script(NamedTuple):
    """A script as it is sent to the server, and the hash by which the server knows it."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> "Script":
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def load(name: str) -> Script:
    """The script of this name, with what it includes ('-- @include facts')."""
    return Script.of(_read(name))


def _read(name: str) -> str:
    text = Path(__file__).with_name(f"{name}.lua").read_text()
    return re.sub(r"^-- @include (\w+)\n", lambda found: _read(found[1]), text, flags=re.MULTILINE)
