"""A deadline for calls: who waits goes on in time, whatever the call does."""

import multiprocessing
import threading
import time

import pytest
from missions import deadline
from missions.deadline import within

SOON = 5  # seconds


def test_threads_are_used_again_and_one_that_hangs_holds_nobody_up() -> None:
    used = {within(SOON, threading.get_ident) for _ in range(20)}
    assert len(used) < 20  # one that has just answered may not wait again yet
    assert threading.get_ident() not in used
    released, late, hangs = threading.Event(), list[bool](), list[int]()

    def hang() -> bool:
        hangs.append(threading.get_ident())
        return released.wait(SOON)

    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.1 seconds"):
        within(0.1, hang, late.append)
    assert within(SOON, threading.get_ident) not in hangs
    assert time.monotonic() - began < SOON / 2
    idle = len(deadline._idle)
    released.set()
    while len(deadline._idle) == idle:  # it waits for work again, too
        assert time.monotonic() - began < SOON
    assert late == [True]


def test_what_a_call_raises_is_raised() -> None:
    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        within(SOON, fail)
    assert within(SOON, lambda: 1) == 1


def test_a_process_that_was_forked_starts_threads_of_its_own() -> None:
    within(SOON, threading.get_ident)
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as forked:
        assert forked.apply_async(_in_time).get(2 * SOON)


def _in_time() -> bool:
    return within(SOON, lambda: True)
