"""Cancel many missions: by their ids, or the oldest that match a filter. Each is cancelled by itself."""

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from missions import runtime, service
from missions.domain.errors import MissionsError, StoreUnavailable, TransitionRefused
from missions.domain.events import OutboxEntry
from missions.domain.fields import compact_json
from missions.domain.models import Cancel, Cancelled, CancelledPage, MissionQuery, MissionStatus
from missions.domain.writes import Found, OneChange, Write

TOGETHER = 100  # missions that are cancelled together
SEARCH = 1.0  # seconds that are taken to find them; the cursor goes on


def cancel_missions(cancel: Cancel, write: Write | None = None) -> CancelledPage:
    """Cancel up to 100 missions, each by itself; tells what became of each.

    A repeat with the same key is about the same missions, and does what was left.
    Events: those of `service.update_status`. Raises KeyReused.
    """
    write = write or Write()
    found, sources = _to_cancel(cancel, write)
    # Each has a token of its own, made from the request's, so that a repeat does to none what it did before. A caller's
    # own key has no line break.
    done = runtime.current.store.change_each(
        [
            OneChange(
                replace(write, attempt=f"{write.attempt}/{each}", key=write.key and f"{write.key}\n{each}"),
                each,
                service.change(MissionStatus.CANCELLED, cancel.reason, write),
                sources=sources,
            )
            for each in found.ids
        ]
    )
    made: list[OutboxEntry] = []
    results = []
    for mission_id, came in zip(found.ids, done, strict=True):
        if isinstance(came, StoreUnavailable):
            results.append(Cancelled(id=mission_id, outcome="unknown", detail=came.detail))
        elif isinstance(came, TransitionRefused) and sources:
            now = came.extra["current_status"]
            results.append(Cancelled(id=mission_id, outcome="refused", detail=f"It became {now} meanwhile."))
        elif isinstance(came, MissionsError):
            results.append(Cancelled(id=mission_id, outcome="refused", detail=came.detail))
        elif came:
            result, entries = came
            made += entries
            outcome: Any = "cancelled" if result.outcome == "changed" else "unchanged"
            results.append(Cancelled(id=mission_id, outcome=outcome))
    runtime.current.publish(made)
    return CancelledPage(results=results, next_cursor=found.cursor)


def _to_cancel(cancel: Cancel, write: Write) -> tuple[Found, Collection[MissionStatus] | None]:
    """The missions to cancel, and from which statuses; the same ones for each run of a request."""
    store, asked = runtime.current.store, compact_json(cancel.model_dump(mode="json"))
    if cancel.filter:
        matching = store.recorded(write, asked) or store.recorded(write, asked, _matching(cancel, write.namespace))
        return matching or Found([], None), cancel.filter.status
    found = Found(list(dict.fromkeys(cancel.ids or [])), None)
    # Without a key it is this request, and its ids are the same whenever it runs.
    return (write.key and store.recorded(write, asked, found)) or found, None


def _matching(cancel: Cancel, namespace: str) -> Found:
    """The first missions that match, and where others begin. A page of a list may be short, so it reads several."""
    ids: list[str] = []
    cursor, until = cancel.cursor, time.monotonic() + SEARCH
    chosen = cancel.filter.model_dump() if cancel.filter else {}
    chosen["tag"] = chosen.pop("tags", [])
    while True:
        asked = chosen | {"order": "oldest", "limit": TOGETHER - len(ids), "cursor": cursor}
        page = service.list_missions(namespace, MissionQuery.model_validate(asked))
        ids += [each.id for each in page.missions]
        cursor = page.next_cursor
        if cursor is None or len(ids) == TOGETHER or time.monotonic() > until:
            return Found(ids, cursor)
