"""Every key name, made here and nowhere else.

A partition lives in one slot of a cluster (the braces are a hash tag), so one script may change a mission, its log, the
indexes, the statistics, the outbox and the token together or not at all. All namespaces of a partition share its
outbox, so the relay reads a fixed number of streams, however many namespaces there are.
"""

import zlib

from missions.domain.models import MissionStatus

PARTITIONS = 1024  # for good: another number would put stored namespaces elsewhere
FORMAT = "missions:2"  # 2 is the version of what is stored


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


class Keys:
    """The keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        self.partition = partition_of(namespace)
        self._prefix = f"{FORMAT}:{{{self.partition}}}:{namespace}:"

    def mission(self, mission_id: str) -> str:
        """A string: the record of a mission."""
        return f"{self._prefix}mission:{mission_id}"

    def log(self, mission_id: str) -> str:
        """A list: the log entries of a mission."""
        return f"{self._prefix}log:{mission_id}"

    def index(self, status: MissionStatus) -> str:
        """A sorted set: moment of the creation and id of each mission that has this status."""
        return f"{self._prefix}index:{status}"

    def token(self, token: str) -> str:
        """A string that expires: what the first request with this token was answered."""
        return f"{self._prefix}token:{token}"

    @property
    def stats(self) -> str:
        """A hash: how many missions have each status, and when that last changed."""
        return f"{self._prefix}stats"

    @property
    def durations(self) -> str:
        """A hash: how long finished missions ran, counted in buckets."""
        return f"{self._prefix}durations"
