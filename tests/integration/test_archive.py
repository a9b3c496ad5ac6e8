"""Missions that their retention removes are in S3 before: nothing is removed that was not archived."""

import gzip
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
import redis
from missions import archive, runtime, service, sweeper
from missions.archive import Archive
from missions.domain.errors import MissionRemoved, StoreUnavailable
from missions.domain.models import Claim, LogQuery, MissionCreate, MissionLogEntry, MissionStatus
from missions.domain.writes import DEFAULT, Write
from missions.storage.due import Due
from missions.storage.keys import Keys, partition_of
from missions.storage.store import Store
from moto.server import ThreadedMotoServer

from tests.conftest import Listener, fresh_sandbox
from tests.faults.harness import Killed, time_passes

DAY = 86400  # seconds
BUCKET = "archive"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto: str, stream: Listener, monkeypatch: pytest.MonkeyPatch) -> Any:
    """S3 with an empty bucket, which is the service's archive."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto)
    monkeypatch.setenv("ARCHIVE_BUCKET", BUCKET)
    client = boto3.client("s3", region_name="eu-central-1")
    if BUCKET in (each["Name"] for each in client.list_buckets()["Buckets"]):
        for key in names_of(client):
            client.delete_object(Bucket=BUCKET, Key=key)
    else:
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    fresh_sandbox(stream)
    return client


def names_of(s3: Any) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def archived(s3: Any) -> list[dict[str, Any]]:
    """The lines of all objects."""
    texts = [gzip.decompress(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in names_of(s3)]
    return [json.loads(line) for text in texts for line in text.decode().splitlines()]


def swept() -> sweeper.Report:
    report = sweeper.Report()
    sweeper.sweep(report, lambda: None)
    return report


def old(client: redis.Redis, mission_id: str, days: int = 1, namespace: str = DEFAULT, **given: Any) -> None:
    """A mission that finished some days ago, and was to be kept for a minute."""
    service.create_mission(MissionCreate(id=mission_id, name="n", retention=60, **given), Write(namespace))
    service.update_status(mission_id, MissionStatus.CANCELLED, "not needed", Write(namespace))
    time_passes(client, mission_id, days * DAY, namespace)


def is_kept(mission_id: str, namespace: str = DEFAULT) -> bool:
    try:
        service.get_mission(mission_id, namespace)
    except MissionRemoved:
        return False
    return True


def test_an_object_has_the_missions_of_a_day_and_a_namespace(s3: Any, redis_client: redis.Redis) -> None:
    other = next(name for name in (f"n{n}" for n in range(10_000)) if partition_of(name) == partition_of(DEFAULT))
    for mission_id, days, namespace in (("a", 1, DEFAULT), ("b", 1, DEFAULT), ("c", 2, DEFAULT), ("a", 1, other)):
        old(redis_client, mission_id, days, namespace)
    service.create_mission(MissionCreate(id="open", name="n"))
    today = time.time()
    report = swept()
    assert (report.removed, report.left) == (4, 0)
    day = {days: datetime.fromtimestamp(today - days * DAY, UTC).strftime("%Y/%m/%d") for days in (1, 2)}
    folders = sorted(name.rpartition("/")[0] for name in names_of(s3))
    assert folders == sorted(f"missions/{day[days]}/{name}" for days, name in ((1, DEFAULT), (2, DEFAULT), (1, other)))
    assert all(name.endswith(".jsonl.gz") for name in names_of(s3))
    assert sorted(each["mission"]["id"] for each in archived(s3)) == ["a", "a", "b", "c"]


def test_a_line_is_the_mission_and_its_whole_log(s3: Any, redis_client: redis.Redis) -> None:
    service.create_mission(
        MissionCreate(id="a", name="Ünder", data={"x": [1, None]}, tags=["x"], retention=60, heartbeat_timeout=60)
    )
    service.claim_mission(Claim(worker="worker 1"))
    for first in range(0, 450, 50):
        entries = [MissionLogEntry(message=f"entry {n} \u2028 end", data={"n": n}) for n in range(first, first + 50)]
        service.append_log_entries("a", entries)
    service.update_status("a", MissionStatus.FAILED, "disk full")
    time_passes(redis_client, "a", DAY)
    mission = service.get_mission("a").model_dump(mode="json")
    log, cursor = [], None
    while True:
        page = service.get_log("a", query=LogQuery(limit=200, cursor=cursor))
        log += [each.model_dump(mode="json") for each in page.log]
        if not (cursor := page.next_cursor):
            break
    assert swept().removed == 1
    (line,) = archived(s3)
    assert line == {"mission": mission, "log": log}
    assert len(line["log"]) == 453
    assert not is_kept("a")


def test_a_large_log_is_archived_whole(s3: Any, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that does not fit in memory is on the disk meanwhile, and a page of the log ends early."""
    monkeypatch.setattr(archive, "IN_MEMORY", 1000)
    old(redis_client, "a", data={"x": "y" * 60_000})
    for _ in range(3):
        service.append_log_entries("a", [MissionLogEntry(message="m", data={"x": "z" * 16_000})] * 100)
    time_passes(redis_client, "a", DAY)
    assert swept().removed == 1
    assert len(archived(s3)[0]["log"]) == 302


