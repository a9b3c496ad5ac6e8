"""The Redis store: the connection, every key name and every script. One operation is one round trip.

Everything of a namespace lives in one slot of a cluster (the braces are a hash tag), so that one script may change a
mission, its log, the index, the statistics and the outbox together or not at all.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisClusterException, RedisError
from redis.retry import Retry

from missions.errors import StoreUnavailable
from missions.models import MissionStatus
from missions.settings import settings

TIMEOUT = 1.0  # seconds, to connect and for each answer; with one retry a stalled server is told within three


@dataclass(frozen=True)
class Keys:
    """Every key name of one namespace."""

    namespace: str

    def _key(self, *parts: str) -> str:
        return ":".join((f"missions:{{{self.namespace}}}", *parts))

    def mission(self, mission_id: str) -> str:
        return self._key("mission", mission_id)

    def log(self, mission_id: str) -> str:
        return self._key("log", mission_id)

    def index(self, status: MissionStatus) -> str:
        return self._key("index", status)

    def token(self, token: str) -> str:
        return self._key("token", token)

    @property
    def stats(self) -> str:
        return self._key("stats")

    @property
    def durations(self) -> str:
        return self._key("durations")

    @property
    def outbox(self) -> str:
        return self._key("outbox")

    @property
    def dead(self) -> str:
        return self._key("dead")


REGISTERED = 300.0  # seconds
NAMESPACES = "missions:namespaces"  # a slot of its own: the relay walks it
WRITES = ("create", "status", "log")  # the scripts that begin with prelude.lua


class Store:
    """One Redis, single or cluster. Every method raises StoreUnavailable when it does not answer."""

    def __init__(self, client: redis.Redis | redis.RedisCluster) -> None:
        self._client = client
        self._registered: dict[str, float] = {}  # namespaces, and until when each is taken to be known

    def command(self, *args: str | int) -> Any:
        """Run one command."""
        try:
            return self._client.execute_command(*args)  # type: ignore[no-untyped-call]
        # RedisClusterException is not a RedisError, and a cluster's discovery lets OSError through.
        except (RedisError, RedisClusterException, OSError) as error:
            raise StoreUnavailable from error

    def script(self, name: str, keys: Sequence[str], *args: str | int) -> Any:
        """Run a script: EVALSHA, and EVAL where the server does not know it (register_script asks every primary)."""
        text, sha = _script(name)
        try:
            try:
                return self._client.evalsha(sha, len(keys), *keys, *args)
            except NoScriptError:
                return self._client.eval(text, len(keys), *keys, *args)
        except (RedisError, RedisClusterException, OSError) as error:
            raise StoreUnavailable from error

    def register(self, namespace: str) -> None:
        """Make a namespace known to the relay, before its first write; again now and then, lest a failover lost it."""
        if time.monotonic() >= self._registered.get(namespace, 0):
            self.command("SADD", NAMESPACES, namespace)
            self._registered[namespace] = time.monotonic() + REGISTERED


@cache
def _script(name: str) -> tuple[str, str]:
    scripts = files(__package__) / "scripts"
    text = (scripts / f"{name}.lua").read_text()
    if name in WRITES:
        shebang, body = text.split("\n", 1)
        text = f"{shebang}\n{(scripts / 'prelude.lua').read_text()}\n{body}"
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@cache
def store() -> Store:
    """The store that the settings name. Few retries: redis-py's defaults outlive a Lambda's caller."""
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_connect_timeout": TIMEOUT,
        "socket_timeout": TIMEOUT,
        "retry": Retry(NoBackoff(), 1),
    }
    chosen = settings()
    url = chosen.redis_url
    client = redis.RedisCluster if chosen.redis_cluster else redis.Redis
    try:
        if chosen.redis_iam_user:
            from missions.credentials import IamCredentials  # botocore costs 200 ms, and few stores need it

            options["credential_provider"] = IamCredentials(
                chosen.redis_iam_user,
                chosen.redis_iam_cache,
                chosen.aws_region,
                serverless=chosen.redis_iam_serverless,
            )
        elif chosen.redis_secret_arn:
            from missions.credentials import SecretCredentials

            options["credential_provider"] = secret = SecretCredentials(chosen.redis_secret_arn, chosen.aws_region)
            url = secret.url
        return Store(client.from_url(url, **options))
    # The secret is read and a cluster is asked for its nodes here; the next call tries again.
    except (RedisError, RedisClusterException, OSError) as error:
        raise StoreUnavailable from error
