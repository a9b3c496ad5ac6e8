"""A deadline for calls that have none, or one for each of their steps."""

import os
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")

_Calls = SimpleQueue[Callable[[], None]]
_idle: list[_Calls] = []  # of threads without work: to start one costs more than to wake one up
os.register_at_fork(after_in_child=_idle.clear)  # a process that is forked has none of these threads


def within(seconds: float, call: Callable[[], T], discard: Callable[[T], Any] = lambda _: None) -> T:
    """What the call gives or raises. Raises TimeoutError when that takes longer.

    The call then goes on in its thread, and `discard` gets what comes of it.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            value = call()
        except Exception as error:
            with suppress(InvalidStateError):
                outcome.set_exception(error)
            return
        try:
            outcome.set_result(value)
        except InvalidStateError:  # nobody waits any more
            discard(value)

    try:
        calls = _idle.pop()
    except IndexError:
        calls = SimpleQueue()
        Thread(target=_work, args=(calls,), daemon=True).start()
    calls.put(run)
    with suppress(TimeoutError):
        outcome.exception(seconds)
    if outcome.cancel():
        raise TimeoutError(f"no answer within {seconds:.1f} seconds")
    return outcome.result()


def _work(calls: _Calls) -> None:
    while True:
        calls.get()()
        _idle.append(calls)
