"""A connection to one server. Whatever it takes (names, TLS, signing in, sending, reading), it ends by one moment."""

import ssl
import threading
import time
from collections.abc import Sequence
from functools import cache
from socket import socket
from typing import Any

import hiredis
import redis
from redis.exceptions import TimeoutError as TimedOut

from missions.deadline import within

TIMEOUT = 0.9  # seconds that a server may be silent


class NotSignedIn(redis.RedisError):
    """There is nothing to sign in to the store with, which is not the fault of a server."""


class Link(redis.Connection):
    """redis-py's connection for one user at a time, with a deadline: redis-py's time-outs begin anew at each step.

    It is made at its first use. A client of redis-py around it would cost a fifth of a command's time.
    """

    def __init__(self, **options: Any) -> None:
        self._until = 0.0
        self._lock = threading.Lock()
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def exchange(self, until: float, commands: Sequence[Sequence[str | int]]) -> list[Any]:
        """Send commands and read their answers; an error is one, too. All of it ends at `until`, a monotonic time.

        Raises what redis-py raises when there is no answer. Then the connection is closed, so that no late answer is
        taken for another one's.
        """
        if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            raise TimedOut("the connection is in use")
        try:
            self._until = until
            # hiredis packs and reads in a third of the time that redis-py takes around it.
            packed = b"".join([hiredis.pack_command(tuple(each)) for each in commands])  # type: ignore[arg-type]
            self.send_packed_command([packed])  # type: ignore[no-untyped-call]
            return [self._parser.read_response() for _ in commands]
        except BaseException:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise
        finally:
            self._lock.release()

    def left(self) -> float:
        """How long the next step may take, in seconds. Raises redis.TimeoutError."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimedOut("the time is up")
        return min(TIMEOUT, left)

    # A name may have several addresses, and TLS several steps, each with this time-out.
    socket_timeout = socket_connect_timeout = property(lambda self: self.left() / 2, lambda self, _: None)

    def _connect(self) -> Any:
        # The look-up of a name has no time-out of its own.
        return _Socket(within(self.left(), super()._connect, lambda late: late.close()), self)


class TlsLink(Link, redis.SSLConnection):
    """Shares what is read of the system's certificates; redis-py reads them for each connection, 50 ms of a processor.

    They are read when the first link is made, before it connects. An option that is not among those of `_context` is
    left to redis-py.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._context = _context(self.check_hostname, self.cert_reqs, self.ca_certs, self.ca_path, self.ca_data)

    def _wrap_socket_with_ssl(self, sock: socket) -> Any:
        own = (self.certfile, self.keyfile, self.ssl_ciphers, self.ssl_min_version, self.ssl_include_verify_flags)
        if any(own) or self.ssl_exclude_verify_flags or self.ssl_validate_ocsp or self.ssl_validate_ocsp_stapled:
            return super()._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]
        return self._context.wrap_socket(sock, server_hostname=self.host)


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


class _Socket:
    """A socket whose steps are given what is left of their link's time."""

    def __init__(self, sock: socket, link: Link) -> None:
        self._sock = sock
        self._link = link

    def _limit(self) -> None:
        left = self._link.left()
        if left != self._sock.gettimeout():  # most have all of TIMEOUT, and to set it again is a call of the system
            self._sock.settimeout(left)

    def sendall(self, data: bytes) -> None:
        self._limit()
        self._sock.sendall(data)

    def recv_into(self, buffer: bytearray) -> int:
        self._limit()
        return self._sock.recv_into(buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
