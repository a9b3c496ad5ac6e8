"""The one logger. Request id, route, namespace and mission are on every line until the next request."""

from aws_lambda_powertools import Logger

logger = Logger(service="missions_service")
# Its append_keys and clear_state; those of the logger look for this object at each call, four times a request.
log_context = logger.registered_formatter
