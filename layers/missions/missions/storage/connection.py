"""The connection to Redis, a single server or a cluster. It answers or fails within three seconds."""

import ssl
import time
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from missions.storage.link import Link, NotSignedIn, TlsLink
from missions.storage.nodes import Address, Nodes, pointed

ANSWER = 2.5  # seconds for all that a request asks, so that it is answered within three
TOGETHER = 4.0  # seconds for commands that are run together
PAUSE = 0.02  # seconds before a server is asked again, when the first answers did not settle who has the key
# What no URL may change. RESP2, since RESP3 costs a greeting for each connection, and two more for redis-py's name.
OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "encoding_errors": "replace",  # a broken piece costs itself, and not the page that it is on
    "protocol": 2,
    "driver_info": None,
    "retry": Retry(NoBackoff(), 0),  # Connection asks again itself
}
# That commands are tried together: another server may have taken over, and a slot that moves may have arrived
TURNS = 12


class Unanswered(RedisError):
    """What came back was no answer."""


UNANSWERED = (ConnectionFailed, TimedOut, OSError, Unanswered)
# The server is away, or is not what it was: a primary that became a replica says READONLY.
GONE = (*UNANSWERED, ClusterDownError, ReadOnlyError)
AGAIN = (*GONE, AskError, TryAgainError, NoScriptError)


class _Call(NamedTuple):
    """A command, one of its keys, and the text of its script."""

    key: str
    command: tuple[Any, ...]
    text: str = ""

    def with_text(self) -> tuple[Any, ...]:
        """The command for a server that does not know its script."""
        return ("EVAL", self.text, *self.command[2:]) if self.text else self.command


