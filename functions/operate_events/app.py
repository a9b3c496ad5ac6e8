"""For operators: how much waits, what waits or is dead, who has missions; and to send dead letters again."""

from typing import Any

from missions import runtime
from missions.log import log_context
from missions.publishing import operators
from missions.publishing.eventbridge import EventBridge

MARGIN = 15_000  # milliseconds left when nothing further is begun: a stalled EventBridge, and a stalled store

runtime.current.prepare()


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer an operator (operators.OperatorRequest). It works while the relay is busy."""
    log_context.clear_state()
    settings = runtime.current.settings
    return operators.answer(
        event,
        runtime.current.outbox,
        lambda: EventBridge.existing(settings.event_bus_name, settings.aws_region),
        lambda: context.get_remaining_time_in_millis() > MARGIN,
    )
