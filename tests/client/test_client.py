"""The client: what it sends, when it repeats a request, and what it makes of answers."""

import asyncio
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from missions_client import (
    ApiError,
    AsyncClient,
    Broken,
    Busy,
    CannotSignIn,
    Client,
    Conflict,
    Entry,
    Invalid,
    Mission,
    MissionsError,
    NotFound,
    Removed,
    Retry,
    SignInRefused,
    StaleVersion,
    Unreachable,
)

from local.processes import ROOT, unused_port
from tests.client.api import BUSY, MISSION, Break, Double, Say, Step, Wait, problem
from tests.client.conftest import FAST

HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = b"<!doctype html><title>Welcome to nginx</title>"


class TestLoading:
    def loaded(self, code: str) -> set[str]:
        """The modules that are loaded after this code."""
        program = f"import sys\n{code}\nprint(*sys.modules)"
        environment = os.environ | {"PYTHONPATH": str(ROOT / "client")}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True
        )
        return set(run.stdout.split())

    def test_the_package_alone_loads_none_of_its_modules(self) -> None:
        assert {each for each in self.loaded("import missions_client") if "missions_client" in each} == {
            "missions_client"
        }

    def test_httpx_is_loaded_with_the_first_client_only(self) -> None:
        assert "httpx" not in self.loaded("from missions_client import Client, Retry, Entry, MissionsError")
        assert "httpx" in self.loaded("from missions_client import Client\nClient('http://x')")

    def test_a_client_without_sign_in_loads_neither_asyncio_nor_botocore(self) -> None:
        loaded = self.loaded("from missions_client import Client\nClient('http://x')")
        assert not {"botocore", "missions_client.asynchronous", "missions_client.tasks"} & loaded

    def test_every_name_of_the_package_is_there(self) -> None:
        import missions_client

        assert all(hasattr(missions_client, name) for name in missions_client.__all__)
        assert set(missions_client.__all__) <= set(dir(missions_client))
        with pytest.raises(AttributeError, match="'Nothing'"):
            missions_client.Nothing  # noqa: B018

    def test_no_ssl_context_is_made_for_http(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[Any] = []
        monkeypatch.setattr("ssl.SSLContext.load_verify_locations", lambda *_, **__: made.append(1))
        Client("http://127.0.0.1:1").close()
        assert made == []
        Client("https://127.0.0.1:1").close()
        assert made == [1]


REPEATED: list[Step] = [
    BUSY,
    Say(503, {"message": "Service Unavailable"}),
    Say(429, {"message": "Too Many Requests"}),
    Say(500, {"message": "Internal Server Error"}),
    Say(502, PAGE, HTML),
    Say(504, PAGE, HTML),
    Break(),
    Break(effect=True),
    Say(200, MISSION, cut=True),
    Say(200, b'{"id": "jo'),
    Wait(1.5),
]
REFUSED: list[tuple[Step, type[ApiError]]] = [
    (problem(400, "malformed_json"), Invalid),
    (Say(401, {"message": "Unauthorized"}), SignInRefused),
    (Say(403, {"message": "Forbidden"}), SignInRefused),
    (problem(404, "mission_not_found"), NotFound),
    (Say(405, PAGE, HTML), ApiError),
    (problem(409, "transition_refused"), Conflict),
    (problem(410, "mission_removed"), Removed),
    (problem(412, "stale_version"), StaleVersion),
    (Say(413, {"message": "Request Entity Too Large"}), Invalid),
    (problem(422, "validation_failed"), Invalid),
    (problem(500, "broken_record"), Broken),
    (Say(501, PAGE, HTML), Broken),
    (Say(302, None, {"Location": "https://elsewhere"}), ApiError),
]


class TestRepeats:
    @pytest.mark.parametrize("step", REPEATED, ids=repr)
    @pytest.mark.parametrize(
        "write",
        [
            lambda client: client.create("Job", data={"n": 1}),
            lambda client: client.complete("job", reason="done", if_match=1),
            lambda client: client.log("job", "once"),
            lambda client: client.heartbeat("job"),
            lambda client: client.get("job"),
            lambda client: client.delete("job"),
        ],
        ids=["create", "complete", "log", "heartbeat", "get", "delete"],
    )
    def test_a_request_is_repeated_as_it_was(
        self, step: Step, write: Callable[[Client], Any], double: Double, impatient: Client
    ) -> None:
        double.will(step, step)
        write(impatient)
        sent = [(each.method, each.path, each.key, each.headers.get("if-match")) for each in double.asked]
        assert len(sent) == 3
        assert len(set(sent)) == 1
        assert len({each.body for each in double.asked if each.body is not None}) == 1
        assert len(double.entries) <= 1

    @pytest.mark.parametrize(("step", "error"), REFUSED, ids=repr)
    def test_a_refusal_is_not_repeated(
        self, step: Step, error: type[ApiError], double: Double, impatient: Client
    ) -> None:
        double.will(step)
        with pytest.raises(error) as raised:
            impatient.complete("job")
        assert type(raised.value) is error
        assert len(double.asked) == 1
        assert raised.value.status == step.status  # type: ignore[union-attr]

    def test_it_gives_up_after_its_attempts(self, double: Double, impatient: Client) -> None:
        double.rule = lambda asked: BUSY
        with pytest.raises(Busy, match="The store did not answer") as raised:
            impatient.get("job")
        assert len(double.asked) == 6
        assert (raised.value.code, raised.value.status) == ("store_unavailable", 503)

    def test_no_answer_at_all_names_the_api(self) -> None:
        with (
            Client(f"http://127.0.0.1:{(port := unused_port())}", retry=Retry(2, 0.01)) as client,
            pytest.raises(Unreachable, match=f"http://127.0.0.1:{port} does not answer: .*refused"),
        ):
            client.health()

    def test_a_url_with_a_password_is_refused_and_not_told(self) -> None:
        with pytest.raises(MissionsError, match="no password") as raised:
            Client("http://me:secret@127.0.0.1")
        assert "secret" not in str(raised.value)

    def test_a_page_that_leads_to_itself_is_an_error(self, double: Double, impatient: Client) -> None:
        double.rule = lambda asked: Say(200, {"missions": [], "next_cursor": "same"})
        with pytest.raises(Broken, match="leads to itself"):
            list(impatient.list())

    def test_it_waits_as_long_as_retry_after_says(self, double: Double, impatient: Client) -> None:
        double.will(Say(503, {"code": "store_unavailable"}, {"Retry-After": "1"}))
        begun = time.monotonic()
        impatient.get("job")
        assert 1 <= time.monotonic() - begun < 5

    def test_it_gives_up_when_retry_after_is_too_long(self, double: Double, impatient: Client) -> None:
        double.will(Say(429, {"message": "Too Many Requests"}, {"Retry-After": "3600"}))
        with pytest.raises(Busy) as raised:
            impatient.get("job")
        assert (raised.value.retry_after, len(double.asked)) == (3600, 1)

    def test_waits_grow_at_random_up_to_the_longest(self) -> None:
        retry = Retry(attempts=12)
        for attempt, most in enumerate([0.5, 1, 2, 4, 8, 16, 20, 20], 1):
            waits = [retry.wait(attempt, Unreachable()) or 0 for _ in range(300)]
            assert max(waits) <= most
            assert max(waits) - min(waits) > most * 0.8
        assert retry.wait(12, Unreachable()) is None

    def test_every_claim_has_a_key_of_its_own(self, double: Double, impatient: Client) -> None:
        double.will(BUSY)
        assert impatient.claim() is None
        assert impatient.claim(tags=["gpu"], lease=60, worker="me") is None
        first, again, second = (each.key for each in double.asked)
        assert first == again != second
        assert double.asked[2].json == {"tags": ["gpu"], "lease": 60, "worker": "me"}

    def test_a_key_that_is_given_is_sent(self, double: Double, impatient: Client) -> None:
        impatient.start("job", key="worker-1/job/start")
        assert double.asked[0].key == "worker-1/job/start"

    @pytest.mark.parametrize("key", ["", "x" * 256, "two\nlines", "ü"])
    def test_a_key_that_no_header_can_have_is_refused(self, key: str, impatient: Client) -> None:
        with pytest.raises(MissionsError, match="printable ASCII"):
            impatient.start("job", key=key)


class TestAnswers:
    @pytest.mark.parametrize(
        "step",
        [
            Say(200, PAGE, HTML),
            Say(200, {}),
            Say(200, [1]),
            Say(200, b"null"),
            Say(200, MISSION | {"id": "x"}, {"Content-Type": "text/plain"}),
            Say(404, PAGE, HTML),
            Say(404, {"message": "Not Found"}),
            Say(301, None, {"Location": "https://elsewhere"}),
        ],
        ids=repr,
    )
    def test_what_is_no_answer_of_the_api_is_told_on_one_line(
        self, step: Step, double: Double, impatient: Client
    ) -> None:
        double.will(step)
        with pytest.raises(ApiError, match=r"^The API answered \d+: .+") as raised:
            impatient.get("job")
        assert not isinstance(raised.value, NotFound)
        assert len(double.asked) == 1

    def test_an_error_is_one_line_that_changes_no_terminal(self, double: Double, impatient: Client) -> None:
        double.will(problem(409, "c", "line\n\x1b[31mred " + "x" * 5000))
        with pytest.raises(Conflict, match=r"^line \?\[31mred x+$") as raised:
            impatient.get("job")
        assert len(str(raised.value)) <= 1000

    def test_an_error_has_what_the_api_told(self, double: Double, impatient: Client) -> None:
        double.will(problem(409, "transition_refused", current_status="FAILED", allowed=["CANCELLED"]))
        with pytest.raises(Conflict) as raised:
            impatient.complete("job")
        error = pickle.loads(pickle.dumps(raised.value))
        assert (error.code, error.detail, error.request_id) == ("transition_refused", "No.", "r1")
        assert error.problem["allowed"] == ["CANCELLED"]

    def test_numbers_stay_what_they_are(self, double: Double, impatient: Client) -> None:
        data = {"big": 2**63 - 1, "small": -(2**63), "float": 0.1 + 0.2, "tiny": 5e-324, "whole": 1.0}
        mission = impatient.create("Job", data=data)
        assert mission.data == data
        assert [type(each) for each in mission.data.values()] == [int, int, float, float, float]

    @pytest.mark.parametrize("mission_id", ["", ".", "..", "a/b", "a?b", "stats", "health", "ü", "x" * 129, "a\n"])
    def test_what_can_be_no_id_is_refused_before_it_is_sent(
        self, mission_id: str, double: Double, impatient: Client
    ) -> None:
        for call in (impatient.get, impatient.delete, impatient.start, impatient.heartbeat):
            with pytest.raises(Invalid, match="is no id of a mission"):
                call(mission_id)
        assert double.asked == []

    @pytest.mark.parametrize(
        "url", ["localhost:3000", "ftp://x", "http://", "http://[", "http://x:y", "http://x?q", ""]
    )
    def test_what_is_no_url_is_refused(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MISSIONS_URL", url)
        if url:
            with pytest.raises(MissionsError, match="is no URL"):
                Client()
        else:
            assert Client().url == "http://127.0.0.1:3000"


class TestSignIn:
    def test_a_token_is_sent(self, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
        with Client(double.url, token="given\n") as client:
            client.get("job")
        monkeypatch.setenv("MISSIONS_TOKEN", "from-environment")
        with Client(double.url) as client:
            client.get("job")
        assert [each.headers["authorization"] for each in double.asked] == ["Bearer given", "Bearer from-environment"]

    def test_a_function_gives_a_token_for_each_request_and_again_on_401(self, double: Double) -> None:
        tokens = iter(["one", "two", "three", "four", "four"])
        with Client(double.url, token=lambda: next(tokens)) as client:
            double.will(Say(401, {"message": "Unauthorized"}))
            client.get("job")
            client.get("job")
            double.will(Say(401, {"message": "Unauthorized"}))
            with pytest.raises(SignInRefused, match=r"401: Unauthorized"):
                client.get("job")
        sent = [each.headers["authorization"] for each in double.asked]
        assert sent == ["Bearer one", "Bearer two", "Bearer three", "Bearer four"]

    @pytest.mark.parametrize("token", ["se\ncret", "sécret", " "])
    def test_a_token_that_no_header_can_have_is_not_shown(self, token: str, double: Double) -> None:
        with Client(double.url, token=token) as client, pytest.raises(MissionsError, match="The token") as raised:
            client.get("job")
        assert token.strip() == "" or token not in str(raised.value)

    def test_a_url_of_api_gateway_is_signed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
        sent: list[httpx.Request] = []

        def take(request: httpx.Request) -> httpx.Response:
            sent.append(request)
            return httpx.Response(200, json=MISSION)

        url = "https://abc123.execute-api.eu-west-1.amazonaws.com"
        with Client(url, transport=httpx.MockTransport(take)) as client:
            client.create("Job")
        authorization = sent[0].headers["authorization"]
        assert "/eu-west-1/execute-api/aws4_request" in authorization
        assert sent[0].headers["x-amz-security-token"] == "session"
        with Client(url, token="t", transport=httpx.MockTransport(take)) as client:
            client.create("Job")
        assert sent[1].headers["authorization"] == "Bearer t"

    def test_without_credentials_signing_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
        with pytest.raises(CannotSignIn, match="There are no AWS credentials"):
            Client("https://abc123.execute-api.eu-west-1.amazonaws.com")


class TestPages:
    def test_all_missions_are_read_page_by_page(self, double: Double, impatient: Client) -> None:
        double.will(
            Say(200, {"missions": [MISSION] * 2, "next_cursor": "a"}),
            Say(200, {"missions": [], "next_cursor": "b"}),
            BUSY,
            Say(200, {"missions": [MISSION], "next_cursor": None}),
        )
        found = impatient.list(
            status=["RUNNING", "FAILED"], tags=["a=b", "c"], name="x y+z", overdue=True, created_after=0
        )
        assert len(double.asked) == 0
        assert next(found).id == "job"
        assert len(double.asked) == 1
        assert len(list(found)) == 2
        first = {
            "status": ["RUNNING,FAILED"], "tag": ["a=b,c"], "name": ["x y+z"], "overdue": ["true"],
            "created_after": ["0"], "limit": ["200"],
        }  # fmt: skip
        assert [each.query for each in double.asked] == [
            first, first | {"cursor": ["a"]}, first | {"cursor": ["b"]}, first | {"cursor": ["b"]}
        ]  # fmt: skip

    def test_no_more_is_asked_for_than_the_limit(self, double: Double, impatient: Client) -> None:
        double.will(Say(200, {"missions": [MISSION] * 200, "next_cursor": "a"}))
        double.will(Say(200, {"missions": [MISSION] * 50, "next_cursor": "b"}))
        assert len(list(impatient.list(limit=250))) == 250
        assert [each.query["limit"] for each in double.asked] == [["200"], ["50"]]
        assert list(impatient.list(limit=0)) == []

    def test_a_cancel_of_many_ids_asks_again_for_what_is_unknown(self, double: Double, impatient: Client) -> None:
        results = [{"id": f"m{n}", "outcome": "cancelled", "detail": None} for n in range(101)]
        unknown = [*results[:99], results[99] | {"outcome": "unknown"}]
        double.will(
            Say(200, {"results": unknown, "next_cursor": None}),
            Say(200, {"results": results[:100], "next_cursor": None}),
            Say(200, {"results": results[100:], "next_cursor": None}),
        )
        found = list(impatient.cancel_many(ids=(f"m{n}" for n in range(101)), reason="old", key="k"))
        assert [(each.id, each.outcome) for each in found] == [(f"m{n}", "cancelled") for n in range(101)]
        assert [(each.key, len(each.json["ids"])) for each in double.asked] == [("k", 100), ("k", 100), ("k/2", 1)]

    def test_a_cancel_by_filter_goes_on_at_its_cursor_with_a_new_key(self, double: Double, impatient: Client) -> None:
        one = {"id": "a", "outcome": "cancelled", "detail": None}
        double.will(Say(200, {"results": [], "next_cursor": "c"}), Say(200, {"results": [one], "next_cursor": None}))
        assert [each.id for each in impatient.cancel_many(filter={"tags": ["x"]})] == ["a"]
        assert double.asked[1].json == {"filter": {"tags": ["x"]}, "cursor": "c"}
        assert double.asked[0].key != double.asked[1].key


class TestLog:
    def test_many_entries_take_effect_once_although_connections_break(self, double: Double, impatient: Client) -> None:
        double.will(Break(effect=True), BUSY, Break())
        appended = impatient.log_many("job", [("info", f"line {n}") for n in range(250)])
        assert [each["message"] for each in double.entries] == [f"line {n}" for n in range(250)]
        assert [each.message for each in appended] == [f"line {n}" for n in range(250)]

    def test_with_the_same_key_a_whole_call_may_be_repeated(self, double: Double, impatient: Client) -> None:
        entries = [Entry("x" * 8000, "debug", {"n": n}) for n in range(120)]
        double.will(BUSY)
        first = impatient.log_many("job", entries, key="k")
        assert impatient.log_many("job", entries, key="k") == first
        assert len(double.entries) == 120

    def test_nothing_is_sent_for_nothing(self, double: Double, impatient: Client) -> None:
        assert impatient.log_many("job", []) == []
        assert double.asked == []

    def test_a_log_is_followed_through_outages_until_the_mission_ends(self, double: Double, impatient: Client) -> None:
        impatient.log_many("job", [("info", f"{n}") for n in range(450)])
        seen = []
        for entry in impatient.follow("job", every=0.01):
            seen.append(entry.message)
            if len(seen) == 450:
                double.will(Break(), BUSY)
                impatient.log("job", "later")
            if len(seen) == 451:
                double.mission["status"] = "COMPLETED"
                impatient.log("job", "last")
        assert seen == [*(f"{n}" for n in range(450)), "later", "last"]


class TestAsync:
    def test_it_does_the_same(self, double: Double) -> None:
        async def main() -> list[str]:
            async with AsyncClient(double.url, retry=FAST) as client:
                double.will(Break(effect=True), BUSY)
                mission = await client.create("Job", tags=("a",))
                assert isinstance(mission, Mission)
                await client.log_many("job", [("info", f"{n}") for n in range(250)])
                await client.complete("job")
                assert [each async for each in client.read_log("job", limit=3)]
                return [each.message async for each in client.follow("job")]

        assert asyncio.run(main()) == [f"{n}" for n in range(250)]

    def test_a_request_that_is_cancelled_ends_at_once(self, double: Double) -> None:
        async def main() -> None:
            async with AsyncClient(double.url) as client:
                double.will(Wait(5))
                async with asyncio.timeout(0.2):
                    await client.get("job")

        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            asyncio.run(main())
        assert time.monotonic() - begun < 2


class TestStack:
    """Against the real API."""

    def test_a_mission_goes_through_its_life(self, client: Client, tag: str) -> None:
        data = {"big": 2**63 - 1, "float": 0.1, "text": "日本 😀", "nested": {"a": [1, None, True]}}
        mission = client.create("Job", data=data, tags=[tag], retries=1, deadline=time.time() + 600)
        assert mission.data == data
        assert client.get(mission.id) == mission
        assert client.start(mission.id, if_match=1).status == "RUNNING"
        with pytest.raises(StaleVersion):
            client.complete(mission.id, if_match=1)
        assert client.heartbeat(mission.id, progress=0.5, note="half").status == "RUNNING"
        assert client.fail(mission.id, reason="disk full").next_attempt is not None
        with pytest.raises(Conflict, match="FAILED"):
            client.complete(mission.id)
        client.delete(mission.id)
        with pytest.raises(Removed):
            client.get(mission.id)
        assert [each.attempt for each in client.list(tags=[tag])] == [2]

    def test_the_service_answers(self, client: Client) -> None:
        assert client.health().status == "ok"
        client.create("Job")
        assert client.stats().total >= 1
        assert client.history(step="day").history[-1].created >= 1
        with pytest.raises(NotFound, match="There is no mission 'no-such'"):
            client.get("no-such")

    @pytest.mark.parametrize("data", [{"x": float("nan")}, {"x": "\ud800"}, {"x": 2**64}, {"x": "\0"}])
    def test_data_that_the_api_refuses_is_told_by_the_api(self, data: dict[str, Any], client: Client) -> None:
        with pytest.raises(Invalid):
            client.create("Job", data=data)

    def test_all_pages_are_read(self, client: Client, tag: str) -> None:
        made = [client.create(f"Job {n}", tags=[tag]).id for n in range(7)]
        assert [each.id for each in client.list(tags=[tag], order="oldest")] == made
        page = client.page(tags=[tag], order="oldest", limit=4)
        assert page.next_cursor is not None
        rest = client.page(tags=[tag], order="oldest", limit=4, cursor=page.next_cursor)
        assert [each.id for each in page.missions + rest.missions] == made
        assert [each.name for each in client.list(tags=[tag], name="job 3")] == ["Job 3"]
        assert {each.outcome for each in client.cancel_many(filter={"tags": [tag]})} == {"cancelled"}

    def test_a_hostile_log_arrives_whole(self, client: Client) -> None:
        mission = client.create("Job")
        lines = ["", " ", "\0", "\ud800", "a\nb\r\n", "\x1b[2J", "x" * 9000, "😀" * 5000, "\x7f\x80", '{"a": 1}']
        appended = client.log_many(mission.id, [("debug", each) for each in lines])
        read = list(client.read_log(mission.id, levels=["debug"]))
        assert read == appended
        told = "".join(each.message for each in read)
        assert told == "".join(each or " " for each in lines).replace("\0", "␀").replace("\ud800", "�")

    def test_ten_thousand_lines_arrive_in_order(self, client: Client) -> None:
        mission = client.create("Job")
        client.log_many(mission.id, (("info", f"line {n}") for n in range(10_000)))
        read = [each.message for each in client.read_log(mission.id)][1:]
        assert read == [f"line {n}" for n in range(10_000)]

    def test_a_log_is_followed_from_now_on(self, client: Client) -> None:
        mission = client.create("Job")
        client.log(mission.id, "before")
        follower = client.follow(mission.id, levels=["info"], since="now", every=0.1)
        seen = []

        async def other() -> None:
            async with AsyncClient(client.url) as another:
                await asyncio.sleep(0.3)
                await another.log_many(mission.id, [("debug", "hidden"), ("info", "after")])
                await another.cancel(mission.id)

        async def main() -> None:
            task = asyncio.create_task(other())
            seen.extend(await asyncio.to_thread(list, follower))
            await task

        asyncio.run(main())
        assert [each.message for each in seen] == ["after", "Mission status changed"]
