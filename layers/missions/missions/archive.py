"""The archive: missions that their retention removes, written to S3 before, with their logs.

An object is compressed JSON lines, one for each mission: {"mission": ..., "log": [...]}. Its name has the day (UTC) on
which they finished, and the namespace: missions/2026/11/24/default/<uuid>.jsonl.gz. A run that is ended between writing
and removing writes a mission twice.
"""

import gzip
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from missions.domain.errors import MissionNotFound, MissionRemoved, MissionsError
from missions.domain.models import LogQuery, Mission
from missions.domain.writes import Kept
from missions.log import logger
from missions.storage.due import Due
from missions.storage.store import Store

LIMITS = Config(connect_timeout=3, read_timeout=15, retries={"total_max_attempts": 1})  # the next run tries again
TOGETHER = 100  # missions that are read at once
IN_MEMORY = 16_000_000  # bytes of an object; a larger one is on the disk meanwhile


class Archive:
    """A bucket of S3."""

    def __init__(self, bucket: str, region: str | None) -> None:
        self._bucket = bucket
        self._s3: Any = boto3.client("s3", region_name=region, config=LIMITS)

    def write(self, store: Store, missions: Sequence[Due], more_time: Callable[[], bool]) -> tuple[list[Kept], bool]:
        """Write these; gives those that are written, and whether more could be."""
        written: list[Kept] = []
        for first in range(0, len(missions), TOGETHER):
            groups: dict[tuple[str, str], list[Mission]] = defaultdict(list)
            for due in missions[first : first + TOGETHER]:
                with _left_out(due.mission_id):
                    mission = store.get_mission(due.namespace, due.mission_id)
                    finished = datetime.fromtimestamp(mission.finished_at or mission.updated_at, UTC)
                    groups[due.namespace, f"{finished:%Y/%m/%d}"].append(mission)
            for (namespace, day), group in groups.items():
                try:
                    written += self._write(store, namespace, day, group)
                except (BotoCoreError, ClientError, OSError) as error:
                    logger.error("S3 does not take missions; they stay", missions=len(group), error=repr(error))
                    return written, False
            if not more_time():
                return written, False
        return written, True

    def _write(self, store: Store, namespace: str, day: str, missions: Sequence[Mission]) -> list[Kept]:
        """Write one object; gives what is in it."""
        written: list[Kept] = []
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            with gzip.open(file, "wt", encoding="utf-8") as lines:
                for mission in missions:
                    with _left_out(mission.id):
                        log = list(_log(store, namespace, mission.id))
                        lines.write(json.dumps({"mission": mission.model_dump(mode="json"), "log": log}) + "\n")
                        written.append(Kept(namespace, mission.id, mission.active_at))
            if not written:
                return []
            file.seek(0)
            key = f"missions/{day}/{namespace}/{uuid4()}.jsonl.gz"
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=file, ContentType="application/gzip")
        return written


@contextmanager
def _left_out(mission_id: str) -> Iterator[None]:
    """Leave out a mission that cannot be read, or is gone by now."""
    try:
        yield
    except (MissionNotFound, MissionRemoved):
        pass
    except MissionsError as error:
        logger.error("A mission is not archived, and stays", mission_id=mission_id, error=error.detail)


def _log(store: Store, namespace: str, mission_id: str) -> Iterator[dict[str, Any]]:
    """The entries of a log, as JSON."""
    cursor: str | None = None
    while True:
        page = store.get_log(namespace, mission_id, LogQuery(limit=200, cursor=cursor))
        yield from (each.model_dump(mode="json") for each in page.log)
        cursor = page.next_cursor
        if cursor is None:
            return
