"""Every minute: end the missions of which a limit has passed, and remove those that were kept long enough."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from missions import runtime, sweeper
from missions.log import log_context, logger
from missions.publishing.eventbridge import EventBridge

MARGIN = 25_000  # milliseconds left when a run takes no more missions: a stalled S3, EventBridge and store

metrics = Metrics(namespace="Missions", service="missions_service")

runtime.current.prepare()


def bus() -> EventBridge | None:
    """Where events go. Missions are swept also when there is no bus: their events wait in the outbox."""
    settings = runtime.current.settings
    try:
        return EventBridge.existing(settings.event_bus_name, settings.aws_region) if settings.event_bus_name else None
    except Exception:
        logger.exception("EventBridge is not asked; the relay publishes these events")
        return None


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Sweep, and measure what was due. Raises StoreUnavailable when the store does not answer."""
    log_context.clear_state()
    report = sweeper.Report()
    try:
        metrics.add_dimension("bus", runtime.current.settings.event_bus_name)
        sweeper.sweep(report, bus, lambda: context.get_remaining_time_in_millis() > MARGIN)
        if not report.unread:  # else nobody knows since when missions are due: without a figure the alarm goes off
            metrics.add_metric("OverdueAge", MetricUnit.Milliseconds, report.oldest)
        metrics.add_metric("SweptFailed", MetricUnit.Count, report.failed)
        metrics.add_metric("SweptCancelled", MetricUnit.Count, report.cancelled)
        metrics.add_metric("SweptRemoved", MetricUnit.Count, report.removed)
        metrics.add_metric("SweptLeft", MetricUnit.Count, report.left)
        return asdict(report)
    finally:
        metrics.flush_metrics()
