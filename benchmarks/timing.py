"""Timing side by side: contenders take turns, batch by batch, and each batch is checked to have done its work."""

import math
import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

# A batch: it makes the inputs, yields what is timed with each of them, is sent the answers, and checks what they did.
Batch = Generator[tuple[Callable[[Any], Any], Sequence[Any]], list[Any], None]
Contender = Callable[[int], Batch]  # given how many inputs


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

    def __str__(self) -> str:
        return shown(self.median) + (f", p99 {shown(self.p99)}" if len(self.seconds) >= 100 else "")


def shown(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.{1 if seconds < 0.0001 else 0}f} us"
    return f"{seconds * 1e3:,.2f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def side_by_side(
    contenders: Mapping[str, Contender], rounds: int, batch: int = 25, warm_up: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Sample]:  # fmt: skip
    """Time contenders in turn, a batch each a round; the one that begins changes. Raises NotDone."""
    samples = {name: Sample() for name in contenders}
    order = list(contenders)
    for turn in range(rounds):
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            steps = contenders[name](warm_up + batch)
            call, inputs = next(steps)
            answers, seconds = [], []
            for each in inputs:
                started = clock()
                answer = call(each)
                seconds.append(clock() - started)
                answers.append(answer)
            with suppress(StopIteration):
                steps.send(answers)
            samples[name].seconds += seconds[warm_up:]
    return samples
