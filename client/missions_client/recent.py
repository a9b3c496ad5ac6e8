"""The ids that were shown lately, so that the beginning of one is enough. Each API has a small file in the cache."""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from missions_client.config import Settings, folder

KEPT = 1000
SHORTEST = 8  # characters of an id that are shown at least
_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Recent:
    """The ids, the newest first. What cannot be read or written is left out: it only saves typing."""

    def __init__(self, settings: Settings) -> None:
        digest = sha256(f"{settings.context or ''} {settings.url}".encode()).hexdigest()
        self._path: Path = folder("XDG_CACHE_HOME", ".cache") / f"{digest[:16]}.ids"

    @cached_property
    def ids(self) -> list[str]:
        with suppress(OSError, ValueError):
            return self._path.read_text().split()
        return []

    def add(self, ids: Iterable[str]) -> None:
        """Remember these."""
        # What is no id of the API would be put on a command line by the completion of a shell
        both = list(dict.fromkeys([*filter(_ID.fullmatch, ids), *self.ids]))[:KEPT]
        if both == self.ids:
            return
        self.ids = both
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._path.with_suffix(f".{os.getpid()}")
            new.write_text("\n".join(both))
            new.replace(self._path)

    def beginning_with(self, text: str) -> list[str]:
        """The ids that begin like this."""
        return [each for each in self.ids if each.startswith(text)]

    def short(self, ids: Sequence[str]) -> list[str]:
        """What is enough to type of each id. An id that somebody chose is shown whole."""
        return [self._short(each) if _UUID.fullmatch(each) else each for each in ids]

    def _short(self, mission_id: str) -> str:
        length = SHORTEST
        while len(self.beginning_with(mission_id[:length])) > 1:
            length += 1
        return mission_id[:length]
