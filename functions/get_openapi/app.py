"""GET /api/missions/openapi.json: the description of the API, as `make documents` made it."""

from functools import cache
from pathlib import Path
from typing import Any


@cache
def document() -> str:
    return Path(__file__).with_name("openapi.json").read_text()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer with the document; it takes neither the layer nor the store."""
    headers = {"Content-Type": "application/json", "Cache-Control": "max-age=300"}
    return {"statusCode": 200, "headers": headers, "body": document(), "isBase64Encoded": False}
