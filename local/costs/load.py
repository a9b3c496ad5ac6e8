"""What is asked of a deployment in a month."""

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from missions.storage.keys import PARTITIONS

from local.costs import prices
from local.costs.prices import GIB, HOURS

# How many commands a run on a schedule sends to each partition of the store
ASKS = {"RelayEventsFunction": 2, "SweepMissionsFunction": 1}


class Run(NamedTuple):
    """What a run on a schedule takes: seconds, calls of other functions, restores at most, and events."""

    seconds: float = 1.0
    calls: int = 0
    restores: int = 0
    events: int = 0


# The canary calls sixteen functions, some of them twice (functions/canary); without other requests each is restored,
# but that of the console, which has no snapshot
RUNS = {
    "RelayEventsFunction": Run(0.3),
    "SweepMissionsFunction": Run(0.2),
    "CanaryFunction": Run(3.0, 19, 16, 13),
}


@dataclass(frozen=True)
class Load:
    """What a mission is taken to be; `versions` of each function exist."""

    requests: float = 10
    milliseconds: float = 30
    events: float = 9
    event_bytes: float = 600
    log_bytes: float = 1200
    stored_bytes: float = 3000
    ecpu: float = 4
    requests_per_restore: float = 1000
    versions: float = 1


class Month:
    """The quantities of a month with so many missions."""

    def __init__(self, missions: float, load: Load, runs: dict[str, float], memory: float) -> None:
        self.requests = missions * load.requests / 1e6  # millions, as the next
        self.events = missions * load.events / 1e6
        self.sent = self.events * load.event_bytes / 1e3  # GB, as the next two
        self.logged = self.requests * load.log_bytes / 1e3 + self.sent
        self.stored = missions * load.stored_bytes / 1e9
        asked = sum(times * ASKS.get(name, 0) for name, times in runs.items()) * PARTITIONS
        self.ecpu = self.requests * load.ecpu + asked / 1e6  # millions
        self.seconds = self.requests * load.milliseconds * 1e3 * memory  # GB-s
        self.rate = self.requests * 1e6 / HOURS / 3600  # a second
        self.restored = self.requests * 1e6 / load.requests_per_restore * memory  # GB
        self.busy = self.ecpu * 1e6 / HOURS / 3600  # a second
        self.namespaces = max(1, ceil(self.stored / (prices.SLOT_GIB * GIB)), ceil(self.busy / prices.SLOT_ECPU))

    def tiers(self) -> list[tuple[float, float]]:
        """How many million requests of the API have which price."""
        starts = (0, *(limit for limit, _ in prices.API))
        parts = [
            (min(self.requests, top) - start, each) for start, (top, each) in zip(starts, prices.API, strict=False)
        ]
        return [part for part in parts if part[0] > 0]
