"""AWS's list prices of us-east-1 in USD, without free tiers, and what limits a store.

The page of each price is https://aws.amazon.com/{service}/pricing/, of the service that its comment begins with.
"""

from math import inf

LOOKED_UP = "24 November 2026"
HOURS = 730  # a month, as AWS counts it

ENDPOINT, ENDPOINT_GB = 0.01, 0.01  # privatelink: an hour in one zone; a GB
KEY = 1.00  # kms: a month
ALARM, COMPOSITE, METRIC, DASHBOARD = 0.10, 0.50, 0.30, 3.00  # cloudwatch: a month; an alarm for each metric it reads
LOGS, LOGS_KEPT, COMPRESSED = 0.50, 0.03, 0.15  # cloudwatch: a GB; a GB for a month, of what compression leaves
SNAPSHOT, RESTORE = 0.0000015046, 0.0001397998  # lambda, SnapStart: a GB for a second (three hours at least); a GB
CALLS = 0.20  # lambda: a million
SECONDS = {"arm64": 0.0000133334, "x86_64": 0.0000166667}  # lambda: a GB for a second
API = ((300, 1.00), (inf, 0.90))  # api-gateway, HTTP API: up to so many million, a million
EVENTS, SCHEDULE = 1.00, 1.00  # eventbridge: a million
ARCHIVE, ARCHIVED = 0.10, 0.023  # eventbridge: a GB; a GB for a month
SERVERLESS = {
    "valkey": (0.084, 0.1, 0.0023),
    "redis": (0.125, 1, 0.0034),
}  # elasticache: GB-hour; least GB; million ECPU
BACKUP = 0.085  # elasticache: a GB of snapshots for a month
NODES = {  # elasticache: a node of Valkey for an hour (four fifths of Redis's price), and its GiB
    "cache.m7g.large": (0.1264, 6.38),
    "cache.r7g.large": (0.1752, 13.07),
    "cache.r7g.xlarge": (0.3496, 26.32),
    "cache.r7g.2xlarge": (0.6984, 52.82),
    "cache.r7g.4xlarge": (1.396, 105.81),
    "cache.r7g.8xlarge": (2.7928, 209.55),
    "cache.r7g.12xlarge": (4.188, 317.77),
    "cache.r7g.16xlarge": (5.5848, 419.09),
}

GIB = 2**30 / 1e9  # GB
USABLE = 0.75  # of a node's memory; ElastiCache reserves the rest
SLOT_GIB, SLOT_ECPU = 32, 30_000  # of a serverless store, for one slot: memory; ECPU a second
