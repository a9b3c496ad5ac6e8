"""The one logger. Request id, route, namespace and mission are on every line until the next request."""

from aws_lambda_powertools import Logger

logger = Logger(service="missions_service")
