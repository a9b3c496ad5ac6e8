"""What is compared of version 1: its list of missions, as its service read it, and the call of its script of a create.

The scripts are version 1's own, byte for byte; the Python is its, but for what is the same today.
"""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

from missions.domain import cursors
from missions.domain.models import Mission, MissionPage, MissionQuery, MissionStatus
from missions.storage.connection import Connection
from missions.storage.scripts import Script

FOLDER = Path(__file__).parent
LIST = Script.of((FOLDER / "list.lua").read_text())
_SHEBANG, _BODY = (FOLDER / "create.lua").read_text().split("\n", 1)
CREATE = Script.of(f"{_SHEBANG}\n{(FOLDER / 'prelude.lua').read_text()}\n{_BODY}")


PENDING, OUTBOX = "missions:{default}:index:PENDING", "missions:{default}:outbox"


def key(*parts: str) -> str:
    return ":".join(("missions:{default}", *parts))


def create_call(mission_id: str, content: dict[str, Any]) -> list[str]:
    """The EVALSHA that creates a mission, with two events."""
    name, description = json.dumps(content["name"]), json.dumps(content.get("description", ""))
    data, of = json.dumps(content["data"], separators=(",", ":")), f'"mission_id":"{mission_id}"'
    logged = f'{{"log_level":"info","message":"Mission created",{of}}}'
    created = f'{{"description":{description},{of},"name":{name},"status":"PENDING"}}'
    events = [
        f'"id":"{uuid4()}","meta":{{}},"payload":{payload},"type":"{kind}"}}'
        for kind, payload in (("mission.log_appended", logged), ("mission.created", created))
    ]
    return [
        "EVALSHA", CREATE.sha, "6", key("mission", mission_id), key("log", mission_id), key("outbox"),
        key("token", f"request:{uuid4()}"), key("stats"), key("index", "PENDING"), uuid4().hex, "60", "1", mission_id,
        f'{{"data":{data},"description":{description},"name":{name}}}',
        f'"level":"info","message":"Mission created","data":{{"name":{name},"description":{description}}}}}', *events,
    ]  # fmt: skip


def list_missions(connection: Connection, query: MissionQuery) -> MissionPage:
    """A page of missions; `connection` knows LIST as "list"."""
    last, *found = connection.script(
        "list", [key("index", each) for each in dict.fromkeys(query.status or MissionStatus)],
        key("mission", ""), query.limit, query.order, "", ":",
    )  # fmt: skip
    missions = [_stored(*pair) for pair in zip(found[::2], found[1::2], strict=True)]
    return MissionPage(missions=missions, next_cursor=cursors.encode(query.order, last) if last else None)


def _stored(mission_id: str, record: str) -> Mission:
    line, reason, content = record.split("\n", 2)
    status, version, created, updated, _ = line.split(" ")
    return Mission(
        id=mission_id,
        **json.loads(content),
        status=MissionStatus(status),
        reason=json.loads(reason) if reason else None,
        version=int(version),
        created_at=int(created) / 1_000_000,
        updated_at=int(updated) / 1_000_000,
        active_at=int(updated) / 1_000_000,  # it kept none
    )
