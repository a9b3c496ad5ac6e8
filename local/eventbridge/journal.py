"""The requests that made what there is: rules, targets, queues, buses, archives. A new moto is given them again.

A hash in Valkey holds them. Its fields are named by what a request is about, its operation and the names of what it
sets; so a request that sets the same again replaces the earlier one. What is deleted leaves the journal.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import redis
from redis.asyncio import Redis

from local.eventbridge import COUNTER, JOURNAL
from local.eventbridge.validation import bus_of

Json = dict[str, Any]

SERVICES = {"AWSEvents": "events", "AmazonSQS": "sqs", "Logs_20140328": "logs"}  # as targets and signatures name them

MAKING = ("Create", "PutRule")  # done again, they stay in their place, before what refers to what they made


def _rule(name: str) -> Callable[[Json], str]:
    return lambda asked: f"rule/{bus_of(asked)}/{asked[name]}"


def _tagged(asked: Json) -> str:
    """A tagged thing has an ARN that ends in event-bus/NAME, or rule/NAME for a rule of the default bus."""
    kind, *names = str(asked["ResourceARN"]).rpartition(":")[2].split("/")
    return "/".join([kind, "default", *names] if kind == "rule" and len(names) == 1 else [kind, *names])


def _queue(asked: Json) -> str:
    return f"queue/{asked.get('QueueName') or asked['QueueUrl'].rpartition('/')[2]}"


# What each operation is about
THINGS: dict[str, Callable[[Json], str]] = {
    **dict.fromkeys(
        ("AWSEvents.CreateEventBus", "AWSEvents.UpdateEventBus", "AWSEvents.DeleteEventBus"),
        lambda asked: f"event-bus/{asked['Name']}",
    ),
    **dict.fromkeys(
        ("AWSEvents.PutPermission", "AWSEvents.RemovePermission"), lambda asked: f"event-bus/{bus_of(asked)}"
    ),
    **dict.fromkeys(
        ("AWSEvents.PutRule", "AWSEvents.DeleteRule", "AWSEvents.EnableRule", "AWSEvents.DisableRule"), _rule("Name")
    ),
    **dict.fromkeys(("AWSEvents.PutTargets", "AWSEvents.RemoveTargets"), _rule("Rule")),
    **dict.fromkeys(
        ("AWSEvents.CreateArchive", "AWSEvents.UpdateArchive", "AWSEvents.DeleteArchive"),
        lambda asked: f"archive/{asked['ArchiveName']}",
    ),
    **dict.fromkeys(("AWSEvents.TagResource", "AWSEvents.UntagResource"), _tagged),
    **dict.fromkeys(("AmazonSQS.CreateQueue", "AmazonSQS.DeleteQueue", "AmazonSQS.SetQueueAttributes"), _queue),
    **dict.fromkeys(("AmazonSQS.TagQueue", "AmazonSQS.UntagQueue"), _queue),
    **dict.fromkeys(("AmazonSQS.AddPermission", "AmazonSQS.RemovePermission"), _queue),
    **dict.fromkeys(
        ("Logs_20140328.CreateLogGroup", "Logs_20140328.DeleteLogGroup"),
        lambda asked: f"log-group/{asked['logGroupName']}",
    ),
}


async def keep(store: Redis, target: str, body: bytes) -> None:
    """Keep a request that moto has done. `target` names service and operation."""
    asked = json.loads(body)
    operation, thing = target.partition(".")[2], THINGS[target](asked)
    gone: list[str] = []
    if operation.startswith("Delete"):
        gone = [thing + " "]
        if thing.startswith("event-bus/"):
            gone.append(f"rule/{thing.partition('/')[2]}/")
    if operation in ("PutTargets", "RemoveTargets"):
        await _without_targets(store, thing, asked.get("Ids") or [each["Id"] for each in asked["Targets"]])
        if operation == "RemoveTargets":
            return
    if operation == "PutRule":  # says anew whether the rule is enabled
        gone = [f"{thing} state "]
    old = [field for field in await fields(store) if field.startswith(tuple(gone))] if gone else []
    async with store.pipeline() as change:
        if old:
            change.hdel(JOURNAL, *old)
        if not operation.startswith("Delete"):
            label = "state" if operation in ("EnableRule", "DisableRule") else operation
            field = f"{thing} {label} {','.join(_members(asked))}"
            earlier = await cast(Awaitable[bytes | None], store.hget(JOURNAL, field))
            if earlier and operation.startswith(MAKING):
                place = json.loads(earlier)["place"]
            else:
                place = await store.incr(COUNTER)
            change.hset(JOURNAL, field, json.dumps({"place": place, "target": target, "body": body.decode()}))
        await change.execute()


async def _without_targets(store: Redis, rule: str, ids: list[str]) -> None:
    """These targets of a rule are removed, or are about to be set anew."""
    for field in await fields(store):
        if field.startswith(f"{rule} PutTargets "):
            record = json.loads(await cast(Awaitable[bytes], store.hget(JOURNAL, field)))
            asked = json.loads(record["body"])
            asked["Targets"] = [each for each in asked["Targets"] if each["Id"] not in ids]
            if asked["Targets"]:
                text = json.dumps(record | {"body": json.dumps(asked)})
                await store.hset(JOURNAL, field, text)
            else:
                await store.hdel(JOURNAL, field)


async def fields(store: Redis) -> list[str]:
    """What is in the journal: the thing, the operation and the names of what was set."""
    return [field.decode() for field in await cast(Awaitable[list[bytes]], store.hkeys(JOURNAL))]


async def buses(store: Redis) -> set[str]:
    """The names of the buses that users made."""
    things = [field.partition(" ")[0] for field in await fields(store)]
    return {thing.partition("/")[2] for thing in things if thing.startswith("event-bus/")}


def _members(asked: Json) -> list[str]:
    """The names of what a request sets."""
    members = []
    for name, value in sorted(asked.items()):
        each = value if isinstance(value, (dict, list)) else []
        inner = [part.get("Id") or part.get("Key") or "" if isinstance(part, dict) else str(part) for part in each]
        members += [name, *sorted(inner)]
    return members


def again(store: redis.Redis, ask: Callable[[str, str], bool]) -> list[str]:
    """Give all requests to `ask`, in their order; it tells whether it could be done. What could not waits for the rest:
    a bus that was deleted and made again stands behind its archive.

    Gives the requests that could not be done at all.
    """
    kept = [json.loads(record) for record in cast(list[bytes], store.hvals(JOURNAL))]
    left = sorted(kept, key=lambda record: int(record["place"]))
    while left:
        failed = [record for record in left if not ask(record["target"], record["body"])]
        if len(failed) == len(left):
            break
        left = failed
    return [f"{record['target']} {record['body']}" for record in left]
