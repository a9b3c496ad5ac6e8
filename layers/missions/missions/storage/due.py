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


class Filed(NamedTuple):
    """A mission that is filed as due, and since when in Unix seconds."""

    namespace: str
    mission_id: str
    since: float


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

    def filed(self, now: float, after: Mapping[int, int] = EVERYWHERE) -> tuple[dict[int, list[Filed]], int]:
        """What is filed as due by `now` (Unix seconds), by partition, in one pipeline; and how many are away.

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
        filed = {partition: _filed(each) for partition, each in zip(every, found, strict=True) if each}
        return filed, found.count(None)

    def look(self, filed: Mapping[int, Sequence[Filed]]) -> list[Due]:
        """Which of these are due, in one pipeline. What is filed wrong is filed again."""
        calls: list[tuple[list[str], list[str | int]]] = []
        parts: list[Sequence[str]] = []
        for partition, missions in filed.items():
            for first in range(0, len(missions), TOGETHER):
                part = [f"{each.namespace} {each.mission_id}" for each in missions[first : first + TOGETHER]]
                calls.append(self._call(partition, part))
                parts.append(part)
        replies = self._connection.scripts("look_at_due", calls) if calls else []
        return [
            Due(*_split(member), limit, status)
            for part, reply in zip(parts, replies, strict=True)
            for member, (limit, status, _) in zip(part, reply or [], strict=False)
            if limit
        ]

    def page(self, namespace: str, limit: int, after: str) -> tuple[list[tuple[Due, str]], str]:
        """Up to `limit` missions of a namespace that are due, the longest first, each with its record; two round trips.

        They begin behind `after`, which is what the page before gave besides; that is empty on the last one.
        """
        partition, until = keys.partition_of(namespace), self._connection.until()
        moment, _, member = after.partition(" ")
        last_moment, last, *pairs = self._connection.script(
            "list_due", [keys.due(partition)], f"{namespace} ", limit + 1, moment, member, until=until
        )
        moments, members = pairs[::2], pairs[1::2][:limit]
        found: Sequence[Sequence[str]] = []
        if members:
            wanted, args = self._call(partition, members, "records")
            found = self._connection.script("look_at_due", wanted, *args, until=until)
        if len(found) < len(moments):
            last_moment, last = moments[len(found) - 1], members[len(found) - 1]
        looked_at = [
            (Due(*_split(member), limit, status), record)
            for member, (limit, status, record) in zip(members, found, strict=False)
        ]
        return looked_at, f"{last_moment} {last}" if last else ""

    def _call(self, partition: int, members: Sequence[str], also: str = "") -> tuple[list[str], list[str | int]]:
        """KEYS and ARGV of look_at_due."""
        wanted = [Keys(namespace).mission(each) for namespace, each in map(_split, members)]
        return [keys.due(partition), *wanted], [self._keep, also, *members]


def _filed(flat: Sequence[str]) -> list[Filed]:
    moments = (float(each) / 1_000_000 for each in flat[1::2])
    return [Filed(*_split(member), since) for member, since in zip(flat[::2], moments, strict=True)]


def _split(member: str) -> tuple[str, str]:
    namespace, _, mission_id = member.partition(" ")
    return namespace, mission_id
