"""The delivery process: moto, and the loop that gives the stored events to its rules."""

import hmac
import json
import logging
import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from moto.events.models import EventsBackend, events_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sqs.models import SQSBackend, sqs_backends
from werkzeug.serving import make_server
from werkzeug.test import Client

from local.eventbridge import (
    ACCOUNT,
    BUS,
    CATCH_ALL,
    DELIVERED,
    KEY,
    LIMIT,
    QUEUE,
    REGION,
    STREAM,
    journal,
    moto_fixes,
)
from local.eventbridge.validation import bus_of

BATCH = 100  # events that are delivered before they are deleted from Valkey
GATHER = 0.05  # seconds in which events come together, since many are cheaper than one by one
BLOCK = 5000  # milliseconds to wait for an event


def serve(redis_url: str, port: int, key: str) -> None:
    """Serve moto on this port of the loopback interface and deliver events, until the process ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto_fixes.apply()
    store = redis.Redis.from_url(redis_url, socket_timeout=2 * BLOCK / 1000)
    moto = DomainDispatcherApplication(create_backend_app)
    _prepare(store, Client(moto))
    os.nice(10)  # from here on requests come first
    with suppress(OSError):  # Linux shares its processors among sessions, and in them by niceness
        Path("/proc/self/autogroup").write_text("19")
    server = make_server("127.0.0.1", port, _for_one(moto, key), threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        try:
            deliver(store)
            time.sleep(GATHER)
        except redis.RedisError:
            time.sleep(0.2)  # what was not deleted is delivered again


def _for_one(moto: Any, key: str) -> Any:
    """Moto for the API alone: its own paths can make it forget everything, and it lets in every web page."""
    header = f"HTTP_{KEY.upper().replace('-', '_')}"

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if hmac.compare_digest(environ.get(header, ""), key):
            return moto(environ, start_response)
        start_response("403 Forbidden", [("Content-Length", "0")])
        return [b""]

    return answer


def _prepare(store: redis.Redis, client: Client) -> None:
    """Make the bus, and the queue that gets every event; then what users made."""
    events, sqs = _backends()
    events.create_event_bus(BUS)
    arn = sqs.create_queue(QUEUE).queue_arn
    events.put_rule(QUEUE, event_bus_arn=BUS, event_pattern=CATCH_ALL)
    events.put_targets(QUEUE, BUS, [{"Id": "queue", "Arn": arn}])

    def ask(target: str, body: str) -> bool:
        service = journal.SERVICES[target.partition(".")[0]]
        scope = f"local/20260101/{REGION}/{service}/aws4_request"
        headers = {
            "X-Amz-Target": target,
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none",
        }
        return client.post("/", data=body.encode(), headers=headers).status_code == 200

    for request in journal.again(store, ask):
        moto_fixes.tell(request, f"This could not be made again: {request}")


def _backends() -> tuple[EventsBackend, SQSBackend]:
    return events_backends[ACCOUNT][REGION], sqs_backends[ACCOUNT][REGION]


def deliver(store: redis.Redis) -> None:
    """Wait for events, deliver the oldest ones, and delete them. A kill before that delivers them again."""
    found: Any = store.xread({STREAM: "0"}, BATCH, BLOCK)
    if not found:
        return
    ((_, entries),) = found
    with store.pipeline() as done:
        for _, fields in entries:
            stored = json.loads(fields[b"event"])
            try:
                event = envelope(stored)
                hand_over(bus_of(stored["entry"]), event)
                moment = datetime.fromtimestamp(event["time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                done.publish(DELIVERED, json.dumps(event | {"time": moment}))
            except RecursionError as error:
                moto_fixes.tell("nested", f"The event {stored['id']} is nested too deeply: {error}")
        done.xdel(STREAM, *(place for place, _ in entries))
        done.execute()


def envelope(stored: dict[str, Any]) -> dict[str, Any]:
    """The event as rules see it. Moto writes the time as text when it delivers; the ingestion time is for itself."""
    entry = stored["entry"]
    return {
        "version": "0",
        "id": stored["id"],
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": ACCOUNT,
        "time": entry.get("Time", stored["accepted"]),
        "region": REGION,
        "resources": entry.get("Resources", []),
        "detail": json.loads(entry["Detail"]),
        "ingestion-time": stored["accepted"],
    }


def hand_over(bus_name: str, event: dict[str, Any]) -> None:
    """Give an event to the rules of a bus. The queue QUEUE keeps the newest LIMIT messages."""
    events, sqs = _backends()
    if bus := events.event_buses.get(bus_name):
        for rule in list(bus.rules.values()):
            rule.send_to_targets(event)  # type: ignore[arg-type]
    queue = sqs.queues.get(QUEUE)
    if queue and len(queue._messages) > LIMIT:
        moto_fixes.drop(queue, 0, len(queue._messages) - LIMIT)
