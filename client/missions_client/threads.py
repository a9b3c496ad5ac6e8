"""What threads do for the synchronous client. tasks.py does the same for the asynchronous one."""

from collections.abc import Callable
from threading import Event as Event
from threading import Thread
from time import sleep as sleep
from typing import ParamSpec

P = ParamSpec("P")
Background = Thread


def wait(event: Event, seconds: float) -> bool:
    """Wait until the event is set, or so long. Whether it is set."""
    return event.wait(seconds)


def spawn(run: Callable[[], None]) -> Background:
    """Run this in the background. It does not keep the program from ending."""
    thread = Thread(target=run, daemon=True)
    thread.start()
    return thread


def finish(background: Background) -> None:
    """Wait until it has ended, but not long: it may wait for an answer itself, and ends after that."""
    background.join(1.0)


def shielded(run: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run this: a thread is not cancelled."""
    run(*args, **kwargs)
