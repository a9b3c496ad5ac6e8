"""Percentiles from buckets: within the error that is stated."""

import math

import hypothesis.strategies as st
from hypothesis import example, given
from missions.domain import durations


def bucket(milliseconds: int) -> int:
    """What change_status.lua does, in other words: keep the five leading bits."""
    shift = max(0, milliseconds.bit_length() - 5)
    return milliseconds >> shift << shift


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=50))
@example([0])
@example([31, 32, 33])
@example([2**40 - 1] * 3)
def test_percentiles_are_within_the_stated_error_and_the_mean_is_exact(milliseconds: list[int]) -> None:
    buckets: dict[str, int] = {"sum": sum(milliseconds), "9": 0}
    for each in milliseconds:
        buckets[str(bucket(each))] = buckets.get(str(bucket(each)), 0) + 1
    summary = durations.summary(buckets)
    ordered = sorted(milliseconds)
    assert summary.count == len(milliseconds)
    assert summary.mean == round(sum(milliseconds) / len(milliseconds) / 1000, 3)
    for share, shown in ((0.5, summary.p50), (0.95, summary.p95)):
        true = ordered[math.ceil(share * len(ordered)) - 1] / 1000
        assert shown is not None
        assert abs(shown - true) <= 0.032 * true


def test_without_finished_missions_there_is_no_duration() -> None:
    summary = durations.summary({"sum": 0, "100": 0})
    assert summary.model_dump() == {"count": 0, "mean": None, "p50": None, "p95": None}
