"""EventBridge and SQS on one machine, in two processes that `python -m local.eventbridge` starts.

`api` takes events: it checks them as AWS does, stores them in Valkey and answers. `delivery` gives them to the rules,
in the order in which they came, and deletes them from Valkey afterwards. So no accepted event is lost when one of the
two is killed, and a slow delivery holds up nobody. Rules, targets, queues and archives are moto's, and are kept for the
next run. The messages in queues and the events in archives are not.

This package has one region and one account. Requests for another region are taken as requests for this one.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import redis

BUS = "missions"
QUEUE = "missions-events"  # gets every event of the bus; keeps the newest LIMIT messages
LIMIT = 1000
REGION = "eu-central-1"
ACCOUNT = "123456789012"
# Who asks for another name may be a web page whose name leads here
LOCAL = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
CATCH_ALL = '{"source": ["missions_service"]}'

CONTAINERS = "host.docker.internal"  # this machine, as a container sees it
KEY = "x-delivery-key"  # the header by which the delivery knows the API

# Keys in Valkey
STREAM = "local:events:waiting"  # accepted and not delivered yet
DELIVERED = "local:events:delivered"  # a channel
JOURNAL = "local:events:journal"
COUNTER = "local:events:journal:counter"


def waiting(store: redis.Redis) -> int:
    """How many events are accepted and not delivered yet."""
    return int(store.xlen(STREAM))


def delivered(store: redis.Redis) -> Iterator[tuple[float, dict[str, Any]]]:
    """Every event that is delivered from now on, of all buses: when it was accepted, and what the rules are given.

    Listening begins with this call, not with the first event that is asked for.
    """
    channel = store.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    channel.subscribe(DELIVERED)

    def events() -> Iterator[tuple[float, dict[str, Any]]]:
        for message in channel.listen():
            if message["type"] == "message":
                event = json.loads(message["data"])
                yield event.pop("ingestion-time"), event

    return events()
