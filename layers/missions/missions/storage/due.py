"""The missions that are due: somebody has to look at them, as one of their limits may have passed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from missions.domain.errors import StoreUnavailable
from missions.storage import keys
from missions.storage.connection import Connection
from missions.storage.keys import Keys

PAGE = 500  # missions of a partition that are read at once
TOGETHER = 50  # of them that one script looks at, so that it takes less than a millisecond
EVERYWHERE = dict.fromkeys(range(keys.PARTITIONS), 0)
Filed = dict[int, list[tuple[str, float]]]  # by partition what is filed as due, and since when in Unix seconds


class Due(NamedTuple):
    """A mission of which a limit has passed, by its name in the API; 'broken' for one that cannot be read.

    `status` is the one that it has.
    """

    namespace: str
    mission_id: str
    limit: str
    status: str


class DueMissions:
    """The missions of all namespaces that are due. `keep` is how many seconds a finished one is kept; 0 is for ever."""

    def __init__(self, connection: Connection, keep: int) -> None:
        self._connection = connection
        self._keep = keep

    def filed(self, now: float, after: Mapping[int, int] = EVERYWHERE) -> tuple[Filed, int]:
        """What is filed as due by `now` (Unix seconds), in one pipeline, and how many partitions are away.

        `after` are the partitions to read, each with how many of its missions are passed over. Raises StoreUnavailable
        when no partition answers.
        """
        every = list(after)
        found = self._connection.commands(
            ("ZRANGE", keys.due(each), 0, int(now * 1_000_000), "BYSCORE", "LIMIT", passed, PAGE, "WITHSCORES")
            for each, passed in after.items()
        )
        if every and all(each is None for each in found):
            raise StoreUnavailable
        filed = {partition: _pairs(each) for partition, each in zip(every, found, strict=True) if each}
        return filed, found.count(None)

    def look(self, filed: Mapping[int, Sequence[tuple[str, float]]]) -> list[Due]:
        """Which of these are due, in one pipeline. What is filed wrong is filed anew."""
        calls: list[tuple[list[str], list[str | int]]] = []
        parts: list[Sequence[str]] = []
        for partition, pairs in filed.items():
            for first in range(0, len(pairs), TOGETHER):
                part = [member for member, _ in pairs[first : first + TOGETHER]]
                wanted = [Keys(namespace).mission(each) for namespace, each in map(_split, part)]
                calls.append(([keys.due(partition), *wanted], [self._keep, "", *part]))
                parts.append(part)
        replies = self._connection.scripts("look_at_due", calls) if calls else []
        return [
            Due(*_split(member), limit, status)
            for part, reply in zip(parts, replies, strict=True)
            for member, (limit, status, _) in zip(part, reply or [], strict=False)
            if limit
        ]


def _pairs(flat: Sequence[str]) -> list[tuple[str, float]]:
    return [(member, float(moment) / 1_000_000) for member, moment in zip(flat[::2], flat[1::2], strict=True)]


def _split(member: str) -> tuple[str, str]:
    namespace, _, mission_id = member.partition(" ")
    return namespace, mission_id
