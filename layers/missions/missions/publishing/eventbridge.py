"""Charter events to EventBridge, through PutEvents.

botocore signs, and the standard library sends. boto3's client takes three times the processor time for a call and twice
as much to start, and a sandbox pays both: publishing is most of what it does.
"""

import json
import os
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from http.client import HTTPConnection, HTTPSConnection
from typing import Any, Self
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session

from missions.domain.events import Event


class Refused(Exception):
    """EventBridge refuses a call as a whole; `code` is its error, such as ThrottlingException."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class EventBridge:
    """One event bus. One attempt and a short timeout: what fails stays in the outbox, so a caller need not wait.

    `timeout` (seconds) is one for each step of a call. Several threads may use it at once.
    """

    def __init__(self, bus: str, region: str | None, timeout: float = 1) -> None:
        self._bus, self._timeout = bus, timeout
        self._idle: list[HTTPConnection] = []
        self._session = Session()
        self._region = region or str(self._session.get_config_variable("region"))
        self._url = os.environ.get("AWS_ENDPOINT_URL_EVENTBRIDGE") or f"https://events.{self._region}.amazonaws.com"
        self._tls: ssl.SSLContext | None = None
        if self._url.startswith("https:"):
            self._tls = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))

    @classmethod
    def existing(cls, bus: str, region: str | None) -> Self:
        """A bus for the relay and for operators, who can wait longer than a caller.

        Raises RuntimeError when there is no such bus (PutEvents answers success, and the events are lost), and what
        `publish` does.
        """
        made = cls(bus, region, timeout=5)
        try:
            made._call("DescribeEventBus", {"Name": bus})
        except Refused as refusal:
            if refusal.code != "ResourceNotFoundException":
                raise
            raise RuntimeError(
                f"The event bus '{bus}' does not exist; create it. Its events wait in the outbox."
            ) from None
        return made

    def __del__(self) -> None:
        for connection in self._idle:
            connection.close()

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        """Publish up to ten events, less than 1 MB in all; for each None when EventBridge took it, else its error.

        Raises Refused, OSError, http.client.HTTPException, botocore's BotoCoreError.
        """
        entries = [self._entry(event) for event in events]
        trace = os.environ.get("_X_AMZN_TRACE_ID")  # Lambda sets it anew for each invocation
        if trace:
            for entry in entries:
                entry["TraceHeader"] = trace[:500]
        answer = self._call("PutEvents", {"Entries": entries}).get("Entries", [])
        if len(answer) != len(events):
            return ["NoAnswer"] * len(events)
        return [entry.get("ErrorCode") or (None if entry.get("EventId") else "NoEventId") for entry in answer]

    def _entry(self, event: Event) -> dict[str, Any]:
        try:
            moment = datetime.fromtimestamp(event.timestamp, UTC)
        except (ValueError, OverflowError):  # no such year; EventBridge would refuse the call, and not say which event
            raise Refused("ValidationException", f"{event.timestamp} is no time") from None
        return {
            "Source": event.source,
            "DetailType": event.type,
            "Detail": event.detail,
            "Time": moment.timestamp(),
            "EventBusName": self._bus,
        }

    def _call(self, operation: str, request: Mapping[str, Any]) -> Any:
        body = json.dumps(request).encode()
        headers = self._signed(operation, body)
        while True:
            used = bool(self._idle)
            connection = self._idle.pop() if used else self._connect()
            try:
                connection.request("POST", "/", body, headers)
                response = connection.getresponse()
                content = response.read()
            except BaseException as error:
                connection.close()
                # It was closed while nobody used it. Should EventBridge have read the events, their ids are the same.
                if used and isinstance(error, ConnectionError):
                    continue
                raise
            self._idle.append(connection)
            return _parsed(response.status, content)

    def _connect(self) -> HTTPConnection:
        host = urlsplit(self._url).netloc
        if self._tls:
            return HTTPSConnection(host, timeout=self._timeout, context=self._tls)
        return HTTPConnection(host, timeout=self._timeout)

    @cached_property
    def _credentials(self) -> Credentials:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise RuntimeError("There are no AWS credentials to publish with")
        return credentials

    def _signed(self, operation: str, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"AWSEvents.{operation}"}
        request = AWSRequest("POST", f"{self._url}/", headers=headers, data=body)
        SigV4Auth(self._credentials.get_frozen_credentials(), "events", self._region).add_auth(request)
        return dict(request.headers.items())


def _parsed(status: int, content: bytes) -> Any:
    """The answer, {} for none. Raises Refused."""
    try:
        answer = json.loads(content or b"{}")
    except ValueError:
        raise Refused("BadAnswer", f"status {status}, and no JSON") from None
    if status != 200:
        code = answer.get("__type", "").rpartition("#")[2] if isinstance(answer, dict) else ""
        raise Refused(code or str(status), answer.get("message", "") if code else "")
    return answer
