"""JSON as a careful server takes it: no member twice, no NaN or Infinity, and whatever else is wrong is a 400."""

import json
import math
from collections import Counter
from typing import Any, NoReturn

from missions.domain.errors import InvalidRequest


def loads(text: str) -> Any:
    """The value of this JSON text. Raises InvalidRequest."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise InvalidRequest(400, "malformed_json", "The JSON is nested too deep.") from None
    except ValueError as error:
        if not text.strip():
            raise InvalidRequest(400, "malformed_json", "The body is empty; send JSON.") from None
        raise InvalidRequest(400, "malformed_json", f"The body is not valid JSON: {error}.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"duplicate member {twice[:100]!a}")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # here, and not by a model, which would report each of very many
        raise InvalidRequest(
            422, "validation_failed", "body: has a number that is not finite; send it as a string or null"
        )
    return number


def _integer(text: str) -> int:
    if len(text) > 400:
        raise ValueError("an integer has too many digits; send it as a string")
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# made once: json.loads makes one at each call
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_integer
)
