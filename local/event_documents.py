"""The documents for those who consume the events: a JSON schema of each, and AsyncAPI 3, from the models."""

import json
from pathlib import Path
from typing import Any

from missions.domain.events import PAYLOADS, Event, EventType, MissionCreated
from pydantic import create_model

VERSION = "1.0.0"
EVENTS = Path("events")
SCHEMAS = EVENTS / "schemas"
ASYNCAPI = EVENTS / "asyncapi.json"
META: dict[str, Any] = {  # of any event: its model takes any members
    "title": "Meta",
    "type": "object",
    "properties": {
        "namespace": {"type": "string", "description": "That of the mission."},
        "sequence": {
            "type": "integer",
            "minimum": 1,
            "description": "Counts the events of the mission, without gaps.",
        },
        "tags": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": 10,
            "description": "Those of the mission, in alphabetical order; only if it has some.",
        },
        "actor": {
            "type": "string",
            "description": "Who did it: the ARN of the IAM principal, the subject of the token, or sweep_missions.",
        },
        "reason": {"type": "string", "description": "Why the status was changed, where that was said."},
    },
    "required": ["namespace", "sequence"],
    "additionalProperties": True,
}


def schema(name: EventType, reference: str = "#/$defs/{model}") -> dict[str, Any]:
    """The JSON schema of an event as it lies in `detail`."""
    payload = PAYLOADS[name]
    target = None if payload is MissionCreated else str
    # the service's Event allows any payload with any type
    model = create_model(
        name,
        __base__=Event,
        __doc__=f"The detail of {name}: a Charter v1.0 envelope; times are Unix seconds.",
        type=(str, ...),
        target=(target, ...),
        payload=(payload, ...),
    )
    made = model.model_json_schema(mode="serialization", ref_template=reference)
    made["properties"] |= {"type": {"const": name, "type": "string"}, "meta": META}
    made["required"] = list(made["properties"])  # what has a default is sent, too
    return made


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document of the bus."""
    schemas: dict[str, Any] = {}
    messages = {}
    for name, payload in PAYLOADS.items():
        schemas[name] = schema(name, "#/components/schemas/{model}")
        schemas |= schemas[name].pop("$defs")
        messages[name] = {
            "name": name,
            "title": payload.__name__,
            "summary": (payload.__doc__ or "").strip(),
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{name}"},
            "examples": [{"payload": json.loads((EVENTS / f"{name}.json").read_text())["detail"]}],
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Missions: events",
            "version": VERSION,
            "description": "The Charter v1.0 events, each the `detail` of an EventBridge event of this detail-type.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "bus": {
                "address": "missions",
                "description": "The event bus of the stack; its source is missions_service.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            "publish": {
                "action": "send",
                "channel": {"$ref": "#/channels/bus"},
                "messages": [{"$ref": f"#/channels/bus/messages/{name}"} for name in messages],
            }
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def documents() -> dict[Path, Any]:
    """Each file and what belongs into it."""
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {ASYNCAPI: asyncapi()} | {SCHEMAS / f"{name}.json": draft | schema(name) for name in PAYLOADS}
