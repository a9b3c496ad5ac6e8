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
    """What stands for a status in the index: two letters, and two more for missions that wait for their moment."""
    return "PEWA" if status == "PENDING" else status[:2]


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
        """A sorted set of all that missions are found by, in the order of its texts.

        Two letters of the status and the place of each mission; 'n', the name in small letters, NUL and the place; and
        for each of its tags 't', the tag, NUL, the two letters and the place.
        """
        return f"{self._prefix}index"

    @property
    def queue(self) -> str:
        """A sorted set: the place of each PENDING mission that has a moment before which nobody claims it, by that."""
        return f"{self._prefix}queue"

    @property
    def stats(self) -> str:
        """A hash: how many missions have each status, ever had it, and got it in each hour; the last changes."""
        return f"{self._prefix}stats"

    @property
    def durations(self) -> str:
        """A hash: how long finished missions ran, counted in buckets."""
        return f"{self._prefix}durations"

    def found(self) -> list[str]:
        """Where a mission is found, in the order of enter.lua."""
        return [self.index, self.queue, due(self.partition)]
