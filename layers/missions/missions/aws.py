"""Calls of AWS's JSON APIs, EventBridge and Secrets Manager: botocore signs, and the standard library sends.

boto3's client takes much more processor time for a call, which each sandbox pays: publishing is most of what it does.
And it asks for the role's credentials when it is made, so that a snapshot would hold them; here the call that needs
them asks, within the deadline of its caller.
"""

import json
import os
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError, NoRegionError
from botocore.session import Session

# A connection that was closed while nobody used it; on Python 3.11 ssl has errors of its own for that
CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Refused(Exception):
    """AWS refuses a call; `code` is its error, such as ThrottlingException, or BadAnswer when it gave none."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


def region_of(session: Session, region: str | None) -> str:
    """This region, or that of the environment. Raises NoRegionError."""
    found = region or session.get_config_variable("region")
    if not found:
        raise NoRegionError
    return str(found)


class JsonApi:
    """One API of one region, such as `JsonApi("events", "AWSEvents", "EVENTBRIDGE", ...)`.

    `variable` is the end of the variable that may name its endpoint (AWS_ENDPOINT_URL_...). `timeout` (seconds) is one
    for each step of a call. Several threads may use it at once. Raises NoRegionError, and ValueError for an endpoint
    that is no URL.
    """

    def __init__(self, service: str, prefix: str, variable: str, region: str | None, timeout: float) -> None:
        self._idle: list[HTTPConnection] = []  # first, for __del__
        self._session = Session()
        self._service, self._prefix, self._timeout = service, prefix, timeout
        self._region = region_of(self._session, region)
        own = f"https://{service}.{self._region}.amazonaws.com" + (".cn" if self._region.startswith("cn-") else "")
        given = os.environ.get(f"AWS_ENDPOINT_URL_{variable}") or os.environ.get("AWS_ENDPOINT_URL") or own
        parts = urlsplit(given.rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"The endpoint of {service} must be a URL like {own}")
        self.url, self._host, self._path = f"{given.rstrip('/')}/", parts.netloc, f"{parts.path}/"
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))

    def __del__(self) -> None:
        for connection in self._idle:
            connection.close()

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer; {} when there is none. Raises Refused, OSError, http.client.HTTPException, BotoCoreError."""
        body = json.dumps(request).encode()
        headers = self._signed(operation, body)
        while True:
            try:
                connection, used = self._idle.pop(), True
            except IndexError:
                connection, used = self._connect(), False
            try:
                connection.request("POST", self._path, body, headers)
                response = connection.getresponse()
                content = response.read()
            except BaseException as error:
                connection.close()
                # Should the call have been read before the connection was closed, it is made twice.
                if used and isinstance(error, CLOSED):
                    continue
                raise
            self._idle.append(connection)
            return _parsed(response.status, content)

    def _connect(self) -> HTTPConnection:
        if self._tls:
            return HTTPSConnection(self._host, timeout=self._timeout, context=self._tls)
        return HTTPConnection(self._host, timeout=self._timeout)

    def _signed(self, operation: str, body: bytes) -> dict[str, str]:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"{self._prefix}.{operation}"}
        request = AWSRequest("POST", self.url, headers=headers, data=body)
        # Anew for each call, since those of a role are good for some hours
        SigV4Auth(credentials.get_frozen_credentials(), self._service, self._region).add_auth(request)
        return dict(request.headers.items())


def _parsed(status: int, content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content or b"{}")
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Refused("BadAnswer", f"status {status}, and no JSON object")
    if status != 200:
        code = str(answer.get("__type", "")).rpartition("#")[2]
        raise Refused(code or str(status), str(answer.get("message", "")) if code else "")
    return answer
