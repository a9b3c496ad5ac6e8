"""How requests sign in: with a token, or signed for AWS IAM."""

import os
import re
from collections.abc import Callable, Generator
from typing import Any
from urllib.parse import urlsplit

import httpx

from missions_client import aws
from missions_client.errors import CannotSignIn, Misconfigured

API_GATEWAY = re.compile(r"[a-z0-9-]+\.execute-api\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")


class Bearer(httpx.Auth):
    """Sends a token. A function that gives one is called for each request, and once more if the answer is 401.

    If it keeps what it gave, it should have a method `forget`, which is called before that.
    """

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        request.headers["Authorization"] = used = self._header()
        response = yield request
        if response.status_code == 401 and hasattr(self._token, "forget"):
            self._token.forget()
        if response.status_code == 401 and (new := self._header()) != used:
            request.headers["Authorization"] = new
            yield request

    def _header(self) -> str:
        token = (self._token if isinstance(self._token, str) else self._token()).strip()
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            # httpx would show it in its error
            raise Misconfigured("The token is empty, or has characters that no token has.")
        return f"Bearer {token}"


class SigV4(httpx.Auth):
    """Signs requests for AWS IAM, with the credentials of a profile (None: as the AWS CLI finds them) or with these.

    `credentials` are of botocore. Each repeat is signed anew. It needs botocore: `pip install 'missions-client[aws]'`.
    """

    requires_request_body = True

    def __init__(self, region: str, *, profile: str | None = None, credentials: Any = None) -> None:
        self._region = region
        self._credentials: Any = credentials
        if credentials is None:
            with aws.errors():
                self._credentials = aws.session(profile).get_credentials()
        if self._credentials is None:
            raise CannotSignIn("There are no AWS credentials to sign with. See: aws configure, or aws sso login")

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the signature."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        signed = AWSRequest(request.method, str(request.url), data=request.content)
        with aws.errors():
            SigV4Auth(self._credentials.get_frozen_credentials(), "execute-api", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request


def auth_for(url: str, token: str | Callable[[], str] | None) -> httpx.Auth | None:
    """How requests to this URL sign in: with the token or MISSIONS_TOKEN, signed at API Gateway, or not at all."""
    if token := token or os.environ.get("MISSIONS_TOKEN"):
        return Bearer(token)
    found = API_GATEWAY.fullmatch(urlsplit(url).hostname or "")
    return SigV4(found["region"]) if found else None
