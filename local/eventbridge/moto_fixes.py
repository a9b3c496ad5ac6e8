"""Everything that is changed in moto, in one place: what makes it slow, and what loses or changes events.

It is for the delivery process. Nothing else in this project may import it, because it changes moto for good.
"""

import copy
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jsonpath_ng.ext
import moto.sqs.models
from moto.core.common_models import BaseModel
from moto.core.utils import camelcase_to_underscores, unix_time_millis
from moto.events.models import Rule
from moto.events.utils import EventTemplateParser
from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Message, Queue, SQSBackend

from local.lines import plain

COUNTS = {
    "ApproximateNumberOfMessages": "approximate_number_of_messages",
    "ApproximateNumberOfMessagesDelayed": "approximate_number_of_messages_delayed",
    "ApproximateNumberOfMessagesNotVisible": "approximate_number_of_messages_not_visible",
}
MANY = 1000  # problems that are told
_told: set[str] = set()


def apply() -> None:
    """Change moto in this process."""
    parse, send, attributes = EventTemplateParser.parse, Rule.send_to_targets, SQSBackend.get_queue_attributes
    changes: list[tuple[Any, str, Any]] = [
        # It keeps a reference to every message and rule that there ever was, for a dashboard.
        (BaseModel, "__new__", staticmethod(lambda cls, *_, **__: object.__new__(cls))),
        # It parses the paths of a template anew for each event, and that takes longer than all the rest.
        (jsonpath_ng.ext, "parse", lru_cache(1000)(jsonpath_ng.ext.parse)),  # type: ignore[attr-defined]
        (EventTemplateParser, "parse", staticmethod(_template(parse))),
        (Rule, "send_to_targets", _targets(send)),
        # It counts the messages of a queue whenever it wants to know any attribute; now only for who asks for a count.
        (Queue, "BASE_ATTRIBUTES", [name for name in Queue.BASE_ATTRIBUTES if name not in COUNTS]),
        (SQSBackend, "get_queue_attributes", _attributes(attributes)),
        # It makes the names of Python from those of AWS, a letter at a time.
        (moto.sqs.models, "camelcase_to_underscores", lru_cache(camelcase_to_underscores)),
        (Queue, "messages", property(_messages)),
        (Queue, "delete_message", _delete_message),
    ]
    for owner, name, changed in changes:
        setattr(owner, name, changed)


def _template(original: Callable[..., Any]) -> Callable[..., Any]:
    """Without a template a target gets the event as it is.

    Moto writes it through a template of its own, which also replaces what only looks like a name in it: a message
    "<id>" of a log.
    """

    def parse(input_template: str, input_paths_map: dict[str, Any], event: dict[str, Any]) -> Any:
        if input_template:
            return original(input_template, input_paths_map, event)
        return {name: value for name, value in event.items() if name != "ingestion-time"}

    return parse


def _targets(original: Callable[..., None]) -> Callable[..., None]:
    """A disabled rule gets nothing, and one target that fails does not keep the event from the others."""

    def send_to_targets(rule: Rule, original_event: Any, transform_input: bool = True) -> None:
        if rule.state == "DISABLED":
            return
        alone = copy.copy(rule)
        for target in list(rule.targets):
            alone.targets = [target]
            try:
                original(alone, original_event, transform_input)
            except Exception as error:
                about = f"The rule {rule.name} cannot deliver to {target.get('Arn')}"
                tell(f"{about}: {type(error)}", f"{about}: {error!r}")

    return send_to_targets


def tell(about: str, problem: str) -> None:
    """Tell of a problem once, and not for each event: `about` is the same then."""
    if about not in _told and len(_told) < MANY:
        _told.add(about)
        print(f"EventBridge: {plain(problem)}", file=sys.stderr, flush=True)


def _attributes(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def get_queue_attributes(backend: SQSBackend, queue_name: str, attribute_names: list[str]) -> dict[str, Any]:
        asked = set(COUNTS) if "All" in attribute_names else COUNTS.keys() & set(attribute_names)
        queue = backend.get_queue(queue_name)
        found = original(backend, queue_name, [name for name in attribute_names if name not in asked])
        return found | {name: getattr(queue, COUNTS[name]) for name in asked}

    return get_queue_attributes


def _messages(queue: Queue) -> list[Message]:
    """The messages that can be received. Moto asks for the time twice for each."""
    now = unix_time_millis()
    with queue._messages_lock:
        return [each for each in queue._messages if now > each.visible_at and now >= each.delayed_until]


def _delete_message(queue: Queue, receipt_handle: str) -> None:
    """Moto copies the others into a new list, and loses what is delivered meanwhile."""
    if receipt_handle in queue.deleted_messages:
        return
    with queue._messages_lock:
        for position, message in enumerate(queue._messages):
            if receipt_handle == message.receipt_handle or receipt_handle in message._old_receipt_handles:
                drop(queue, position, position + 1)
                return
    raise ReceiptHandleIsInvalid()


def drop(queue: Queue, start: int, end: int) -> None:
    """Delete messages from a queue; deleting one of them again is no error, as in SQS."""
    with queue._messages_lock:
        for message in queue._messages[start:end]:
            queue.pending_messages.discard(message)
            queue.deleted_messages.update(handle for handle in message.all_receipt_handles if handle)
        del queue._messages[start:end]