@pytest.mark.parametrize("failure", ["no bucket", "nobody answers", "a log cannot be read"])
def test_what_is_not_written_is_not_removed(
    s3: Any, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, failure: str, stream: Listener
) -> None:

    def unread(*_: object) -> None:
        raise StoreUnavailable

    for mission_id in "ab":
        old(redis_client, mission_id)
    with monkeypatch.context() as patch:
        if failure == "no bucket":
            patch.setenv("ARCHIVE_BUCKET", "another")
        elif failure == "nobody answers":
            patch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
        else:
            patch.setattr(Store, "get_log", unread)
        fresh_sandbox(stream)
        report = swept()
        assert (report.removed, report.left) == (0, 2)
    assert (is_kept("a"), is_kept("b"), names_of(s3)) == (True, True, [])
    fresh_sandbox(stream)
    assert swept().removed == 2
    assert sorted(each["mission"]["id"] for each in archived(s3)) == ["a", "b"]


def test_a_mission_that_cannot_be_read_stays_and_the_others_are_archived(s3: Any, redis_client: redis.Redis) -> None:
    for mission_id in "ab":
        old(redis_client, mission_id)
    key = Keys(DEFAULT).mission("a")
    redis_client.set(key, str(redis_client.get(key)).replace('{"', '{{"'))
    report = swept()
    assert (report.removed, is_kept("b")) == (1, False)
    assert redis_client.exists(key) == 1
    assert [each["mission"]["id"] for each in archived(s3)] == ["b"]


@pytest.mark.parametrize("what", ["a log entry", "a status", "a next attempt"])
def test_what_changed_after_it_was_written_stays_and_is_archived_again(
    s3: Any, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    service.create_mission(MissionCreate(id="a", name="n", retention=60))
    service.claim_mission(Claim())
    service.update_status("a", MissionStatus.FAILED)
    time_passes(redis_client, "a", DAY)
    plain = Archive.write

    def write(*args: Any) -> Any:
        written = plain(*args)
        if what == "a log entry":
            service.append_log_entry("a", MissionLogEntry(message="late"))
        elif what == "a status":
            service.update_status("a", MissionStatus.CANCELLED)
        else:
            service.retry_mission("a")
        return written

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "write", write)
        report = swept()
    assert (report.removed, is_kept("a")) == (0, True)
    shown = service.get_mission("a").model_dump(mode="json")
    assert swept().removed == 1
    lines = archived(s3)
    assert len(lines) == 2
    assert shown in [line["mission"] for line in lines]
    assert {len(line["log"]) for line in lines} == ({3} if what == "a next attempt" else {3, 4})


def test_a_sweeper_that_is_killed_between_writing_and_removing_loses_nothing(
    s3: Any, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(redis_client, "a")

    def dies(*_: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Store, "remove_each", dies)
        with pytest.raises(Killed):
            swept()
    assert is_kept("a")
    assert swept().removed == 1
    assert [each["mission"]["id"] for each in archived(s3)] == ["a", "a"]


def test_a_mission_that_was_deleted_meanwhile_is_not_written(s3: Any, redis_client: redis.Redis) -> None:
    old(redis_client, "a")
    service.delete_mission("a")
    old(redis_client, "b")
    store = runtime.current.store
    assert runtime.current.archive
    wanted = [Due(DEFAULT, each, "retention", "COMPLETED") for each in ("a", "b", "nobody")]
    written, goes_on = runtime.current.archive.write(store, wanted, lambda: True)
    assert ([mission_id for _, mission_id, _ in written], goes_on) == (["b"], True)
    assert [each["mission"]["id"] for each in archived(s3)] == ["b"]


def test_a_mission_that_is_deleted_by_hand_is_not_archived(s3: Any, redis_client: redis.Redis) -> None:
    old(redis_client, "a")
    service.delete_mission("a")
    assert (swept().removed, names_of(s3)) == (0, [])


def test_without_time_nothing_is_written_and_nothing_removed(s3: Any, redis_client: redis.Redis) -> None:
    old(redis_client, "a")
    answers = iter([True])  # to begin, but not to write
    report = sweeper.Report()
    sweeper.sweep(report, lambda: None, lambda: next(answers, False))
    assert (report.removed, is_kept("a"), names_of(s3)) == (0, True, [])
