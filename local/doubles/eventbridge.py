"""An EventBridge that holds to AWS's real limits, which moto does not, and fails on command.

It speaks the service's own protocol over HTTP, so that boto3 is the real one. What it accepted is in `events`.
"""

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from local.doubles.http import Handler, serve
from local.eventbridge.validation import Refusal, Rejection, answer, arrives, detail_of, entries_of

DRIP = 0.1  # seconds between two bytes, so that no read times out


@dataclass
class StrictEventBridge:
    """The state of the double. `fault` names how it fails now:

    throttle, error (500), denied, partial (every second entry), both (each entry has an EventId and an ErrorCode),
    empty (200 without a body), drip (the answer comes a byte at a time), hang, reset, or '' for none. `delay` is added
    to each answer, in seconds.
    """

    buses: set[str] = field(default_factory=lambda: {"missions"})
    fault: str = ""
    delay: float = 0.0
    events: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0
    traces: list[str | None] = field(default_factory=list)
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def put_events(self, request: dict[str, Any]) -> dict[str, Any]:
        return answer([self._put(number, entry) for number, entry in enumerate(entries_of(request))])

    def _put(self, position: int, entry: dict[str, Any]) -> dict[str, Any]:
        if self.fault == "partial" and position % 2:
            return {"ErrorCode": "ThrottlingException", "ErrorMessage": "scripted"}
        if self.fault == "both":
            return {"EventId": str(uuid4()), "ErrorCode": "InternalFailure", "ErrorMessage": "scripted"}
        try:
            detail = detail_of(entry)
        except Rejection as rejection:
            return rejection.answer
        if arrives(entry, self.buses):
            self.events.append(detail)
            self.traces.append(entry.get("TraceHeader"))
        return {"EventId": str(uuid4())}

    def describe_event_bus(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["Name"] not in self.buses:
            raise Refusal("ResourceNotFoundException", "There is no such bus.")
        return {"Name": request["Name"]}


@contextmanager
def strict_eventbridge() -> Iterator[StrictEventBridge]:
    """Serve the double on a free port of the loopback interface."""
    state = StrictEventBridge()

    class Api(Handler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            state.calls += operation == "PutEvents"
            time.sleep(state.delay)
            match state.fault:
                case "hang":
                    state.released.wait(30)
                    self.close_connection = True
                case "reset":
                    linger = struct.pack("ii", 1, 0)  # close() sends RST
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()
                    self.close_connection = True
                case "empty":
                    self._answer(200, b"")
                case "error":
                    self._error(500, "InternalFailure", "scripted")
                case "throttle":
                    self._error(400, "ThrottlingException", "scripted")
                case "denied":
                    self._error(400, "AccessDeniedException", "scripted")
                case _:
                    self._serve(operation, request)

        def _serve(self, operation: str, request: dict[str, Any]) -> None:
            serve = {"PutEvents": state.put_events, "DescribeEventBus": state.describe_event_bus}[operation]
            try:
                self._answer(200, json.dumps(serve(request)).encode())
            except Refusal as error:
                self._error(400, error.code, str(error))

        def _error(self, status: int, code: str, message: str) -> None:
            self._answer(status, json.dumps({"__type": code, "message": message}).encode())

        def _answer(self, status: int, body: bytes) -> None:
            if state.fault == "drip":
                answer = f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                for byte in answer:
                    self.wfile.write(bytes([byte]))
                    if state.released.wait(DRIP):
                        break
                self.close_connection = True
                return
            self.send(status, body, **{"Content-Type": "application/x-amz-json-1.1"})

    with serve(Api) as address:
        state.url = f"http://{address}"
        try:
            yield state
        finally:
            state.released.set()
