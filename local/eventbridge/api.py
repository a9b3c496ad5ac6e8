"""The API process: PutEvents is answered here; everything else is passed on to moto, in the delivery process."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from local import serving
from local.eventbridge import ACCOUNT, BUS, CONTAINERS, KEY, LOCAL, REGION, STREAM, journal
from local.eventbridge.validation import Refusal, Rejection, answer, arrives, detail_of, entries_of

Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]

# Of moto only what AWS has: it can also be told to forget everything
PATHS = re.compile(rb"/(\d{12}/[A-Za-z0-9_.-]+)?")
CONNECTIONS = 16  # to Valkey
LONGEST = 30  # seconds for moto to answer anything else: a receive may wait for 20
PATIENCE = 1  # seconds for moto to describe a bus; the relay asks for it each time it starts
JSON = [(b"content-type", b"application/x-amz-json-1.1")]
ADD = "for _, event in ipairs(ARGV) do redis.call('XADD', KEYS[1], '*', 'event', event) end"  # all or nothing
HOP = {b"connection", b"content-length", b"date", b"server", b"transfer-encoding"}  # each connection has its own
SIGNED_REGION = re.compile(rb"(Credential=[^/]+/[^/]+/)[^/]+/")


class Away(Exception):
    """The delivery process does not answer."""


class Api:
    """The ASGI application."""

    def __init__(self, redis_url: str, delivery_port: int, key: str) -> None:
        self._store = Redis(connection_pool=BlockingConnectionPool.from_url(redis_url, max_connections=CONNECTIONS))
        # A client around this connection would take as long again for each event
        self._events = self._store.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._adding = asyncio.Lock()
        self._port, self._key = delivery_port, key.encode()
        self._buses = {"default", BUS}
        self._changing = asyncio.Lock()  # the journal has changes in the order in which moto made them

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            status, headers, content = await self._answer(scope, body)
        except Refusal as error:
            status, headers, content = _error(400, error.code, str(error))
        except Away:
            reason = "The delivery process does not answer; rules and queues come back with it. Events are still taken."
            status, headers, content = _error(503, "ServiceUnavailable", reason)
        except RedisError as error:
            status, headers, content = _error(500, "InternalFailure", f"Valkey does not answer: {error}")
        headers = [*headers, (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Any, body: bytes) -> Answer:
        given = dict(scope["headers"])
        host = given.get(b"host", b"").decode("latin-1").lower()
        here = (scope["server"][0], CONTAINERS)
        if b"origin" in given or not (LOCAL.fullmatch(host) or host.rpartition(":")[0] in here):
            return _error(403, "AccessDeniedException", "No web page may use the local EventBridge and SQS.")
        if not PATHS.fullmatch(scope["raw_path"]):
            return _error(404, "UnknownOperationException", "There is no such path.")
        target = given.get(b"x-amz-target", b"").decode("latin-1")
        if target == "AWSEvents.PutEvents":
            return 200, JSON, json.dumps(await self._put_events(body)).encode()
        if target == "AWSEvents.DescribeEventBus":
            return await self._describe_event_bus(scope, body)
        if target not in journal.THINGS:
            return await self._pass_on(scope, body)
        async with self._changing:
            passed = await self._pass_on(scope, body)
            if passed[0] == 200:
                await journal.keep(self._store, target, body)
                await self.learn_buses()
            return passed

    async def _put_events(self, body: bytes) -> dict[str, Any]:
        accepted = time.time()
        answers: list[dict[str, Any]] = []
        events = []
        for entry in entries_of(_parsed(body)):
            try:
                detail_of(entry)
            except Rejection as rejection:
                answers.append(rejection.answer)
                continue
            answers.append({"EventId": str(uuid4())})
            if arrives(entry, self._buses):
                events.append(json.dumps({"id": answers[-1]["EventId"], "accepted": accepted, "entry": entry}))
        if events:
            async with self._adding:
                await self._events.send_command("EVAL", ADD, 1, STREAM, *events)
                await self._events.read_response()
        return answer(answers)

    async def learn_buses(self) -> None:
        """Learn which buses there are."""
        self._buses = {"default", BUS} | await journal.buses(self._store)

    async def _describe_event_bus(self, scope: Any, body: bytes) -> Answer:
        """Moto's answer, or a short one of our own: who publishes should not have to wait for the delivery."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._pass_on(scope, body)
        except (Away, TimeoutError):
            name = _parsed(body).get("Name", "default").rpartition("/")[2]
            if name not in self._buses:
                raise Away from None
            arn = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{name}"
            return 200, JSON, json.dumps({"Name": name, "Arn": arn}).encode()

    async def _pass_on(self, scope: Any, body: bytes) -> Answer:
        """Moto's answer. It speaks HTTP/1.0: the end of the answer is the end of the connection. Raises Away."""
        path = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        lines = [b"%s %s HTTP/1.0" % (scope["method"].encode(), path)]
        for name, value in scope["headers"]:
            if name == b"authorization":
                value = SIGNED_REGION.sub(rb"\g<1>%s/" % REGION.encode(), value)
            if name not in HOP and name != KEY.encode():
                lines.append(b"%s: %s" % (name, value))
        lines += [b"%s: %s" % (KEY.encode(), self._key), b"content-length: %d\r\n\r\n" % len(body)]
        try:
            async with asyncio.timeout(LONGEST):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    writer.write(b"\r\n".join(lines) + body)
                    head, _, content = (await reader.read()).partition(b"\r\n\r\n")
                finally:
                    writer.close()
        except OSError:  # also TimeoutError
            raise Away from None
        first, *rest = head.split(b"\r\n")
        headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in rest)]
        if str(len(content)) != dict(headers).get(b"content-length", b"").decode():
            raise Away  # it ended in the middle
        return int(first.split()[1]), [each for each in headers if each[0] not in HOP], content


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal("SerializationException", "The request is not JSON.") from None


def _error(status: int, code: str, message: str) -> Answer:
    return status, JSON, json.dumps({"__type": code, "message": message}).encode()


class _Server(serving.Server):
    async def startup(self, sockets: list[Any] | None = None) -> None:
        await self.config.app.learn_buses()  # type: ignore[union-attr]
        await super().startup(sockets)


def serve(redis_url: str, delivery_port: int, key: str, sockets: list[Any]) -> None:
    """Serve on these sockets until the process ends."""
    config = serving.config(
        Api(redis_url, delivery_port, key),
        http="httptools",
        date_header=False,
        timeout_keep_alive=3600,  # publishers keep a connection and send each request once
    )
    _Server(config).run(sockets)
