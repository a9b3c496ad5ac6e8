"""What is compared of version 2: its script of a create, before missions could be claimed, limited, tagged and found by
name.

The scripts are version 2's own, byte for byte; the arguments are those that its service was recorded to send.
"""

from pathlib import Path
from typing import Any
from uuid import uuid4

from missions.domain.fields import compact_json
from missions.storage.scripts import Script

FOLDER = Path(__file__).parent
CREATE = Script.of(
    (FOLDER / "create_mission.lua").read_text().replace("-- @include write\n", (FOLDER / "write.lua").read_text())
)
PARTITION, NAMESPACE = "missions:2:{223}", "missions:2:{223}:default"
PENDING, OUTBOX = f"{NAMESPACE}:index:PENDING", f"{PARTITION}:outbox"


def create_call(mission_id: str, content: dict[str, Any]) -> list[str]:
    """The EVALSHA that creates a mission, with two events."""
    name, description = compact_json(content["name"]), compact_json(content.get("description", ""))
    drafts = ",".join(
        f'{{"id":"{uuid4()}","type":"{kind}","offset":{offset},"payload":{{{payload}}},"meta":{{}}}}'
        for offset, (kind, payload) in enumerate((
            ("mission.log_appended", '"log_level":"info","message":"Mission created"'),
            ("mission.created", f'"name":{name},"description":{description},"status":"PENDING"'),
        ))
    )  # fmt: skip
    return [
        "EVALSHA", CREATE.sha, "7", f"{NAMESPACE}:mission:{mission_id}", f"{NAMESPACE}:log:{mission_id}", OUTBOX,
        f"{NAMESPACE}:token:attempt:{uuid4()}", f"{NAMESPACE}:stats", PENDING, f"{PARTITION}:namespaces",
        uuid4().hex[:24], "", "60", "default", mission_id, compact_json(content),
        f'level=info\n{{"message":"Mission created","data":{{"name":{name},"description":{description}}}}}',
        f"[{drafts}]",
    ]  # fmt: skip
