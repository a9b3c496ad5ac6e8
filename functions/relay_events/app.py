"""Every minute, and when an operator asks (RelayRequest): publish the events that requests left in the outbox."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from missions import relay
from missions.eventbridge import EventBridge
from missions.settings import settings

MARGIN = 15_000  # milliseconds left when a run takes no further page: one page with a stalled EventBridge

metrics = Metrics(namespace="Missions", service="missions_service")


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Publish; list undelivered events and dead letters; or send dead letters again."""
    request = relay.RelayRequest.model_validate(event)
    namespaces = [request.namespace] if request.namespace else relay.namespaces()
    if request.action == "list":
        return {namespace: relay.undelivered(namespace, request.limit) for namespace in namespaces}
    if request.action == "redeliver":
        for namespace in namespaces:
            relay.revive(namespace, request.entry_ids)

    report = relay.survey(namespaces)
    metrics.add_metric("OutboxDepth", MetricUnit.Count, report.waiting)
    metrics.add_metric("OutboxAge", MetricUnit.Milliseconds, report.oldest)
    bus = EventBridge(settings().event_bus_name, read_timeout=5)
    if not bus.exists():  # PutEvents would answer success, and every event would be lost
        raise RuntimeError(f"The event bus '{settings().event_bus_name}' does not exist: create it, nothing is lost")
    relay.drain(bus, namespaces, report, lambda: context.get_remaining_time_in_millis() > MARGIN)
    metrics.add_metric("DeadLetters", MetricUnit.Count, report.dead + report.died)
    metrics.add_metric("Published", MetricUnit.Count, report.published)
    return asdict(report)