class Connection:
    """Runs commands and scripts. Every method raises StoreUnavailable when Redis does not answer, or with an error."""

    def __init__(self, nodes: Nodes, load: Callable[[str], scripts.Script] = scripts.load) -> None:
        self.nodes = nodes
        self._load = load

    @staticmethod
    def until() -> float:
        """When a request that begins now must be over, as a monotonic time: `until` of all that it asks."""
        return time.monotonic() + ANSWER

    def command(self, name: str, key: str, *args: str | int) -> Any:
        """Run one command."""
        return self._run(_Call(key, (name, key, *args)), self.until())

    def script(self, name: str, keys: Sequence[str], *args: str | int, until: float | None = None) -> Any:
        """Run a script: EVALSHA, and EVAL where the server does not know it."""
        return self._run(self._call(name, keys, args), self.until() if until is None else until)

    def commands(self, each: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Run commands of one key each together, on all servers at once. Not atomic; None for one that fails."""
        return self._together([_Call(command[1], command) for command in each])

    def scripts(self, name: str, each: Iterable[tuple[Sequence[str], Sequence[str | int]]]) -> list[Any]:
        """Run a script with these KEYS and ARGV, each by itself, as `commands` does."""
        return self._together([self._call(name, keys, args) for keys, args in each])

    def _call(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> _Call:
        script = self._load(name)
        return _Call(keys[0], ("EVALSHA", script.sha, len(keys), *keys, *args), script.text)

    def _run(self, call: _Call, until: float) -> Any:
        """Run this where its key lives. A server that fails twice is given up.

        A write may be sent twice; its token lets it happen once.
        """
        command = call.command
        failed: list[Address] = []
        address, asking = self.nodes.owner(call.key), False
        turns = 0
        while True:
            answer = self._exchange(address, [command], asking, until)[0]
            if not isinstance(answer, Exception):
                return answer
            if isinstance(answer, NoScriptError) and call.text and command is call.command:
                command = call.with_text()
                continue
            if isinstance(answer, MovedError):
                address, asking = self.nodes.moved(answer, address), False
            elif isinstance(answer, AskError):
                address, asking = pointed(answer, address), True
            elif isinstance(answer, TryAgainError):  # some of its keys have moved already, and some have not
                address, asking = self.nodes.owner(call.key, failed), False
            elif isinstance(answer, GONE):
                self.nodes.forget(address)
                failed.append(address)
                if failed.count(address) == 2:
                    raise StoreUnavailable from answer
                address, asking = self.nodes.owner(call.key, failed), False
            else:
                raise StoreUnavailable from answer
            if time.monotonic() + PAUSE > until:
                raise StoreUnavailable from answer
            if turns:
                time.sleep(PAUSE)
            turns += 1

    def _together(self, calls: Sequence[_Call]) -> list[Any]:
        until = time.monotonic() + TOGETHER
        answers: list[Any] = [None] * len(calls)
        asked: dict[int, Address] = {}  # who has to be told ASKING, by the place of the call
        failed: list[Address] = []
        todo: Sequence[int] = range(len(calls))
        for turn in range(TURNS):
            if not todo or time.monotonic() > until:
                break
            if turn > 1:
                time.sleep(PAUSE)
            shares = defaultdict[tuple[Address, bool], list[int]](list)
            for place in todo:
                address = asked.get(place) or self.nodes.owner(calls[place].key, failed)
                shares[address, place in asked].append(place)
            with ThreadPoolExecutor(len(shares)) as threads:
                found = list(
                    threads.map(lambda of: self._share(of[0], [calls[n] for n in of[1]], until), shares.items())
                )
            gone = {
                address
                for (address, _), share in zip(shares, found, strict=True)
                if any(isinstance(answer, GONE) for answer in share)
            }
            for address in gone:
                self.nodes.forget(address)
            failed += gone
            todo = []
            for ((address, _), places), share in zip(shares.items(), found, strict=True):
                for place, answer in zip(places, share, strict=True):
                    answers[place] = answer
                    asked.pop(place, None)
                    if isinstance(answer, MovedError):
                        self.nodes.moved(answer, address)
                    elif isinstance(answer, AskError):
                        asked[place] = pointed(answer, address)
                    if isinstance(answer, AGAIN) and failed.count(address) < 2:
                        todo.append(place)
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        if failures:
            logger.error("Commands failed; their keys are left out", failed=len(failures), error=_told(failures[0]))
        return [None if isinstance(answer, Exception) else answer for answer in answers]

    def _share(self, target: tuple[Address, bool], calls: Sequence[_Call], until: float) -> list[Any]:
        address, asking = target
        # The first one brings the text of its script, so that the server knows it.
        commands = [calls[0].with_text(), *(call.command for call in calls[1:])]
        return self._exchange(address, commands, asking, until)

    def _exchange(self, address: Address, commands: Sequence[tuple[Any, ...]], asking: bool, until: float) -> list[Any]:
        """The answers, which may be errors; all are the same one when the server does not answer."""
        try:
            link = self.nodes.at(address)
            if not asking:
                return link.exchange(until, commands)
            # It does not own the slot yet, and has to be told before each command.
            return link.exchange(until, [each for command in commands for each in (("ASKING",), command)])[1::2]
        except (*UNANSWERED, NotSignedIn) as error:
            return [error] * len(commands)
        except Exception as error:  # redis-py raises more than it documents, when an answer is not one of Redis
            logger.error("What came from Redis is no answer", error=_told(error))
            return [Unanswered(_told(error))] * len(commands)


def _told(error: Exception) -> str:
    """What went wrong; the repr of an error of redis-py leaves it out."""
    return f"{type(error).__name__}: {error}"


def _checked(url: str) -> str:
    """This URL. Raises ValueError when it names no host, or holds a character of a password that is not escaped."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.fragment or parts.port == 0:
        raise ValueError
    parts.hostname.encode("idna")
    return url


def credentials(settings: Settings) -> Any:
    """How to sign in to the store where the URL does not say it, or None. Asks nobody. Raises StoreUnavailable."""
    try:
        if settings.redis_iam_user:
            from missions.storage.credentials import IamCredentials  # botocore costs 200 ms, and a plain URL needs none

            return IamCredentials(
                settings.redis_iam_user,
                settings.redis_iam_cache,
                settings.aws_region,
                serverless=settings.redis_iam_serverless,
            )
        if settings.redis_secret_arn:
            from missions.storage.credentials import SecretCredentials

            return SecretCredentials(settings.redis_secret_arn, settings.aws_region)
    except RedisError as error:
        raise StoreUnavailable from error
    return None


def connect(settings: Settings, provider: Any = None) -> Connection:
    """A connection to the store that the settings name, signed in to with what `credentials` gave.

    Raises StoreUnavailable; the next call may succeed.
    """
    options: dict[str, Any] = {"credential_provider": provider} if provider else {}
    try:
        url = provider.url if settings.redis_secret_arn else settings.redis_url
        if settings.redis_ca:
            options["ssl_ca_data"] = ssl.DER_cert_to_PEM_cert(b64decode(settings.redis_ca, validate=True))
        kind: type[Link] = TlsLink if _checked(url).startswith("rediss:") else Link
        pool = redis.ConnectionPool.from_url(url, connection_class=kind, **options)
        # Refuses an option that it does not know, reads certificates, and does not connect.
        kind(**(known := pool.connection_kwargs | OPTIONS))
        return Connection(Nodes(kind, known))
    # A secret is read here.
    except (RedisError, OSError) as error:  # among them ssl.SSLError
        raise StoreUnavailable from error
    except (ValueError, TypeError):
        pass  # never the error: it may quote the password, and so may one that it comes from
    logger.error(
        "REDIS_URL, or the secret in its place, must be a URL like rediss://user:password@host:6379, and REDIS_CA the "
        "base64 of a certificate in DER"
    )
    raise StoreUnavailable
