"""A deadline for calls that have none, or one for each of their steps."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


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

    threading.Thread(target=run, daemon=True).start()
    wait([outcome], seconds)
    if outcome.cancel():
        raise TimeoutError(f"no answer within {seconds:.1f} seconds")
    return outcome.result()
