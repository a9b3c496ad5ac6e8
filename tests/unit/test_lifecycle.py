"""The status table is the specification's."""

from itertools import product

import pytest
from missions.domain import lifecycle
from missions.domain.models import MissionStatus as S

ALLOWED = {(S.PENDING, S.RUNNING), (S.RUNNING, S.COMPLETED), (S.RUNNING, S.FAILED)} | {
    (status, S.CANCELLED) for status in S if status is not S.CANCELLED
}


@pytest.mark.parametrize(("source", "target"), list(product(S, S)))
def test_a_transition_is_allowed_exactly_when_the_specification_lists_it(source: S, target: S) -> None:
    assert (target in lifecycle.TRANSITIONS[source]) == ((source, target) in ALLOWED)
    assert (source in lifecycle.sources(target)) == ((source, target) in ALLOWED)
