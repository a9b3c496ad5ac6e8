"""The connection to Redis, a single server or a cluster. It answers or fails within three seconds."""

import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from socket import socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import TimeoutError as TimedOut
from redis.retry import Retry

from missions.domain.errors import StoreUnavailable
from missions.log import logger
from missions.settings import Settings
from missions.storage import scripts
from missions.storage.nodes import Address, Nodes, pointed

TIMEOUT = 0.9  # seconds, to connect and for each answer
LAST = 1.95  # seconds, after which no server is asked again: all is over within three
PAUSE = 0.02  # seconds before a server is asked again, when the first answers did not settle who has the key
ROUNDS = 4  # of commands that are run together: one fails, another says who has its keys now
# The server is away, or is not what it was: a primary that became a replica says READONLY.
GONE = (ConnectionFailed, TimedOut, ClusterDownError, ReadOnlyError, OSError)
FAILURES = (RedisError, OSError)


class _Call(NamedTuple):
    """A command, one of its keys, and the text of its script."""

    key: str
    command: tuple[Any, ...]
    text: str = ""


class Connection:
    """Runs commands and scripts. Every method raises StoreUnavailable when Redis does not answer, or with an error."""

    def __init__(self, nodes: Nodes, load: Callable[[str], scripts.Script] = scripts.load) -> None:
        self.nodes = nodes
        self._load = load

    def command(self, name: str, key: str, *args: str | int) -> Any:
        """Run one command."""
        return self._run(_Call(key, (name, key, *args)))

    def script(self, name: str, keys: Sequence[str], *args: str | int) -> Any:
        """Run a script: EVALSHA, and EVAL where the server does not know it (register_script asks every primary)."""
        return self._run(self._call(name, keys, args))

    def commands(self, each: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Run commands of one key each together, on all servers at once. Not atomic; None for one that fails.

        Raises StoreUnavailable when all fail.
        """
        return self._together([_Call(command[1], command) for command in each])

    def scripts(self, name: str, each: Iterable[tuple[Sequence[str], Sequence[str | int]]]) -> list[Any]:
        """Run a script with these KEYS and ARGV, each by itself, as `commands` does."""
        return self._together([self._call(name, keys, args) for keys, args in each])

    def _call(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> _Call:
        script = self._load(name)
        return _Call(keys[0], ("EVALSHA", script.sha, len(keys), *keys, *args), script.text)

    def _together(self, asked: Sequence[_Call]) -> list[Any]:
        answers: list[Any] = [None] * len(asked)
        failed: list[Address] = []
        todo: Sequence[int] = range(len(asked))
        for _ in range(ROUNDS):
            if not todo:
                break
            shares = defaultdict[Address, list[int]](list)
            for place in todo:
                shares[self.nodes.owner(asked[place].key, failed)].append(place)
            with ThreadPoolExecutor(len(shares)) as threads:
                found = list(threads.map(lambda of: self._pipeline(of[0], [asked[n] for n in of[1]]), shares.items()))
            for (address, places), share in zip(shares.items(), found, strict=True):
                if isinstance(share, Exception):
                    self.nodes.forget(address)
                    failed.append(address)
                    share = [share] * len(places)
                for place, answer in zip(places, share, strict=True):
                    if isinstance(answer, MovedError):
                        self.nodes.moved(answer, address)
                    elif isinstance(answer, (AskError, TryAgainError, NoScriptError)):  # these need more than a repeat
                        answer = self._alone(asked[place])
                    answers[place] = answer
            todo = [place for place in todo if isinstance(answers[place], (MovedError, *GONE))]
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        if failures and len(failures) == len(answers):
            raise StoreUnavailable from failures[0]
        if failures:
            logger.error("Commands failed; their keys are left out", failed=len(failures), error=repr(failures[0]))
        return [None if isinstance(answer, Exception) else answer for answer in answers]

    def _pipeline(self, address: Address, calls: Iterable[_Call]) -> list[Any] | Exception:
        try:
            with self.nodes.at(address).pipeline(transaction=False) as pipeline:
                for call in calls:
                    pipeline.execute_command(*call.command)  # type: ignore[no-untyped-call]
                return pipeline.execute(raise_on_error=False)
        except FAILURES as error:
            return error

    def _alone(self, call: _Call) -> Any:
        try:
            return self._run(call)
        except StoreUnavailable as error:
            return error

    def _run(self, call: _Call) -> Any:
        """Run this where the key lives. Who fails twice is given up; what a write's repeat does its token decides."""
        key, command, text = call
        last = time.monotonic() + LAST
        failed: list[Address] = []
        address, asking = self.nodes.owner(key), False
        turns = 0
        while True:
            try:
                return _ask(self.nodes.at(address), command, asking)
            except NoScriptError:
                command = ("EVAL", text, *command[2:])
                continue
            except MovedError as error:
                address, asking = self.nodes.moved(error, address), False
                reason: Exception = error
            except AskError as error:
                address, asking = pointed(error, address), True
                reason = error
            except TryAgainError as error:  # some of its keys have moved already, and some have not
                address, asking = self.nodes.owner(key, failed), False
                reason = error
            except GONE as error:
                self.nodes.forget(address)
                failed.append(address)
                if failed.count(address) == 2:
                    raise StoreUnavailable from error
                address, asking = self.nodes.owner(key, failed), False
                reason = error
            except FAILURES as error:
                raise StoreUnavailable from error
            if time.monotonic() > last:
                raise StoreUnavailable from reason
            if turns:
                time.sleep(PAUSE)
            turns += 1


def _ask(node: redis.Redis, command: tuple[Any, ...], asking: bool) -> Any:
    """Run this. A server that does not own its slot yet has to be told ASKING, right before it."""
    if not asking:
        return node.execute_command(*command)  # type: ignore[no-untyped-call]
    with node.pipeline(transaction=False) as pipeline:
        for each in (("ASKING",), command):
            pipeline.execute_command(*each)  # type: ignore[no-untyped-call]
        _, answer = pipeline.execute(raise_on_error=False)
    if isinstance(answer, Exception):
        raise answer
    return answer


class TlsConnection(redis.SSLConnection):
    """Shares what is read of the system's certificates; redis-py reads them for each connection, 50 ms of a processor.

    An option that is not among those of `_context` is left to redis-py.
    """

    def _wrap_socket_with_ssl(self, sock: socket) -> Any:
        own = (self.certfile, self.keyfile, self.ssl_ciphers, self.ssl_min_version, self.ssl_include_verify_flags)
        if any(own) or self.ssl_exclude_verify_flags or self.ssl_validate_ocsp or self.ssl_validate_ocsp_stapled:
            return super()._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]
        context = _context(self.check_hostname, self.cert_reqs, self.ca_certs, self.ca_path, self.ca_data)
        return context.wrap_socket(sock, server_hostname=self.host)


@cache
def _context(
    check_hostname: bool, cert_reqs: ssl.VerifyMode, cafile: str | None, capath: str | None, cadata: str | None
) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = check_hostname
    context.verify_mode = cert_reqs
    if cafile or capath or cadata:
        context.load_verify_locations(cafile, capath, cadata)
    return context


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
        "retry": Retry(NoBackoff(), 0),  # redis-py's defaults outlive a Lambda's caller; Connection asks again itself
    }
    url = settings.redis_url
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
        if _checked(url).startswith("rediss:"):
            options["connection_class"] = TlsConnection
        pool = redis.ConnectionPool.from_url(url, **options)
        pool.make_connection()  # which refuses an option that it does not know; it does not connect
        return Connection(Nodes(pool))
    # A secret is read here.
    except FAILURES as error:
        raise StoreUnavailable from error
    except (ValueError, TypeError):
        pass  # never the error: it may quote the password, and so may one that it comes from
    logger.error("REDIS_URL, or the secret in its place, must be a URL like rediss://user:password@host:6379")
    raise StoreUnavailable
