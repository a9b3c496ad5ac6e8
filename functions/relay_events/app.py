"""Every minute, and when an operator asks: publish the events that requests left in the outbox."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from missions import runtime
from missions.log import logger
from missions.publishing import operators, relay
from missions.publishing.eventbridge import EventBridge

MARGIN = 15_000  # milliseconds left when a run takes no further batch: a stalled EventBridge, and a stalled store

metrics = Metrics(namespace="Missions", service="missions_service")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Publish; list undelivered events and dead letters; send dead letters again; or name the namespaces."""
    logger.clear_state()
    request = operators.RelayRequest.model_validate(event)
    outbox = runtime.current.outbox
    match request.action:
        case "list":
            return operators.listed(outbox, request)
        case "namespaces":
            return {"namespaces": list(outbox.namespaces())}
        case "redeliver":
            operators.revive(outbox, request)
    try:
        return asdict(publish(lambda: context.get_remaining_time_in_millis() > MARGIN))
    finally:
        metrics.flush_metrics()


def publish(more_time: Callable[[], bool]) -> relay.Report:
    """Run the relay and measure it. Raises RuntimeError when there is no bus to publish to."""
    here = runtime.current
    backlogs, report = relay.survey(here.outbox)
    name = here.settings.event_bus_name
    metrics.add_dimension("bus", name)
    metrics.add_metric("OutboxDepth", MetricUnit.Count, report.waiting)
    metrics.add_metric("OutboxAge", MetricUnit.Milliseconds, report.oldest)
    metrics.add_metric("DeadLetters", MetricUnit.Count, report.dead)
    bus = EventBridge(name, here.settings.aws_region, read_timeout=5)
    if not bus.exists():  # PutEvents would answer success, and every event would be lost
        raise RuntimeError(f"The event bus '{name}' does not exist; create it. Its events wait in the outbox.")
    relay.drain(here.outbox, bus, backlogs, report, more_time)
    metrics.add_metric("OutboxAge", MetricUnit.Milliseconds, report.oldest)
    metrics.add_metric("DeadLetters", MetricUnit.Count, report.dead + report.died)
    metrics.add_metric("Published", MetricUnit.Count, report.published)
    return report
