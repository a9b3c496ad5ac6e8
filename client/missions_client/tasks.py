"""What asyncio does for the asynchronous client. threads.py does the same for the synchronous one."""

import asyncio
from asyncio import Event as Event
from asyncio import sleep as sleep
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ParamSpec

P = ParamSpec("P")
Background = asyncio.Task[None]


async def wait(event: Event, seconds: float) -> bool:
    """Wait until the event is set, or so long. Whether it is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


def spawn(run: Callable[[], Coroutine[Any, Any, None]]) -> Background:
    """Run this in the background."""
    return asyncio.create_task(run())


async def finish(background: Background) -> None:
    """End what runs in the background."""
    background.cancel()
    await asyncio.wait([background])


async def shielded(run: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run this to its end, also if this task is cancelled meanwhile; then end as cancelled."""
    task = asyncio.create_task(run(*args, **kwargs))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise
