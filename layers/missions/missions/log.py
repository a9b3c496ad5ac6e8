"""The one logger. Request id, route, namespace and mission are on every line until the next request."""

import json
from typing import Any

from aws_lambda_powertools import Logger
from pydantic_core import to_json


def _line(log: Any) -> str:
    try:
        return to_json(log, fallback=str).decode()
    except ValueError:  # a text that is not Unicode, such as a lone surrogate
        return json.dumps(log, default=str)


# By default powertools writes with json, and looks whether a message is JSON: a third of the time that a line takes.
logger = Logger(service="missions_service", json_serializer=_line, json_deserializer=str)
# Its append_keys and clear_state; those of the logger look for this object at each call, four times a request.
log_context = logger.registered_formatter
