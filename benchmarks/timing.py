"""Timing side by side: contenders take turns, batch by batch, and each batch is checked to have done its work."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class NotDone(Exception):
    """What was timed did not happen, so there is no figure."""


def check(happened: bool, what: str) -> None:
    """Raise NotDone unless it happened."""
    if not happened:
        raise NotDone(what)


@dataclass
class Sample:
    """The times of single calls, in seconds."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[math.ceil(0.99 * len(self.seconds)) - 1]


@dataclass(frozen=True)
class Contender:
    """What is timed: `call` with each of the inputs that `prepare` makes; then `verify` looks at inputs and answers.

    Neither `prepare` nor `verify` is timed. `verify` raises NotDone.
    """

    call: Callable[[Any], Any]
    prepare: Callable[[int], Sequence[Any]]
    verify: Callable[[Sequence[Any], Sequence[Any]], None]


def side_by_side(
    contenders: Mapping[str, Contender],
    *,
    rounds: int,
    batch: int,
    warm_up: int = 5,
    batches: Mapping[str, int] | None = None,
) -> dict[str, Sample]:
    """Time contenders in turn, a batch each a round, the one that begins changing; `batches` for other batch sizes."""
    samples = {name: Sample() for name in contenders}
    order = list(contenders)
    for turn in range(rounds):
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            contender = contenders[name]
            inputs = contender.prepare((batches or {}).get(name, batch) + warm_up)
            answers, seconds = _timed(contender.call, inputs)
            contender.verify(inputs, answers)
            samples[name].seconds += seconds[warm_up:]
    return samples


def _timed(call: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[list[Any], list[float]]:
    clock = time.perf_counter
    answers = []
    seconds = []
    for each in inputs:
        started = clock()
        answer = call(each)
        seconds.append(clock() - started)
        answers.append(answer)
    return answers, seconds
