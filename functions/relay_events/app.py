"""Every minute, and when an operator asks (RelayRequest): publish the events that requests left in the outbox."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from missions import relay
from missions.eventbridge import EventBridge
from missions.settings import settings

MARGIN = 15_000  # milliseconds left when a run takes no further batch: a stalled EventBridge, and a stalled store

metrics = Metrics(namespace="Missions", service="missions_service")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Publish; list undelivered events and dead letters; or send dead letters again."""
    request = relay.RelayRequest.model_validate(event)
    namespaces = [request.namespace] if request.namespace else relay.namespaces()
    if request.action == "list":
        return {namespace: relay.undelivered(namespace, request.limit) for namespace in namespaces}
    if request.action == "redeliver":
        for namespace in namespaces:
            relay.revive(namespace, request.entry_ids)

    try:
        return asdict(publish(namespaces, lambda: context.get_remaining_time_in_millis() > MARGIN))
    finally:
        metrics.flush_metrics()


def publish(namespaces: list[str], more_time: Callable[[], bool]) -> relay.Report:
    """Run the relay and measure it. Raises RuntimeError when there is no bus to publish to."""
    report = relay.survey(namespaces)
    name = settings().event_bus_name
    metrics.add_dimension("bus", name)
    metrics.add_metric("OutboxDepth", MetricUnit.Count, report.waiting)
    metrics.add_metric("OutboxAge", MetricUnit.Milliseconds, report.oldest)
    metrics.add_metric("DeadLetters", MetricUnit.Count, report.dead)
    bus = EventBridge(name, read_timeout=5)
    if not bus.exists():  # PutEvents would answer success, and every event would be lost
        raise RuntimeError(f"The event bus '{name}' does not exist; create it. Its events wait in the outbox.")
    relay.drain(bus, namespaces, report, more_time)
    metrics.add_metric("DeadLetters", MetricUnit.Count, report.dead + report.died)
    metrics.add_metric("Published", MetricUnit.Count, report.published)
    return report
