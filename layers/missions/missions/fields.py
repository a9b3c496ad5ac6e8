"""The kinds of values that go over the API, with their limits. Times are Unix seconds."""

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

RESERVED_IDS = frozenset({".", "..", "health", "stats", "openapi.json"})  # a GET could not reach these
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MAX_DEPTH = 64
INT64 = range(-(2**63), 2**63)


def compact_json(value: Any) -> str:
    """The one JSON text of a value: sorted and without spaces, so equal values are equal texts."""
    return _ENCODER.encode(value)


# made once: json.dumps makes one at each call
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


def _not_reserved(mission_id: str) -> str:
    if mission_id in RESERVED_IDS:
        raise ValueError(f"'{mission_id}' is reserved; choose another id")
    return mission_id


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    if CONTROL.search(text):
        raise ValueError("must not contain control characters or line breaks")
    return text


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


def json_object(limit: int) -> AfterValidator:
    """Accept only JSON that EventBridge, too, would take: finite numbers, int64, bounded depth and size."""

    def check(data: dict[str, Any]) -> dict[str, Any]:
        level: list[Any] = [data]
        for _ in range(MAX_DEPTH + 1):
            below: list[Any] = []
            for value in level:
                match value:
                    case dict():
                        below += value.keys()
                        below += value.values()
                    case list():
                        below += value
                    case str():
                        if "\0" in value:
                            raise ValueError("must not contain the character U+0000")
                    case bool() | None | float():
                        pass
                    case int():
                        if value not in INT64:
                            raise ValueError("has an integer beyond 64 bits; send it as a string")
                    case _:
                        raise ValueError(f"has a value of type {type(value).__name__}, which is not JSON")
            if not below:
                break
            level = below
        else:
            raise ValueError(f"is nested deeper than {MAX_DEPTH} levels; flatten it")
        try:
            size = len(compact_json(data).encode())
        except UnicodeEncodeError:
            raise ValueError("has a text that is not valid Unicode (a lone surrogate)") from None
        except ValueError:
            raise ValueError("has a number that is not finite; send it as a string or null") from None
        if size > limit:
            raise ValueError(f"is {size} bytes of JSON; the limit is {limit}")
        return data

    return AfterValidator(check)


def _text(minimum: int, maximum: int, **schema: Any) -> Any:
    """Limits in characters, and for the documents what the validator checks beside them."""
    return Field(min_length=minimum, max_length=maximum, json_schema_extra=schema)


NO_NUL = r"^[^\x00]*$"
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"

MissionId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9._~-]+$",
        min_length=1,
        max_length=128,
        json_schema_extra={"not": {"enum": sorted(RESERVED_IDS)}},
    ),
    AfterValidator(_not_reserved),
]
Name = Annotated[str, _text(1, 200, pattern=ONE_LINE), AfterValidator(_not_blank)]
Description = Annotated[str, _text(0, 4000, pattern=NO_NUL), AfterValidator(_no_nul)]
Reason = Annotated[str, _text(1, 1000, pattern=NO_NUL), AfterValidator(_no_nul)]


def _message_size(text: str) -> str:
    size = len(text.encode())
    if size > 8192:
        raise ValueError(f"is {size} bytes; the limit is 8192")
    return text


Message = Annotated[
    str,
    Field(min_length=1, json_schema_extra={"maxLength": 8192, "pattern": NO_NUL}),
    AfterValidator(_no_nul),
    AfterValidator(_message_size),
]
JSON_OBJECT = WithJsonSchema(
    {
        "type": "object",
        "propertyNames": {"pattern": NO_NUL},
        "additionalProperties": {"$ref": "#/components/schemas/JsonValue"},
    }
)
Limit = Annotated[int, Field(ge=1, le=200)]


def _several(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


SEVERAL = BeforeValidator(_several)  # as API Gateway joins a parameter that is given twice

Moment = Annotated[float, Field(ge=0, lt=10**10)]  # Unix seconds; the store's texts of 16 digits end there
Cursor = Annotated[str, Field(min_length=1, max_length=200)]
