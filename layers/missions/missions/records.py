"""What the store keeps of a mission (see prelude.lua), read. Moments are text of 16 digits, Unix microseconds."""

import json

from missions.models import Mission, MissionStatus


def seconds(moment: str) -> float:
    return int(moment) / 1_000_000


def moment(seconds: float, later: int) -> str:
    """The store's text of a moment, or of the microsecond after it."""
    return f"{round(seconds * 1_000_000) + later:016d}"


def stored(mission_id: str, record: str) -> Mission:
    state, reason, content = record.split("\n", 2)
    return mission(mission_id, f"{state}\n{reason}", content)


def mission(mission_id: str, state: str, content: str) -> Mission:
    """A mission from the three lines that the store keeps (see prelude.lua)."""
    line, reason = state.split("\n")
    status, version, created, updated, _ = line.split(" ")
    return Mission(
        id=mission_id,
        **json.loads(content),
        status=MissionStatus(status),
        reason=json.loads(reason) if reason else None,
        version=int(version),
        created_at=seconds(created),
        updated_at=seconds(updated),
    )
