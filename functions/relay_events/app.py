"""Every minute: publish the events that requests left in the outbox."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from missions import runtime
from missions.log import log_context
from missions.publishing import relay
from missions.publishing.eventbridge import EventBridge

MARGIN = 18_000  # milliseconds left when a run takes no further batch: a stalled EventBridge (8 s), and stalled nodes

metrics = Metrics(namespace="Missions", service="missions_service")

runtime.current.prepare()


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Publish, and measure what waits. Raises RuntimeError when there is no bus to publish to."""
    log_context.clear_state()
    here = runtime.current
    try:
        backlogs, report = relay.survey(here.outbox)
        name = here.settings.event_bus_name
        metrics.add_dimension("bus", name)
        metrics.add_metric("OutboxDepth", MetricUnit.Count, report.waiting)
        try:
            bus = EventBridge.existing(name, here.settings.aws_region)
            relay.drain(here.outbox, bus, backlogs, report, lambda: context.get_remaining_time_in_millis() > MARGIN)
        finally:
            if not report.unread:  # else nobody knows how old events are: without a figure the alarm goes off
                metrics.add_metric("OutboxAge", MetricUnit.Milliseconds, report.oldest)
            metrics.add_metric("DeadLetters", MetricUnit.Count, report.dead + report.died)
            metrics.add_metric("Published", MetricUnit.Count, report.published)
        return asdict(report)
    finally:
        metrics.flush_metrics()
