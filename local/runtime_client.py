"""What a sandbox runs: `python -m local.runtime_client awslambdaric`, or `small` where that has no wheel (macOS).

The small client speaks the same protocol, with nothing but the standard library.
"""

import http.client
import importlib
import json
import os
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from local.processes import end_with_parent

HANDLER = "app.handler"


@dataclass
class Context:
    """What Lambda passes beside the event."""

    function_name: str
    timeout: float = 55
    aws_request_id: str = field(default_factory=lambda: str(uuid4()))
    invoked_function_arn: str = ""
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    started: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self.timeout - (time.monotonic() - self.started)))


def run_small_client(address: str) -> None:
    """Ask for invocations and answer them, until the API is gone. Raises OSError then."""
    connection = http.client.HTTPConnection(address)

    def ask(method: str, path: str, body: str = "") -> tuple[Any, Any]:
        connection.request(method, f"/2018-06-01/runtime/{path}", body.encode())
        response = connection.getresponse()
        return response.headers, json.loads(response.read() or "null")

    try:
        module, name = HANDLER.rsplit(".", 1)
        handler = getattr(importlib.import_module(module), name)
    except Exception as error:
        ask("POST", "init/error", json.dumps(_told(error)))
        sys.exit(1)
    while True:
        headers, event = ask("GET", "invocation/next")
        context = Context(
            os.environ["AWS_LAMBDA_FUNCTION_NAME"],
            int(headers["Lambda-Runtime-Deadline-Ms"]) / 1000 - time.time(),
            headers["Lambda-Runtime-Aws-Request-Id"],
            headers["Lambda-Runtime-Invoked-Function-Arn"],
            memory_limit_in_mb=int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]),
        )
        os.environ["_X_AMZN_TRACE_ID"] = headers["Lambda-Runtime-Trace-Id"] or ""
        try:
            outcome, answer = "response", json.dumps(handler(event, context))
        except Exception as error:
            outcome, answer = "error", json.dumps(_told(error))
        ask("POST", f"invocation/{context.aws_request_id}/{outcome}", answer)


def _told(error: Exception) -> dict[str, Any]:
    traceback.print_exc()
    return {
        "errorType": type(error).__name__,
        "errorMessage": str(error),
        "stackTrace": traceback.format_tb(error.__traceback__),
    }


if __name__ == "__main__":
    end_with_parent()
    if sys.argv[1] == "awslambdaric":
        importlib.import_module("awslambdaric.__main__").main(["", HANDLER])
    else:
        run_small_client(os.environ["AWS_LAMBDA_RUNTIME_API"])
