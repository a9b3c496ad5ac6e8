"""Missions that a program works on: `mission()` and `work()`."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from missions_client import (
    AsyncClient,
    Client,
    Conflict,
    MissionCancelled,
    Retry,
    SignInRefused,
    StaleVersion,
    Unreachable,
    Work,
)

from local.processes import ROOT
from tests.client.api import BUSY, MISSION, Asked, Break, Double, Say, Step, problem
from tests.client.conftest import FAST

RUNNING = MISSION | {"status": "RUNNING", "version": 2}


def statuses(double: Double) -> list[dict[str, Any]]:
    """The changes of status that were asked for."""
    return [each.json for each in double.asked if each.path.endswith("/status")]


def beats(double: Double) -> list[Asked]:
    return [each for each in double.asked if each.path.endswith("/heartbeat")]


def eventually(true: Callable[[], object]) -> None:
    """Wait until this is true, for five seconds at most."""
    until = time.monotonic() + 5
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


class Odd(Exception):
    def __str__(self) -> str:
        return "a\0b\ud800" + "x" * 2000

    __repr__ = __str__


class TestMission:
    def test_a_body_that_ends_completes_it(self, double: Double, impatient: Client) -> None:
        with impatient.mission("Build", tags=["a"]) as mission:
            mission.log("Step 1", "debug", {"n": 1})
        created, started, logged, ended = double.asked
        not_before = created.json["not_before"]
        assert created.json == {"name": "Build", "tags": ["a"], "heartbeat_timeout": 300, "not_before": not_before}
        assert not_before > time.time() + 200  # no worker gets it before it is started
        assert (started.json, started.headers["if-match"]) == ({"status": "RUNNING"}, '"1"')
        assert logged.json == {"entries": [{"level": "debug", "message": "Step 1", "data": {"n": 1}}]}
        assert ended.json == {"status": "COMPLETED"}
        assert not mission.cancelled

    @pytest.mark.parametrize(
        ("error", "status", "reason"),
        [
            (ValueError("disk full"), "FAILED", "ValueError('disk full')"),
            (Odd(), "FAILED", ("a␀b�" + "x" * 2000)[:1000]),
            (KeyboardInterrupt(), "CANCELLED", "interrupted: KeyboardInterrupt()"),
            (SystemExit(3), "FAILED", "SystemExit(3)"),
            (SystemExit(0), "COMPLETED", None),
            (SystemExit(), "COMPLETED", None),
        ],
        ids=repr,
    )
    def test_the_error_of_a_body_tells_how_it_ended_and_goes_on(
        self, error: BaseException, status: str, reason: str | None, double: Double, impatient: Client
    ) -> None:
        with pytest.raises(type(error)) as raised, impatient.mission("Build"):
            raise error
        assert raised.value is error
        assert statuses(double)[-1] == {"status": status} | ({"reason": reason} if reason else {})

    def test_heartbeats_tell_the_last_progress_at_most_once_a_second(self, double: Double, impatient: Client) -> None:
        with impatient.mission("Build") as mission:
            for n in range(100):
                mission.progress(n / 100, f"step\n{n}")
            eventually(lambda: beats(double))
            mission.progress(1.0)
        assert [each.json for each in beats(double)] == [
            {"progress": 0.99, "note": "step 99"},
            {"progress": 1.0, "note": "step 99"},
        ]
        assert [each.path.rpartition("/")[2] for each in double.asked][-2:] == ["heartbeat", "status"]

    @pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
    def test_a_progress_that_is_none_is_refused(self, value: float, impatient: Client) -> None:
        with pytest.raises(ValueError, match="from 0 to 1"), impatient.mission("Build") as mission:
            mission.progress(value)

    @pytest.mark.parametrize(
        "step",
        [
            Say(200, {"id": "job", "status": "CANCELLED", "reason": "enough", "version": 3, "worker": None,
                      "active_at": 2.0, "next_before": None}),
            problem(404, "mission_not_found", "enough"),
            problem(410, "mission_removed", "enough"),
        ],
        ids=["cancelled", "not found", "removed"],
    )  # fmt: skip
    def test_a_heartbeat_tells_that_somebody_else_ended_it(self, step: Say, double: Double, impatient: Client) -> None:
        double.rule = lambda asked: step if asked.path.endswith("/heartbeat") else None
        with impatient.mission("Build", heartbeat_timeout=1) as mission:
            eventually(lambda: mission.cancelled)
            with pytest.raises(MissionCancelled, match=r"'job' was ended by somebody else: .*enough"):
                mission.progress(0.5)
            with pytest.raises(MissionCancelled):
                mission.log("in vain")
        with pytest.raises(MissionCancelled), impatient.mission("Build", heartbeat_timeout=1) as another:
            self.log_until_ended(another)
        assert {each["status"] for each in statuses(double)} == {"RUNNING"}

    def log_until_ended(self, mission: Work) -> None:
        eventually(lambda: mission.cancelled)
        mission.log("in vain")

    def test_a_404_of_a_proxy_ends_nothing(self, double: Double, impatient: Client) -> None:
        double.rule = lambda asked: Say(404, {"message": "No"}) if asked.path.endswith("/heartbeat") else None
        with impatient.mission("Build", heartbeat_timeout=1) as mission:
            eventually(lambda: len(beats(double)) >= 2)
        assert not mission.cancelled
        assert statuses(double)[-1]["status"] == "COMPLETED"

    def test_heartbeats_go_on_after_an_outage(self, double: Double, impatient: Client) -> None:
        outage: Iterator[Step] = iter([Break(), BUSY, Say(401, {"message": "Unauthorized"})])
        double.rule = lambda asked: next(outage, None) if asked.path.endswith("/heartbeat") else None
        with impatient.mission("Build", heartbeat_timeout=1) as mission:
            eventually(lambda: len(beats(double)) >= 5)
        assert not mission.cancelled

    def test_an_end_that_came_first_is_no_error(self, double: Double, impatient: Client) -> None:
        refused = problem(409, "transition_refused", "The mission is FAILED and cannot become COMPLETED.")
        double.will(None, None, refused, None, None, refused)
        with impatient.mission("Build") as mission:
            pass
        assert mission.cancelled
        with pytest.raises(ZeroDivisionError), impatient.mission("Build"):
            _ = 1 / 0

    def test_an_end_that_cannot_be_told_is_an_error_or_a_note(self, double: Double, impatient: Client) -> None:
        forbidden = Say(403, {"message": "Forbidden"})
        double.will(None, None, forbidden, None, None, forbidden)
        with pytest.raises(SignInRefused), impatient.mission("Build"):
            pass
        with pytest.raises(ZeroDivisionError) as raised, impatient.mission("Build"):
            _ = 1 / 0
        assert raised.value.__notes__ == [
            "Mission 'job' could not be made FAILED: The API refused the sign-in (403: Forbidden)."
        ]

    def test_a_heartbeat_that_sees_the_own_end_is_no_cancellation(self, double: Double, impatient: Client) -> None:
        def late(asked: Asked) -> None:
            if asked.path.endswith("/heartbeat"):
                time.sleep(1.5)  # longer than the end waits for it

        double.rule = late
        with impatient.mission("Build", heartbeat_timeout=1) as mission:
            eventually(lambda: beats(double))
        time.sleep(0.8)
        assert double.mission["status"] == "COMPLETED"
        assert not mission.cancelled

    def test_an_id_that_is_in_work_is_refused(self, client: Client, tag: str) -> None:
        job = f"job-{tag[5:]}"
        with client.mission("Build", id=job):
            with pytest.raises(Conflict, match="exists already and is RUNNING"), client.mission("Build", id=job):
                pytest.fail("two programs work on it")
            assert client.get(job).status == "RUNNING"
        assert client.get(job).status == "COMPLETED"

    def test_a_worker_that_claimed_it_first_keeps_it(self, double: Double, impatient: Client) -> None:
        double.will(Say(201, MISSION), problem(412, "stale_version"))
        with pytest.raises(StaleVersion), impatient.mission("Build"):
            pytest.fail("two programs work on it")
        assert beats(double) == []

    def test_real_missions_end_as_the_api_says(self, client: Client, tag: str) -> None:
        with client.mission("Good", tags=[tag]) as good:
            good.log("x" * 20_000)
            good.progress(0.25, "a quarter")
        with pytest.raises(ZeroDivisionError), client.mission("Bad", tags=[tag]) as bad:
            _ = 1 / 0
        with client.mission("Ugly", tags=[tag], heartbeat_timeout=2) as ugly:
            client.cancel(ugly.id, reason="superseded")
            eventually(lambda: ugly.cancelled)
        told = [(each.status, each.reason, each.progress) for each in map(client.get, (good.id, bad.id, ugly.id))]
        assert told == [
            ("COMPLETED", None, 0.25),
            ("FAILED", "ZeroDivisionError('division by zero')", None),
            ("CANCELLED", "superseded", None),
        ]


class TestWork:
    def test_it_waits_for_a_mission_and_completes_it(self, double: Double, impatient: Client) -> None:
        double.will(Say(204), Say(204), Say(200, RUNNING))
        for work in impatient.work(tags=["gpu"], lease=30, worker="me", idle=0.01):
            with work:
                assert work.mission.status == "RUNNING"
            break
        assert [each.json for each in double.asked[:3]] == [{"tags": ["gpu"], "lease": 30, "worker": "me"}] * 3
        assert len({each.key for each in double.asked[:3]}) == 3
        assert statuses(double) == [{"status": "COMPLETED"}]

    def test_it_ends_when_it_is_told(self, impatient: Client) -> None:
        answers = iter([False, False, True])
        assert list(impatient.work(idle=0.01, until=lambda: next(answers))) == []

    def test_a_body_that_fails_lets_its_error_go_on(self, double: Double, impatient: Client) -> None:
        double.rule = lambda asked: Say(200, RUNNING) if asked.path.endswith("/claim") else None
        for work in impatient.work(until=lambda: len(statuses(double)) == 2):
            with pytest.raises(ZeroDivisionError), work:
                _ = 1 / 0
        assert [each["status"] for each in statuses(double)] == ["FAILED", "FAILED"]

    def test_a_cancelled_mission_leads_to_the_next_one(self, double: Double, impatient: Client) -> None:
        double.rule = lambda asked: (
            Say(200, RUNNING)
            if asked.path.endswith("/claim")
            else problem(410, "mission_removed")
            if asked.path.endswith("/log")
            else None
        )
        for work in impatient.work(until=lambda: len(double.asked) == 4):
            with work:
                work.log("in vain")
        assert statuses(double) == []

    def test_a_loop_without_its_with_is_an_error(self, double: Double, impatient: Client) -> None:
        double.will(Say(200, RUNNING))
        with pytest.raises(RuntimeError, match="`with work:` is missing"):
            for _ in impatient.work():
                pass

    def test_an_outage_is_waited_for_with_the_same_key(self, double: Double) -> None:
        double.will(Say(204), *[Break()] * 3, BUSY, Say(200, RUNNING), Say(200, RUNNING))
        with Client(double.url, retry=Retry(attempts=1)) as client:
            work = next(client.work(idle=0.01))
        assert work.id == "job"
        first, *others = [each.key for each in double.asked if each.path.endswith("/claim")]
        assert others == [others[0]] * 5
        assert others[0] != first

    def test_a_late_answer_to_a_claim_is_checked(self, double: Double) -> None:
        double.will(Say(204), BUSY, Say(200, RUNNING), Say(200, RUNNING | {"status": "FAILED"}), Say(200, RUNNING))
        with Client(double.url, retry=Retry(attempts=1)) as client:
            next(client.work(idle=0.01))
        assert [each.path.rpartition("/")[2] for each in double.asked] == ["claim", "claim", "claim", "job", "claim"]

    def test_a_mission_that_was_claimed_and_removed_meanwhile_is_passed_over(self, double: Double) -> None:
        double.will(Say(204), BUSY, problem(410, "mission_removed"), Say(200, RUNNING))
        with Client(double.url, retry=Retry(attempts=1)) as client:
            assert next(client.work(idle=0.01)).id == "job"

    def test_a_late_answer_that_cannot_be_checked_is_asked_for_again(self, double: Double) -> None:
        double.will(Say(204), BUSY, Say(200, RUNNING), BUSY, Say(200, RUNNING), Say(200, RUNNING))
        with Client(double.url, retry=Retry(attempts=1)) as client:
            assert next(client.work(idle=0.01)).id == "job"
        keys = [each.key for each in double.asked if each.path.endswith("/claim")][1:]
        assert len(keys) == 3
        assert len(set(keys)) == 1

    def test_heartbeats_go_on_after_any_error_and_come_soon_after_one(self, double: Double) -> None:
        given: list[int] = []

        def token() -> str:
            given.append(1)
            if len(given) == 3:  # the first heartbeat, after the creation and the start
                raise OSError("the token server is away")
            return "token"

        with Client(double.url, token=token) as client:
            begin = time.monotonic()
            with client.mission("Job", heartbeat_timeout=6):
                eventually(lambda: beats(double))
                assert 2.5 < time.monotonic() - begin < 4.5  # due after 2 seconds, and again a second later

    def test_the_first_claim_must_be_answered(self, double: Double) -> None:
        double.will(Break())
        with Client(double.url, retry=Retry(attempts=1)) as client, pytest.raises(Unreachable):
            next(client.work())

    def test_workers_share_missions_and_none_is_worked_on_twice(self, client: Client, tag: str) -> None:
        made = {client.create(f"Job {n}", tags=[tag]).id for n in range(24)}
        seen: Counter[str] = Counter()
        begun = threading.Barrier(3)

        def worker(name: str) -> None:
            with Client(client.url) as own:
                begun.wait(5)
                until = time.monotonic() + 20
                for work in own.work(
                    tags=[tag], worker=name, idle=0.1, until=lambda: len(seen) == 24 or time.monotonic() > until
                ):
                    with work:
                        seen[work.id] += 1
                        assert work.mission.worker == name

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(worker, ["one", "two", "three"]))
        assert seen == Counter(made)
        assert {each.status for each in client.list(tags=[tag])} == {"COMPLETED"}

    def test_the_mission_of_a_worker_that_was_killed_shows_no_more_life(self, client: Client, tag: str) -> None:
        mission = client.create("Job", tags=[tag])
        program = (
            "import sys, time\nfrom missions_client import Client\n"
            f"for work in Client({client.url!r}).work(tags=[{tag!r}], lease=3):\n"
            "    with work:\n        print('working', flush=True)\n        time.sleep(60)\n"
        )
        command = [sys.executable, "-c", program]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "client")}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"working\n"
            begun = client.get(mission.id).active_at
            eventually(lambda: client.get(mission.id).active_at > begun)
            process.send_signal(signal.SIGKILL)
        killed = client.get(mission.id)
        assert (killed.status, killed.heartbeat_timeout) == ("RUNNING", 3)
        time.sleep(1.5)
        assert client.get(mission.id).active_at == killed.active_at
        eventually(lambda: [each.id for each in client.list(overdue=True) if each.id == mission.id])

    def test_ctrl_c_cancels_the_mission_of_a_worker(self, client: Client, tag: str) -> None:
        mission = client.create("Job", tags=[tag])
        program = (
            "import time\nfrom missions_client import Client\n"
            f"for work in Client({client.url!r}).work(tags=[{tag!r}]):\n"
            "    with work:\n        print('working', flush=True)\n        time.sleep(60)\n"
        )
        environment = os.environ | {"PYTHONPATH": str(ROOT / "client")}
        with subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"working\n"
            process.send_signal(signal.SIGINT)
            process.wait(10)
        ended = client.get(mission.id)
        assert (ended.status, ended.reason) == ("CANCELLED", "interrupted: KeyboardInterrupt()")


class TestAsync:
    def run(self, double: Double, body: Callable[[AsyncClient], Any]) -> None:
        async def main() -> None:
            async with AsyncClient(double.url, retry=FAST) as client:
                await body(client)

        asyncio.run(main())

    def test_a_mission_has_heartbeats_and_an_end(self, double: Double) -> None:
        async def body(client: AsyncClient) -> None:
            async with client.mission("Build", heartbeat_timeout=1) as mission:
                await mission.log("hello")
                mission.progress(0.5)
                await asyncio.sleep(0.8)
            assert len(asyncio.all_tasks()) == 1

        self.run(double, body)
        assert len(beats(double)) >= 2
        assert statuses(double)[-1] == {"status": "COMPLETED"}

    def test_a_task_that_is_cancelled_tells_it(self, double: Double) -> None:
        async def body(client: AsyncClient) -> None:
            async def job() -> None:
                async with client.mission("Build"):
                    await asyncio.sleep(60)

            task = asyncio.create_task(job())
            while not statuses(double):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(asyncio.all_tasks()) == 1

        self.run(double, body)
        assert statuses(double)[-1] == {"status": "CANCELLED", "reason": "interrupted: CancelledError()"}

    def test_a_second_cancellation_does_not_keep_the_end_from_being_told(self, double: Double) -> None:
        async def body(client: AsyncClient) -> None:
            async def job() -> None:
                async with client.mission("Build"):
                    double.will(Say(503, {"code": "store_unavailable"}, {"Retry-After": "1"}))

            task = asyncio.create_task(job())
            while len(statuses(double)) < 2:
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        self.run(double, body)
        assert double.mission["status"] == "COMPLETED"

    def test_work_is_done_one_after_the_other(self, double: Double) -> None:
        async def body(client: AsyncClient) -> None:
            double.will(Say(204), Say(200, RUNNING))
            async for work in client.work(idle=0.01, until=lambda: bool(statuses(double))):
                async with work:
                    await work.log("hello")

        self.run(double, body)
        assert statuses(double) == [{"status": "COMPLETED"}]
