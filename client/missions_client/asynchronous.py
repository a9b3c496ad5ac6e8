"""The client for asyncio. synchronous.py is made from this file: `python -m local.unasync`."""

from __future__ import annotations

import builtins
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Unpack
from uuid import uuid4

from missions_client import tasks, text, transport
from missions_client.errors import (
    ApiError,
    Broken,
    Busy,
    Conflict,
    MissionCancelled,
    MissionsError,
    NotFound,
    Removed,
    Unreachable,
)
from missions_client.models import (
    Cancelled,
    CancelledPage,
    Entry,
    Health,
    History,
    Level,
    LogEntry,
    LoggedBatch,
    LogPage,
    Mission,
    MissionPage,
    Moment,
    NewMission,
    Order,
    SignOfLife,
    Stats,
    StatsOverview,
    Status,
)
from missions_client.transport import Call, Retry, address, get, given, path_of, post

if TYPE_CHECKING:
    import httpx

SILENCE = 300  # seconds without a sign of life after which a mission of `mission()` counts as failed
LONGEST_BEAT = 20.0  # seconds between two heartbeats at most, so that a cancellation is soon known
ROOT = "/api/missions"

_log = logging.getLogger("missions_client")


class AsyncClient:
    """The API of Missions.

    `url` is that of the API without `/api/missions`; None means MISSIONS_URL, or else http://127.0.0.1:3000. `token`
    is a token, or a function that gives one and must not wait long; None means MISSIONS_TOKEN. `auth` takes its place.
    A URL of API Gateway without either is signed with the AWS credentials that botocore finds. `timeout` is how many
    seconds one attempt may wait for the next part of an answer.

    Every write has an Idempotency-Key, so a repeat takes effect once. Pass `key` to repeat a write after a restart.
    All methods raise Unreachable, or an ApiError.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | Callable[[], str] | None = None,
        auth: httpx.Auth | None = None,
        retry: Retry = Retry(),  # noqa: B008  it is frozen
        timeout: float = 35.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        import httpx  # slow to load, so not before it is needed

        from missions_client.auth import auth_for

        self.url = address(url)
        self._retry = retry
        self._http = httpx.AsyncClient(
            auth=auth or auth_for(self.url, token),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            transport=transport,
            verify=self.url.startswith("https:"),  # an SSL context takes as long as many requests
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def create(self, name: str, *, key: str | None = None, **members: Unpack[NewMission]) -> Mission:
        """Create a mission. If its id exists with the same content, the answer is that mission."""
        return transport.model(Mission, await self._send(post(ROOT, given(name=name, **members), key)))

    async def get(self, mission_id: str) -> Mission:
        """One mission."""
        return transport.model(Mission, await self._send(get(path_of(mission_id))))

    async def list(
        self,
        *,
        status: Sequence[Status] = (),
        tags: Sequence[str] = (),
        name: str | None = None,
        overdue: bool = False,
        created_after: Moment | None = None,
        created_before: Moment | None = None,
        order: Order | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Mission]:
        """All missions that match, page by page while they are asked for; `limit` of them at most."""
        left = limit
        cursor = None
        while left is None or left > 0:
            page = await self.page(
                status=status, tags=tags, name=name, overdue=overdue, created_after=created_after,
                created_before=created_before, order=order, cursor=cursor, limit=_at_most(left),
            )  # fmt: skip
            for each in page.missions:
                yield each
            left = None if left is None else left - len(page.missions)
            if page.next_cursor is None:
                return
            cursor = transport.onward(cursor, page.next_cursor)

    async def page(
        self,
        *,
        status: Sequence[Status] = (),
        tags: Sequence[str] = (),
        name: str | None = None,
        overdue: bool = False,
        created_after: Moment | None = None,
        created_before: Moment | None = None,
        order: Order | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> MissionPage:
        """One page of missions, of at most `limit` (1 to 200). It may be empty although others follow."""
        call = get(
            ROOT, status=_several(status), tag=_several(tags), name=name, overdue=overdue, created_after=created_after,
            created_before=created_before, order=order, cursor=cursor, limit=limit,
        )  # fmt: skip
        return transport.model(MissionPage, await self._send(call))

    async def claim(
        self, *, tags: Sequence[str] = (), lease: int | None = None, worker: str | None = None, key: str | None = None
    ) -> Mission | None:
        """Take a mission that waits and has all these tags; None if there is none. `lease` is in seconds."""
        body = given(tags=_several(tags), lease=lease, worker=worker)
        answer = await self._send(post(f"{ROOT}/claim", body, key))
        return None if answer is None else transport.model(Mission, answer)

    async def heartbeat(self, mission_id: str, *, progress: float | None = None, note: str | None = None) -> SignOfLife:
        """Show a sign of life, and how far the mission is (0 to 1). Look at the `status` of the answer."""
        return await self._heartbeat(mission_id, given(progress=progress, note=note), self._retry)

    async def set_status(
        self,
        mission_id: str,
        status: Status,
        *,
        reason: str | None = None,
        if_match: int | None = None,
        key: str | None = None,
    ) -> Mission:
        """Change the status; with `if_match` only if the mission has this version."""
        body = given(status=status, reason=reason)
        return transport.model(Mission, await self._send(post(path_of(mission_id, "status"), body, key, if_match)))

    async def start(
        self, mission_id: str, *, reason: str | None = None, if_match: int | None = None, key: str | None = None
    ) -> Mission:
        """Make it RUNNING."""
        return await self.set_status(mission_id, "RUNNING", reason=reason, if_match=if_match, key=key)

    async def complete(
        self, mission_id: str, *, reason: str | None = None, if_match: int | None = None, key: str | None = None
    ) -> Mission:
        """Make it COMPLETED."""
        return await self.set_status(mission_id, "COMPLETED", reason=reason, if_match=if_match, key=key)

    async def fail(
        self, mission_id: str, *, reason: str | None = None, if_match: int | None = None, key: str | None = None
    ) -> Mission:
        """Make it FAILED."""
        return await self.set_status(mission_id, "FAILED", reason=reason, if_match=if_match, key=key)

    async def cancel(
        self, mission_id: str, *, reason: str | None = None, if_match: int | None = None, key: str | None = None
    ) -> Mission:
        """Make it CANCELLED."""
        return await self.set_status(mission_id, "CANCELLED", reason=reason, if_match=if_match, key=key)

    async def retry(self, mission_id: str, *, key: str | None = None) -> Mission:
        """Make the next attempt of a mission that is FAILED or CANCELLED, and get it."""
        return transport.model(Mission, await self._send(post(path_of(mission_id, "retry"), None, key)))

    async def cancel_many(
        self,
        *,
        ids: Iterable[str] | None = None,
        filter: Mapping[str, Any] | None = None,
        reason: str | None = None,
        key: str | None = None,
    ) -> AsyncIterator[Cancelled]:
        """Cancel these missions, or all that match the filter, and say of each what became of it.

        Any number, in as many requests as that takes. They are sent while the answers are asked for.
        """
        known = None if ids is None else builtins.list(ids)
        if known == []:
            return
        cursor = None
        for each in transport.keys(key):
            if known is not None:
                body = given(ids=known[: transport.IN_ONE_REQUEST], reason=reason)
                known = known[transport.IN_ONE_REQUEST :]
            else:
                body = given(filter=filter, cursor=cursor, reason=reason)
            page = await self._cancel(post(f"{ROOT}/cancel", body, each))
            for result in page.results:
                yield result
            if not known and page.next_cursor is None:
                return
            cursor = page.next_cursor and transport.onward(cursor, page.next_cursor)

    async def delete(self, mission_id: str) -> None:
        """Remove a mission that is finished, with its log."""
        await self._send(Call("DELETE", path_of(mission_id)))

    async def log(
        self,
        mission_id: str,
        message: str,
        level: Level = "info",
        data: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
    ) -> LogEntry:
        """Append to the log. A message that is too long becomes several entries; the first one is the answer."""
        return (await self.log_many(mission_id, [Entry(message, level, data or {})], key=key))[0]

    async def log_many(
        self, mission_id: str, entries: Iterable[tuple[Level, str] | Entry], *, key: str | None = None
    ) -> builtins.list[LogEntry]:
        """Append any number of entries, in as many requests as that takes (100 entries and 256 KiB each).

        Messages are changed as text.py says, so there may be more entries in the answer. If a request fails, those
        before it took effect: repeat all with the same `key`, and each is appended once.
        """
        path = path_of(mission_id, "log")
        made = (each if isinstance(each, Entry) else Entry(each[1], each[0]) for each in entries)
        appended: builtins.list[LogEntry] = []
        for batch, each in zip(transport.batches(made), transport.keys(key), strict=False):
            appended += transport.model(LoggedBatch, await self._send(post(path, batch, each))).entries
        return appended

    async def read_log(
        self, mission_id: str, *, levels: Sequence[Level] = (), order: Order | None = None, limit: int | None = None
    ) -> AsyncIterator[LogEntry]:
        """The log, page by page while it is asked for; `limit` entries at most, the oldest first by default."""
        left = limit
        cursor = None
        while left is None or left > 0:
            page = await self.log_page(mission_id, levels=levels, order=order, cursor=cursor, limit=_at_most(left))
            for each in page.log:
                yield each
            left = None if left is None else left - len(page.log)
            if page.next_cursor is None:
                return
            cursor = transport.onward(cursor, page.next_cursor)

    async def log_page(
        self,
        mission_id: str,
        *,
        levels: Sequence[Level] = (),
        order: Order | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> LogPage:
        """One page of the log, of at most `limit` entries (1 to 200)."""
        call = get(path_of(mission_id, "log"), level=_several(levels), order=order, cursor=cursor, limit=limit)
        return transport.model(LogPage, await self._send(call))

    async def follow(
        self,
        mission_id: str,
        *,
        levels: Sequence[Level] = (),
        since: Literal["start", "now"] = "start",
        every: float = 1.0,
    ) -> AsyncIterator[LogEntry]:
        """The log as it grows, asked for `every` so many seconds. Ends when the mission has ended and all is read.

        Raises Removed if the mission is removed meanwhile.
        """
        cursor = None
        if since == "now":
            cursor = (await self.log_page(mission_id, order="newest", limit=1)).poll_cursor
        while True:
            ended = (await self.get(mission_id)).finished  # asked before the log, so that its last entry is not missed
            more = True
            while more:
                page = await self.log_page(
                    mission_id, levels=levels, order="oldest", cursor=cursor, limit=transport.PAGE
                )
                for each in page.log:
                    yield each
                more = page.next_cursor is not None
                cursor = page.next_cursor or page.poll_cursor or cursor
            if ended:
                return
            await tasks.sleep(every)

    async def stats(self) -> Stats:
        """The statistics."""
        return transport.model(StatsOverview, await self._send(get(f"{ROOT}/stats/overview"))).stats

    async def history(
        self, *, from_: Moment | None = None, to: Moment | None = None, step: Literal["hour", "day"] = "hour"
    ) -> History:
        """What happened by hour or day. Without `from_` a day before the end, without `to` until now."""
        call = get(f"{ROOT}/stats/history", from_=from_, to=to, step=step)
        return transport.model(History, await self._send(call))

    async def health(self) -> Health:
        """Whether the API and its store answer. Raises Busy if the store does not."""
        return transport.model(Health, await self._send(get(f"{ROOT}/health")))

    def mission(self, name: str, *, key: str | None = None, **members: Unpack[NewMission]) -> AsyncWork:
        """Do the body of `async with client.mission("Nightly build") as mission:` as a mission.

        It is created and started. Without a `heartbeat_timeout` it has 300 seconds, so that it fails if this program
        is killed. See AsyncWork for its end. Raises Conflict if a mission with this id exists and is not PENDING, and
        StaleVersion if a worker claimed it before it was started.
        """
        members = {"heartbeat_timeout": SILENCE, **members}
        if key is None and "id" not in members:  # with one of them, it must be the same when it is repeated
            members.setdefault("not_before", time.time() + SILENCE)  # no worker gets it before it is started
        return AsyncWork(self, lambda: self._begin(name, key, members), forgiving=False)

    async def work(
        self,
        *,
        tags: Sequence[str] = (),
        lease: int = 60,
        worker: str | None = None,
        idle: float = 2.0,
        until: Callable[[], bool] | None = None,
    ) -> AsyncIterator[AsyncWork]:
        """Claim one mission after the other: `async for work in client.work(): async with work: ...`.

        Without the `with`, which shows signs of life and tells the end, it raises RuntimeError. It waits `idle`
        seconds if no mission waits, and ends when `until` gives True. An outage of the API is waited for, but the
        first claim must be answered. If the body of the `with` raises, the mission is FAILED, and the error goes on:
        catch it around the `with` to go on with the next mission.
        """
        answered, failed = False, False
        key, since = str(uuid4()), time.monotonic()
        while not (until and until()):
            try:
                mission = await self.claim(tags=tags, lease=lease, worker=worker, key=key)
                # An answer that comes late is that of the first attempt, and its lease may have ended since
                if mission and (failed or time.monotonic() - since > lease / 3):
                    mission = mission if (await self.get(mission.id)).status == "RUNNING" else None
            except (Unreachable, Busy, Broken) as error:
                if not answered or (isinstance(error, Broken) and error.code):
                    raise
                _log.warning("No mission could be claimed; this is tried again. %s", error)
                failed = True
                await tasks.sleep(idle)
                continue  # with the same key: the API may have given a mission, and its answer was lost
            except (NotFound, Removed):
                mission = None  # it was claimed, and removed since
            answered, failed = True, False
            key, since = str(uuid4()), time.monotonic()
            if mission is None:
                await tasks.sleep(idle)
                since = time.monotonic()
                continue
            work = AsyncWork(self, mission, forgiving=True)
            yield work
            if not work.entered:
                raise RuntimeError(f"Mission '{mission.id}' is claimed, but not worked on: `with work:` is missing.")
            since = time.monotonic()

    async def _begin(self, name: str, key: str | None, members: NewMission) -> Mission:
        created = await self.create(name, key=key, **members)
        if created.status != "PENDING":
            told = f"Mission '{created.id}' exists already and is {created.status}. Choose another id."
            raise Conflict(409, {"code": "mission_exists", "detail": told})
        return await self.start(created.id, if_match=created.version)

    async def _heartbeat(
        self, mission_id: str, body: dict[str, Any], retry: Retry, timeout: float | None = None
    ) -> SignOfLife:
        call = transport.with_body(Call("POST", path_of(mission_id, "heartbeat")), body or None)
        return transport.model(SignOfLife, await self._send(call, retry, timeout))

    async def _cancel(self, call: Call) -> CancelledPage:
        """One request, which is repeated while the outcome of a mission is unknown."""
        attempt = 1
        while True:
            page = transport.model(CancelledPage, await self._send(call))
            wait = self._retry.wait(attempt, Busy(503, {}))
            if wait is None or all(each.outcome != "unknown" for each in page.results):
                return page
            await tasks.sleep(wait)
            attempt += 1

    async def _send(self, call: Call, retry: Retry | None = None, timeout: float | None = None) -> Any:
        """The parsed body of the answer, None without one."""
        import httpx

        attempt = 1
        while True:
            try:
                response = await self._http.request(
                    call.method,
                    self.url + call.path,
                    content=call.content,
                    headers=call.headers,
                    timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout,
                )
                return transport.answer(response.status_code, response.headers, response.content)
            except httpx.RequestError as error:
                failure: MissionsError = transport.unreachable(self.url, error)
            except (ApiError, Unreachable) as error:
                failure = error
            wait = (retry or self._retry).wait(attempt, failure)
            if wait is None:
                raise failure
            await tasks.sleep(wait)
            attempt += 1


class AsyncWork:
    """A mission that this program works on, inside of `async with`: signs of life are shown in the background.

    How the body ends tells how the mission ends:

    - It ends: COMPLETED.
    - It raises: FAILED, with the error as the reason; so is `sys.exit(1)`, while `sys.exit(0)` is COMPLETED.
    - Ctrl-C, or its task is cancelled: CANCELLED.

    The error of the body always goes on. If the mission was ended by somebody else, nothing is changed: `cancelled` is
    True then, which is also so after the `with`. That is no error, but `log` and `progress` raise MissionCancelled. The
    `with` of `work()` ends on it without an error; that of `mission()` lets it go on.

    If the API does not take the end of the mission, that is raised, or added as a note to the error of the body.
    """

    mission: Mission
    """The mission as it was when it was started or claimed."""

    def __init__(self, client: AsyncClient, begin: Mission | Callable[[], Any], *, forgiving: bool) -> None:
        self._client = client
        self._begin = begin
        self._forgiving = forgiving
        self._done = tasks.Event()
        self._ended: str | None = None  # how somebody else ended it
        self._said: dict[str, Any] = {}  # by progress(): made anew each time, so that threads see old or new
        self._tried = self._sent = self._said
        self._unheard = False  # the last heartbeat had no answer
        self.entered = False
        if isinstance(begin, Mission):
            self.mission = begin

    @property
    def id(self) -> str:
        """The id of the mission."""
        return self.mission.id

    @property
    def cancelled(self) -> bool:
        """Whether somebody else ended the mission, as far as is known."""
        return self._ended is not None

    async def log(self, message: str, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        """Append to the log of the mission. Raises MissionCancelled."""
        self._raise_if_ended()
        try:
            await self._client.log(self.id, message, level, data)
        except (NotFound, Removed) as error:
            self._ended = str(error)
            self._raise_if_ended()

    def progress(self, value: float | None = None, note: str | None = None) -> None:
        """Say how far the mission is (0 to 1), and what it does. Raises MissionCancelled.

        It does not wait: the last value is sent in the background, at most once a second. The note is cut to 200
        characters on one line.
        """
        self._raise_if_ended()
        value = None if value is None else float(value)  # a Decimal, or a number of another library
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"progress is from 0 to 1, not {value}")
        self._said = self._said | given(progress=value, note=text.note(note) if note else None)

    async def __aenter__(self) -> AsyncWork:
        self.entered = True
        if not isinstance(self._begin, Mission):
            self.mission = await self._begin()
        self._beating = tasks.spawn(self._beat)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._done.set()
        await tasks.shielded(self._report, error)
        return self._forgiving and isinstance(error, MissionCancelled) and error.mission_id == self.id

    async def _report(self, error: BaseException | None) -> None:
        await tasks.finish(self._beating)
        status, reason = _outcome(error)
        try:
            if self._ended is None and self._said is not self._sent:
                self._ended = await self._show_life()
            if self._ended is None:
                await self._client.set_status(self.id, status, reason=reason)
        except (Conflict, NotFound, Removed) as refused:
            self._ended = str(refused)
        except MissionsError as failure:
            if error is None:
                raise
            error.add_note(f"Mission '{self.id}' could not be made {status}: {failure}")

    async def _beat(self) -> None:
        every = min((self.mission.heartbeat_timeout or SILENCE) / 3, LONGEST_BEAT)
        due = time.monotonic() + every
        while not await tasks.wait(self._done, min(1.0, every)):
            if time.monotonic() >= due or self._said is not self._tried:
                due = time.monotonic() + every
                ended = await self._show_life()
                due = min(due, time.monotonic() + 1.0) if self._unheard else due
                if not self._done.is_set():  # else it may have seen the end that this program told
                    self._ended = self._ended or ended

    async def _show_life(self) -> str | None:
        """One heartbeat: how the mission was ended, if it was. Without an answer, the next one may get one."""
        said = self._tried = self._said
        try:
            sign = await self._client._heartbeat(self.id, said, Retry(attempts=1), timeout=10.0)
        except (NotFound, Removed) as error:
            return str(error)
        except Exception as error:  # of a function that gives a token, too: the next one may arrive
            _log.info("A heartbeat of mission '%s' failed: %s", self.id, error)
            self._unheard = True
            return None
        self._unheard = False
        self._sent = said
        if sign.status == "RUNNING":
            return None
        return f"it is {sign.status}" + (f" ({sign.reason})" if sign.reason else "")

    def _raise_if_ended(self) -> None:
        if self._ended is not None:
            raise MissionCancelled(self.id, self._ended)


def _outcome(error: BaseException | None) -> tuple[Status, str | None]:
    """How a mission ends whose body ended like this."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "COMPLETED", None
    if isinstance(error, Exception | SystemExit):
        return "FAILED", text.reason(repr(error))
    return "CANCELLED", text.reason(f"interrupted: {error!r}")


def _at_most(left: int | None) -> int:
    return transport.PAGE if left is None else min(left, transport.PAGE)


def _several(values: Sequence[str]) -> builtins.list[str]:
    """A text alone would be taken as its letters."""
    return [values] if isinstance(values, str) else builtins.list(values)
