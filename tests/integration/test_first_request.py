"""After a restore the first request imports nothing: all of it is in the snapshot.

Each function is imported as under SnapStart in a process of its own, then asked once, for each way to reach a store.
Its events are published before the response there, so that what publishing imports counts, too.
"""

import base64
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest
from moto.server import ThreadedMotoServer

from local.doubles.eventbridge import strict_eventbridge
from local.doubles.http import Handler, serve
from local.driven import lambda_apis
from local.lambdas import functions
from tests.cluster import PASSWORD, cluster
from tests.conftest import EVENTS

ROOT = EVENTS.parent
USER = "missions-abc"
SMALL = {"encodings.idna", "stringprep", "unicodedata", "secrets"}  # 2 ms, for the URL in a secret
WITH_A_STORE = sorted(set(functions()) - {"get_openapi", "get_console", "canary"})
CODE = """
import json, socket, sys
spoken_to, connect = [], socket.socket.connect
def noted(self, address):
    spoken_to.append("%s:%s" % address[:2])
    return connect(self, address)
socket.socket.connect = noted
import functions.{name}.app as app
from local.runtime_client import Context
before, asked = set(sys.modules), list(spoken_to)
answer = app.handler(json.load(open("events/{name}.json")), Context("{name}"))
imported = sorted(set(sys.modules) - before)
print(json.dumps({{"imported": imported, "answer": answer, "asked": asked, "spoken_to": spoken_to}}))
"""


class RoleCredentials(Handler):
    """What gives a function under SnapStart the credentials of its role (the container credentials of the SDKs)."""

    def do_GET(self) -> None:
        gone = (datetime.now(UTC) + timedelta(hours=6)).isoformat()
        names = {"AccessKeyId": "role", "SecretAccessKey": "secret", "Token": "token", "Expiration": gone}
        self.send(200, json.dumps(names).encode())


@dataclass
class Place:
    """Where the store is, and how to sign in to it, as variables of the environment."""

    kinds: dict[str, dict[str, str]]
    shared: dict[str, str]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with (
        cluster(1, tls=True) as one,
        strict_eventbridge() as bus,
        lambda_apis() as apis,
        serve(RoleCredentials) as role,
    ):
        apis.refuse_extensions = True
        node = one.nodes[0].client
        node.execute_command("ACL", "SETUSER", USER, "on", "nopass", "~*", "+@all")
        url, _, ca_file = one.url.partition("?ssl_ca_certs=")
        bare = url.replace(f":{PASSWORD}@", "")
        der = ssl.PEM_cert_to_DER_cert(_certificate(ca_file))
        server = ThreadedMotoServer(port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "secretsmanager", "eu-central-1", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x"
        )
        arn = client.create_secret(Name="redis-url", SecretString=url)["ARN"]
        iam = {"REDIS_URL": bare, "REDIS_IAM_USER": USER, "REDIS_IAM_CACHE": "missions"}
        try:
            yield Place(
                {
                    "serverless": iam | {"REDIS_IAM_SERVERLESS": "true"},
                    "durable": iam | {"REDIS_IAM_SERVERLESS": "false"},
                    "external": {"REDIS_SECRET_ARN": arn, "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint},
                },
                {
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{role}/",
                    "AWS_REGION": "eu-central-1",
                    "AWS_ENDPOINT_URL_EVENTBRIDGE": bus.url,
                    "AWS_LAMBDA_RUNTIME_API": apis.address,
                    "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
                    "EVENT_BUS_NAME": "missions",
                    "PYTHONPATH": ".:layers/missions",
                    "REDIS_CA": base64.b64encode(der).decode(),
                },
            )
        finally:
            server.stop()


def _certificate(file: str) -> str:
    text = Path(file).read_text()
    return text[text.index("-----BEGIN CERTIFICATE-----") :]


PAIRS = [(name, kind) for name in WITH_A_STORE for kind in ("serverless", "external")] + [("create_mission", "durable")]


@pytest.fixture(scope="module")
def told(place: Place) -> Iterator[dict[tuple[str, str], "Future[Told]"]]:
    """What each first request told, one by one; two run at a time, since to start them takes long."""
    with ThreadPoolExecutor(2) as threads:
        yield {pair: threads.submit(first_request, place, *pair) for pair in PAIRS}


class Told(NamedTuple):
    imported: set[str]
    status: int
    asked: set[str]  # while it was initialised
    spoken_to: set[str]


def first_request(place: Place, name: str, kind: str) -> Told:
    code, environment = CODE.format(name=name), place.shared | place.kinds[kind]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    words = json.loads(done.stdout.splitlines()[-1])
    status = words["answer"].get("statusCode", 200)
    return Told(set(words["imported"]), status, set(words["asked"]), set(words["spoken_to"]))


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_first_request_after_a_restore_imports_nothing(
    told: dict[tuple[str, str], "Future[Told]"], name: str, kind: str
) -> None:
    done = told[name, kind].result()
    assert done.imported - SMALL == set()
    assert done.status in (200, 201, 204, 404, 409)  # the mission of the sample is not there, or does not wait


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_what_is_in_the_snapshot_was_given_by_nobody(
    place: Place, told: dict[tuple[str, str], "Future[Told]"], name: str, kind: str
) -> None:
    done = told[name, kind].result()
    runtime_api = place.shared["AWS_LAMBDA_RUNTIME_API"]
    assert done.asked <= {runtime_api}  # no store, and nobody who gives a secret or credentials
    role = place.shared["AWS_CONTAINER_CREDENTIALS_FULL_URI"].split("/")[2]
    assert role in done.spoken_to  # then they were asked for
