"""The connection to Redis, a single server or a cluster. It answers or fails within three seconds."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisClusterException, RedisError
from redis.retry import Retry

from missions.domain.errors import StoreUnavailable
from missions.log import logger
from missions.settings import Settings
from missions.storage import scripts

TIMEOUT = 1.0  # seconds, to connect and for each answer; with one retry a stalled server is told within three
# RedisClusterException is not a RedisError, and the discovery of a cluster lets OSError through
FAILURES = (RedisError, RedisClusterException, OSError)


class Connection:
    """Runs commands and scripts. Every method raises StoreUnavailable when Redis does not answer, or with an error."""

    def __init__(
        self, client: redis.Redis | redis.RedisCluster, load: Callable[[str], scripts.Script] = scripts.load
    ) -> None:
        self.client = client
        self._load = load

    @cached_property
    def _one(self) -> redis.Redis | redis.RedisCluster:
        """The client with a connection of its own: to take one from the pool costs a fifth of a command's time."""
        return self.client.client() if isinstance(self.client, redis.Redis) else self.client  # type: ignore[no-untyped-call]

    def command(self, *args: str | int) -> Any:
        """Run one command."""
        try:
            return self._one.execute_command(*args)  # type: ignore[no-untyped-call]
        except FAILURES as error:
            raise StoreUnavailable from error

    def commands(self, each: Iterable[Sequence[str | int]]) -> list[Any]:
        """Run many commands together, which may be of many partitions. Not atomic; None for one that fails alone."""
        try:
            with self.client.pipeline(transaction=False) as pipeline:
                for args in each:
                    pipeline.execute_command(*args)
                answers = pipeline.execute(raise_on_error=False)
        except FAILURES as error:
            raise StoreUnavailable from error
        for failure in answers:
            if isinstance(failure, Exception):
                logger.error("A command failed; its key is left out", error=repr(failure))
        return [None if isinstance(each, Exception) else each for each in answers]

    def script(self, name: str, keys: Sequence[str], *args: str | int) -> Any:
        """Run a script: EVALSHA, and EVAL where the server does not know it (register_script asks every primary)."""
        script = self._load(name)
        try:
            try:
                return self._one.evalsha(script.sha, len(keys), *keys, *args)
            except NoScriptError:
                return self._one.eval(script.text, len(keys), *keys, *args)
        except FAILURES as error:
            raise StoreUnavailable from error


def _checked(url: str) -> str:
    """This URL. Raises ValueError when it names no host, or holds a character of a password that is not escaped."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.fragment or parts.port == 0:
        raise ValueError
    parts.hostname.encode("idna")
    return url


def connect(settings: Settings) -> Connection:
    """A connection to the store that the settings name. Raises StoreUnavailable; the next call may succeed."""
    options: dict[str, Any] = {
        "decode_responses": True,
        "encoding_errors": "replace",  # a broken piece costs itself, and not the page that it is on
        "socket_connect_timeout": TIMEOUT,
        "socket_timeout": TIMEOUT,
        "retry": Retry(NoBackoff(), 1),  # redis-py's defaults outlive a Lambda's caller
    }
    url = settings.redis_url
    client = redis.RedisCluster if settings.redis_cluster else redis.Redis
    try:
        if settings.redis_iam_user:
            from missions.storage.credentials import IamCredentials  # botocore costs 200 ms, and few stores need it

            options["credential_provider"] = IamCredentials(
                settings.redis_iam_user,
                settings.redis_iam_cache,
                settings.aws_region,
                serverless=settings.redis_iam_serverless,
            )
        elif settings.redis_secret_arn:
            from missions.storage.credentials import SecretCredentials

            options["credential_provider"] = secret = SecretCredentials(settings.redis_secret_arn, settings.aws_region)
            url = secret.url
        made = client.from_url(_checked(url), **options)
        if isinstance(made, redis.Redis):  # which refuses an option that it does not know only here
            made.connection_pool.make_connection()
        return Connection(made)
    # A secret is read and a cluster is asked for its nodes here.
    except FAILURES as error:
        raise StoreUnavailable from error
    except (ValueError, TypeError):
        pass  # never the error: it may quote the password, and so may one that it comes from
    logger.error("REDIS_URL, or the secret in its place, must be a URL like rediss://user:password@host:6379")
    raise StoreUnavailable
