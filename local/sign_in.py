"""How callers sign in at API Gateway, on one machine: tokens of an issuer of our own, or requests signed for IAM.

The names in brackets are pages of the API Gateway Developer Guide, as in local/api_gateway.py.
"""

import hmac
import json
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode
from uuid import uuid4

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from local.api_gateway import Headers, Refused, Request
from local.eventbridge import ACCOUNT, REGION

AUDIENCE = "missions"
ALGORITHMS = ["RS256", "RS384", "RS512"]  # RSA alone [http-api-jwt-authorizer]
LIFE = 3600  # seconds
ASKED = ("namespace", "sub", "scope", "expires_in")
CODE = ("redirect_uri", "state", "code_challenge")  # what a page sends that wants a code
PRINTABLE = re.compile(r"[ -~]*")
CODE_LIFE = 60  # seconds

CREDENTIALS = Credentials("local", "local")
PATIENCE = 300  # seconds that the clock of a caller may differ
AUTHORIZATION = re.compile(
    rf"AWS4-HMAC-SHA256 Credential={CREDENTIALS.access_key}/(?P<day>\d{{8}})/{REGION}/execute-api/aws4_request,"
    r" ?SignedHeaders=(?P<headers>[a-z0-9_;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


class Issuer:
    """Mints tokens with a key of its own, and checks tokens as API Gateway's JWT authorizer does."""

    def __init__(self, namespace_claim: str) -> None:
        self._claim = namespace_claim
        self._key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        self._codes: dict[str, tuple[float, dict[str, str]]] = {}  # until when, and what was asked for

    def mint(self, request: Request, body: bytes) -> dict[str, Any]:
        """A token as it is asked for in the query, in JSON or in a form. Raises Refused."""
        asked = dict(parse_qsl(request.query)) | _members(request, body)
        if asked.pop("grant_type", None) == "authorization_code":
            asked = self._redeemed(asked)
        if unknown := set(asked) - set(ASKED):
            raise Refused(400, f"{len(unknown)} members are unknown; there are {', '.join(ASKED)}")
        try:
            for name in ("namespace", "sub", "scope"):
                asked.get(name, "").encode()
        except (AttributeError, UnicodeEncodeError):
            raise Refused(400, "namespace, sub and scope must be text") from None
        try:
            life = int(asked.get("expires_in", LIFE))
        except (TypeError, ValueError, OverflowError):
            raise Refused(400, "expires_in must be a number of seconds; below 0 the token has expired") from None
        now = int(time.time())
        claims = {
            "iss": _url(request),
            "aud": AUDIENCE,
            "sub": asked.get("sub", "local"),
            "scope": asked.get("scope", ""),
            "iat": now,
            "nbf": now,
            "exp": now + life,
            "jti": str(uuid4()),
        }
        if "namespace" in asked:
            if not self._claim:
                raise Refused(400, "NAMESPACE_CLAIM is not set, so there is no claim for a namespace")
            claims[self._claim] = asked["namespace"]
        token = jwt.encode({"alg": "RS256", "typ": "JWT", "kid": self._key.kid}, claims, self._key)
        return {"access_token": token, "token_type": "Bearer", "expires_in": life}

    def sign_in(self, request: Request, body: bytes) -> tuple[int, Headers, bytes]:
        """A page that asks who signs in, and then leads back with a code (RFC 6749 with RFC 7636). Raises Refused."""
        given = dict(parse_qsl(request.query)) | _members(request, body)
        asked = {name: str(value) for name, value in given.items()}
        if wrong := [name for name in CODE if not PRINTABLE.fullmatch(asked.get(name, ""))]:
            raise Refused(400, f"{' and '.join(wrong)} must be of printable ASCII characters")
        back = asked.get("redirect_uri", "")
        if (
            not back.startswith(f"{_url(request)}/")
            or {"?", "#"} & set(back)
            or asked.get("code_challenge_method", "S256") != "S256"
        ):
            raise Refused(400, "redirect_uri must be of this origin, without a query, and code_challenge_method S256")
        if missing := [name for name in CODE if not asked.get(name)]:
            raise Refused(400, f"{' and '.join(missing)} must be given")
        if request.method == "POST":
            code = secrets.token_urlsafe(24)
            self._codes = {name: each for name, each in self._codes.items() if each[0] > time.monotonic()}
            self._codes[code] = time.monotonic() + CODE_LIFE, asked
            query = urlencode({"code": code, "state": asked["state"]})
            return 303, (("location", f"{back}?{query}"), ("cache-control", "no-store")), b""
        kept = "".join(f'<input type="hidden" name="{name}" value="{escape(asked[name])}">' for name in CODE)
        namespace = '<p><label>Namespace <input name="namespace" value="default"></label>' if self._claim else ""
        page = (
            '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Sign in</title>'
            f'<h1>Sign in to this machine</h1><form method="post" action="/_local/authorize">{kept}'
            f'<p><label>Who <input name="sub" value="local"></label>{namespace}<p><button>Sign in</button></form>'
        )
        return 200, (("content-type", "text/html; charset=utf-8"), ("cache-control", "no-store")), page.encode()

    def _redeemed(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What was asked for when this code was given. A code counts once. Raises Refused."""
        until, begun = self._codes.pop(str(asked.get("code")), (0.0, {}))
        digest = sha256(str(asked.get("code_verifier", "")).encode(errors="replace")).digest()
        challenge = urlsafe_b64encode(digest).decode().rstrip("=")
        same = begun.get("code_challenge") == challenge and begun.get("redirect_uri") == asked.get("redirect_uri")
        if until <= time.monotonic() or not same:
            raise Refused(400, "The code is not known, was used, or is not for this page")
        return {name: begun[name] for name in ASKED if name in begun}

    def console(self, request: Request) -> dict[str, Any]:
        """What the console needs to sign in."""
        return {"issuer": _url(request), "client_id": "console", "scope": "openid"}

    def about(self, request: Request) -> dict[str, Any]:
        """The OpenID Connect configuration."""
        url = _url(request)
        return {
            "issuer": url,
            "jwks_uri": f"{url}/.well-known/jwks.json",
            "authorization_endpoint": f"{url}/_local/authorize",
            "token_endpoint": f"{url}/_local/token",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def keys(self) -> dict[str, Any]:
        """The public key, as a JSON Web Key Set."""
        return {"keys": [self._key.as_dict(private=False)]}

    def authorize(self, request: Request, body: bytes, scopes: tuple[str, ...]) -> dict[str, Any]:
        """Who calls, by its token. Raises Refused. [http-api-jwt-authorizer]"""
        token = request.headers.get("authorization", "")
        if not token:
            raise Refused(401, reason="there is no token", headers=(("www-authenticate", "Bearer"),))
        if token[:7].lower() == "bearer ":
            token = token[7:].strip()
        try:
            decoded = jwt.decode(token, self._key, algorithms=ALGORITHMS)
        except (JoseError, ValueError, RecursionError):
            raise _unauthorized("the token was not signed by the issuer") from None
        if decoded.header.get("kid") != self._key.kid:
            raise _unauthorized("the token does not name the key of the issuer")
        claims = decoded.claims
        now = time.time()
        audience: Any = claims.get("aud", claims.get("client_id"))  # client_id counts only without aud
        if claims.get("iss") != _url(request):
            raise _unauthorized("the token is of another issuer")
        if AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
            raise _unauthorized("the token does not have a valid audience")
        if not _number(claims.get("exp")) or claims["exp"] <= now:
            raise _unauthorized("the token has expired")
        for name in ("nbf", "iat"):
            if name in claims and not (_number(claims[name]) and claims[name] <= now):
                raise _unauthorized("the token is not valid yet")
        given: Any = claims.get("scope", claims.get("scp", ""))
        granted = given.split() if isinstance(given, str) else given
        matching = [scope for scope in scopes if scope in granted]
        if scopes and not matching:
            raise Refused(403, reason="the token has none of the scopes of this route")
        return {"jwt": {"claims": {name: _text(value) for name, value in claims.items()}, "scopes": matching or None}}


def _url(request: Request) -> str:
    return f"http://127.0.0.1:{request.port}"


def _members(request: Request, body: bytes) -> dict[str, Any]:
    """The members of a JSON object, or of a form. Raises Refused."""
    try:
        if not body or "json" not in request.headers.get("content-type", ""):
            return dict(parse_qsl(body.decode()))
        return dict(json.loads(body))
    except (ValueError, TypeError, RecursionError):
        raise Refused(400, "The body must be a JSON object, or a form") from None


def _unauthorized(why: str) -> Refused:
    """The header is as on the page [http-api-troubleshooting-jwt]; most descriptions are words of ours."""
    described = f'Bearer scope="" error="invalid_token" error_description="{why}"'
    return Refused(401, reason=why, headers=(("www-authenticate", described),))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """A claim as a function gets it, always as text. Observed: github.com/floci-io/floci/pull/2011"""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{' '.join(map(_text, value))}]"
    return json.dumps(value)


class _Signer(SigV4Auth):
    """Signs exactly the headers of a request, and the query as AWS reads it."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers

    def canonical_query_string(self, request: AWSRequest) -> str:
        pairs = [pair.partition("=") for pair in str(request.url).partition("?")[2].split("&") if pair]
        encoded = sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
        return "&".join(f"{name}={value}" for name, value in encoded)


def _encoded(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def authorize_signature(request: Request, body: bytes, scopes: tuple[str, ...]) -> dict[str, Any]:
    """Who calls, by its signature (Signature Version 4). Raises Refused. [http-api-access-control-iam]"""
    given = AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if not given:
        raise Refused(403, reason="it is not signed by a known key, for this region and the service execute-api")
    names, stamp = given["headers"].split(";"), request.headers.get("x-amz-date", "")
    if "host" not in names or not set(names) <= set(request.headers):
        raise Refused(403, reason="the host must be signed, and what is signed must be there")
    if not stamp.startswith(given["day"]) or not _recent(stamp):
        raise Refused(403, reason="it was signed more than five minutes ago, or with a clock that is wrong")
    if request.headers.get("x-amz-content-sha256", digest := sha256(body).hexdigest()) != digest:
        raise Refused(403, reason="x-amz-content-sha256 is not that of the body")
    if not hmac.compare_digest(given["signature"], _signature(request, body, names, stamp)):
        raise Refused(403, reason="the signature does not match")
    return {
        "iam": {
            "accessKey": CREDENTIALS.access_key,
            "accountId": ACCOUNT,
            "callerId": "AIDALOCAL",
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": f"arn:aws:iam::{ACCOUNT}:user/local",
            "userId": "AIDALOCAL",
        }
    }


def _recent(stamp: str) -> bool:
    try:
        signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(time.time() - signed.timestamp()) <= PATIENCE


def _signature(request: Request, body: bytes, names: list[str], stamp: str) -> str:
    headers: Mapping[str, str] = {name: request.headers[name] for name in names}
    url = f"http://{request.headers['host']}{request.path}?{request.query}"
    signed = AWSRequest(request.method, url, headers, body)
    signed.context["timestamp"] = stamp
    signer = _Signer(CREDENTIALS, "execute-api", REGION)
    return str(signer.signature(signer.string_to_sign(signed, signer.canonical_request(signed)), signed))
