"""make schemas: the JSON schema of each event as it lies in `detail`, from the models, into events/schemas/."""

import json
from pathlib import Path

from missions.charter import PAYLOADS, Event, MissionCreated
from pydantic import create_model

FOLDER = Path(__file__).parents[1] / "events" / "schemas"


def schemas() -> dict[Path, str]:
    """The text of each schema file."""
    texts = {}
    for name, payload in PAYLOADS.items():
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
        schema = model.model_json_schema(mode="serialization")
        schema["properties"]["type"] = {"const": name, "type": "string"}
        schema["required"] = list(schema["properties"])  # what has a default is sent, too
        text = json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2)
        texts[FOLDER / f"{name}.json"] = text + "\n"
    return texts


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in schemas().items():
        file.write_text(text)
