"""How long finished missions ran, from the buckets that the scripts keep. Pure: no I/O."""

import bisect
import itertools
from collections.abc import Mapping

from missions.domain.models import Durations


def summary(buckets: Mapping[str, int]) -> Durations:
    """Count, mean and percentiles in seconds; `buckets` are counts by the least milliseconds of each, and their `sum`.

    A bucket is at most a sixteenth of its least number wide, and its middle stands for it: an error of 3.2 % at most.
    """
    counts = sorted((int(least), count) for least, count in buckets.items() if least != "sum" and count > 0)
    if not counts:
        return Durations(count=0, mean=None, p50=None, p95=None)
    sums = list(itertools.accumulate(count for _, count in counts))
    total = sums[-1]

    def percentile(share: float) -> float:
        reached = bisect.bisect_left(sums, share * total)
        least = counts[reached][0]
        return (least + (_width(least) - 1) / 2) / 1000

    return Durations(
        count=total, mean=round(buckets.get("sum", 0) / total / 1000, 3), p50=percentile(0.5), p95=percentile(0.95)
    )


def _width(least: int) -> int:
    """How many milliseconds a bucket spans: 1 below 32, else a sixteenth of the power of two below it."""
    return 1 << max(0, least.bit_length() - 5)
