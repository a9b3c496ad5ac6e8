"""Every key name, made here and nowhere else.

A partition lives in one slot of a cluster (the braces are a hash tag), so one script may change a mission, its log, the
indexes, the statistics, the outbox and the token together or not at all. All namespaces of a partition share its
outbox, so the relay reads a fixed number of streams, however many namespaces there are.
"""

import zlib

PARTITIONS = 1024  # for good: another number would put stored namespaces elsewhere
FORMAT = "missions:3"  # 3 is the version of what is stored


def partition_of(namespace: str) -> int:
    """The partition of a namespace, 0 to 1,023."""
    return zlib.crc32(namespace.encode()) % PARTITIONS


def outbox(partition: int) -> str:
    """A stream: the events that are not published yet."""
    return f"{FORMAT}:{{{partition}}}:outbox"


def dead(partition: int) -> str:
    """A stream: the events that EventBridge can never take, each with its error."""
    return f"{FORMAT}:{{{partition}}}:dead"


def namespaces(partition: int) -> str:
    """A set: the namespaces that have missions."""
    return f"{FORMAT}:{{{partition}}}:namespaces"


def due(partition: int) -> str:
    """A sorted set: 'namespace id' of each mission that has a limit, by the moment at which it has to be looked at."""
    return f"{FORMAT}:{{{partition}}}:due"


def letters(status: str) -> str:
    """What stands for a status in the index and among the tags."""
    return status[:2]


class Keys:
    """The keys of one namespace. A place is the moment of a mission's creation (16 digits) and its id."""

    def __init__(self, namespace: str) -> None:
        self.partition = partition_of(namespace)
        self._prefix = f"{FORMAT}:{{{self.partition}}}:{namespace}:"

    def mission(self, mission_id: str) -> str:
        """A string: the record of a mission, or what is left of one that was removed."""
        return f"{self._prefix}mission:{mission_id}"

    def log(self, mission_id: str) -> str:
        """A list: the log entries of a mission."""
        return f"{self._prefix}log:{mission_id}"

    def token(self, token: str) -> str:
        """A string that expires: what the first request with this token was answered."""
        return f"{self._prefix}token:{token}"

    @property
    def index(self) -> str:
        """A sorted set: two letters of the status and the place of each mission."""
        return f"{self._prefix}index"

    @property
    def tags(self) -> str:
        """A sorted set: for each tag of each mission the tag, NUL, two letters of the status and the place."""
        return f"{self._prefix}tags"

    @property
    def names(self) -> str:
        """A sorted set: the name in small letters, NUL and the place of each mission."""
        return f"{self._prefix}names"

    @property
    def queue(self) -> str:
        """A sorted set: the place of each PENDING mission, by the moment from which it may be claimed."""
        return f"{self._prefix}queue"

    @property
    def stats(self) -> str:
        """A hash: how many missions have each status, how many ever had, and when that and anything last changed."""
        return f"{self._prefix}stats"

    @property
    def history(self) -> str:
        """A hash: how many missions were created, completed, failed and cancelled in each hour."""
        return f"{self._prefix}history"

    @property
    def durations(self) -> str:
        """A hash: how long finished missions ran, counted in buckets."""
        return f"{self._prefix}durations"

    def found(self) -> list[str]:
        """Where a mission is found or counted, in the order of move.lua."""
        return [self.history, self.index, self.tags, self.names, self.queue, due(self.partition)]
