"""How the store knows us: an IAM token for ElastiCache, or the URL in a secret. Imported only where one is configured.

redis-py asks for credentials whenever it connects, so a connection that ElastiCache cuts (it does so 12 hours after an
IAM authentication) comes back with a new token, and one made after a rotation with the new password.
"""

import threading
import time
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import redis
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.session import Session

from missions.aws import JsonApi, Refused, region_of
from missions.deadline import within
from missions.log import logger
from missions.storage.link import NotSignedIn

TOKEN_LIFE = 900  # seconds, the longest that ElastiCache accepts
TOKEN_KEPT = 600  # seconds; what is left of its life is for clocks that differ and for the way
SECRET_KEPT = 60  # seconds that an old password goes on being tried after a rotation
AWS_TIME = 1.0  # seconds to read a secret, or to get the role's credentials, which botocore asks for again and again


class IamCredentials(redis.CredentialProvider):
    """Signs in to ElastiCache with the role of the function.

    `user` is both id and name of the ElastiCache user; `cache` is the name of the serverless cache or the id of the
    replication group, in lower case.
    """

    def __init__(self, user: str, cache: str, region: str | None, *, serverless: bool) -> None:
        self._user, self._cache, self._serverless = user, cache, serverless
        try:
            self._session = Session()
            self._region = region_of(self._session, region)
        except BotoCoreError as error:
            raise _unsigned(error) from error
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def get_credentials(self) -> tuple[str, str]:
        """User and token, one that is still good for five minutes. Raises NotSignedIn."""
        with self._lock:
            if time.time() >= self._until:  # wall clock: a snapshot may be restored days after it was taken
                self._token = self._sign()
                self._until = time.time() + TOKEN_KEPT
            return self._user, self._token

    def _sign(self) -> str:
        parameters = {"Action": "connect", "User": self._user}
        if self._serverless:
            parameters["ResourceType"] = "ServerlessCache"
        request = AWSRequest("GET", f"https://{self._cache}/", params=parameters)
        try:
            within(AWS_TIME, lambda: self._add_signature(request))
        except (BotoCoreError, TimeoutError) as error:
            raise _unsigned(error) from error
        return str(request.url).removeprefix("https://")

    def _add_signature(self, request: AWSRequest) -> None:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        SigV4QueryAuth(credentials, "elasticache", self._region, expires=TOKEN_LIFE).add_auth(request)


class _Url(NamedTuple):
    place: str  # without user and password, which redis-py does not take beside a provider
    user: str
    password: str


class SecretCredentials(redis.CredentialProvider):
    """The URL in a secret, such as rediss://user:password@redis.example.com:6379, read again when it may be old."""

    def __init__(self, arn: str, region: str | None) -> None:
        self._arn = arn
        try:
            self._api = JsonApi("secretsmanager", "secretsmanager", "SECRETS_MANAGER", region, timeout=1)
        except (BotoCoreError, ValueError) as error:  # there is no region, or the endpoint is no URL
            raise _unreadable(error) from None
        self._url: _Url | None = None
        self._until = 0.0

    @property
    def url(self) -> str:
        """Where the store is, without user and password. Raises NotSignedIn."""
        return self._read().place

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """User and password. Raises NotSignedIn."""
        url = self._read()
        return (url.user, url.password) if url.user else (url.password,)

    def _read(self) -> _Url:
        if self._url and time.time() < self._until:
            return self._url
        try:
            answer = within(AWS_TIME, lambda: self._api.call("GetSecretValue", {"SecretId": self._arn}))
        except (Refused, BotoCoreError, OSError, HTTPException) as error:  # TimeoutError is an OSError
            unreadable = _unreadable(error)
            if not self._url:
                raise unreadable from None
            logger.warning("The last password is used again", error=str(unreadable))
        else:
            self._url = _parse(answer.get("SecretString"))
        self._until = time.time() + SECRET_KEPT
        return self._url


def _unsigned(error: Exception) -> NotSignedIn:
    return NotSignedIn(f"No AWS credentials can be had to sign in to ElastiCache: {type(error).__name__}")


def _unreadable(error: Exception) -> NotSignedIn:
    # the name of the error and not its text, which may quote an answer that has the secret in it
    name = error.code if isinstance(error, Refused) else type(error).__name__
    return NotSignedIn(f"The secret of the store cannot be read: {name}")


def _parse(text: Any) -> _Url:
    try:
        parts = urlsplit(text.strip())
        valid = parts.scheme == "rediss" and parts.hostname and parts.password and parts.port != 0
    except (ValueError, AttributeError):  # a port out of range, say; or no text at all
        valid = False
    if not valid:
        # never the text itself, nor an error that quotes it: it may be logged
        raise NotSignedIn("The secret of the store must be a URL like rediss://user:password@host:6379")
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return _Url(place, unquote(parts.username or ""), unquote(parts.password or ""))
