"""The rules against real Charter events, the schemas that consumers are given, and the example workflow."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from jsonschema import Draft202012Validator, ValidationError
from missions.domain.events import PAYLOADS, Event
from moto import mock_aws

from local.event_documents import SCHEMAS
from tests.conftest import sample
from tests.infrastructure.stack import Json, Stack, Values, source

CREATED, CHANGED, LOGGED = PAYLOADS


def details() -> dict[str, Json]:
    """Events of every type, as the service makes them; a change to each status by its name."""
    found: dict[str, Json] = {name: sample(name)["detail"] for name in PAYLOADS}
    running = found.pop(CHANGED)
    for status in ("RUNNING", "COMPLETED", "FAILED", "CANCELLED"):
        found[status] = deepcopy(running)
        found[status]["payload"]["new_status"] = status
    # a log entry that speaks of a failure is none
    found["log of a failure"] = deepcopy(found[LOGGED])
    found["log of a failure"]["payload"]["message"] = "FAILED"
    for detail in found.values():
        Event.model_validate(detail)
    return found


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        boto3.client("events").create_event_bus(Name="missions")
        yield "missions"


def delivered(bus: str, pattern: Json, event_source: str = "missions_service") -> set[str]:
    """Which of the events EventBridge delivers under this pattern."""
    events, sqs = boto3.client("events"), boto3.client("sqs")
    url = sqs.create_queue(QueueName="target")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="rule", EventBusName=bus, EventPattern=json.dumps(pattern))
    events.put_targets(Rule="rule", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    sent = details()
    for detail in sent.values():
        entry: Any = {
            "Source": event_source,
            "DetailType": detail["type"],
            "Detail": json.dumps(detail),
            "Time": datetime.fromtimestamp(detail["timestamp"], UTC),
            "EventBusName": bus,
        }
        assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
    messages: list[Json] = []
    while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        messages += [json.loads(message["Body"])["detail"] for message in batch]
        for message in batch:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return {name for name, detail in sent.items() if detail in messages}


def pattern(name: str) -> Json:
    rules = Stack().of("AWS::Events::Rule")
    return rules[name]["EventPattern"]


def test_the_alert_is_for_missions_that_failed(bus: str) -> None:
    assert delivered(bus, pattern("FailedRule")) == {"FAILED"}


def test_the_audit_is_of_every_event(bus: str) -> None:
    assert delivered(bus, pattern("AuditRule")) == details().keys()


def test_the_workflow_starts_when_a_mission_runs(bus: str) -> None:
    rule = source("events/workflow.yaml")["Resources"]["RunningRule"]["Properties"]
    assert delivered(bus, rule["EventPattern"]) == {"RUNNING"}


@pytest.mark.parametrize("rule", ["FailedRule", "AuditRule"])
def test_what_another_service_says_matches_no_rule(bus: str, rule: str) -> None:
    assert delivered(bus, pattern(rule), "another_service") == set()


def test_what_the_alert_tells_is_in_the_event() -> None:
    (target,) = Stack().of("AWS::Events::Rule")["FailedRule"]["Targets"]
    paths = target["InputTransformer"]["InputPathsMap"]
    for name, path in paths.items():
        value: Json = sample(CHANGED)
        for step in path.removeprefix("$.").split("."):
            value = value[step]
        assert value, name
        assert f"<{name}>" in target["InputTransformer"]["InputTemplate"]
    told = target["InputTransformer"]["InputTemplate"].replace("<aws.events.event.json>", json.dumps(sample(CHANGED)))
    assert json.loads(told)["event"]["detail"]["meta"]  # and with it the reason


@pytest.mark.parametrize("name", PAYLOADS)
def test_the_sample_event_is_valid_by_its_schema_and_by_no_other(name: str) -> None:
    detail = sample(name)["detail"]
    for other in PAYLOADS:
        validator = Draft202012Validator(json.loads((SCHEMAS / f"{other}.json").read_text()))
        assert validator.is_valid(detail) == (other == name)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("payload", "new_status"), "LOST"),
        (("payload", "changed_at"), "yesterday"),
        (("target",), None),
        (("source",), "another_service"),
        (("meta",), []),
    ],
)
def test_a_schema_refuses_what_the_service_never_sends(path: tuple[str, ...], value: Json) -> None:
    detail = node = sample(CHANGED)["detail"]
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    with pytest.raises(ValidationError):
        Draft202012Validator(schemas_of(CHANGED)).validate(detail)


def schemas_of(name: str) -> Json:
    schema: Json = json.loads((SCHEMAS / f"{name}.json").read_text())
    return schema


def workflow() -> dict[str, Json]:
    template = source("events/workflow.yaml")
    resources: dict[str, Json] = Values(template, {}).resolve(template["Resources"])
    return resources


def test_the_workflow_is_started_by_a_role_that_can_do_nothing_else() -> None:
    role = workflow()["StartRole"]["Properties"]
    (policy,) = role["Policies"]
    assert policy["PolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Action": "states:StartExecution", "Resource": "Workflow"}
    ]
    assert "ManagedPolicyArns" not in role


def test_an_event_that_starts_no_workflow_is_kept_in_an_encrypted_queue() -> None:
    resources = workflow()
    (target,) = resources["RunningRule"]["Properties"]["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": "DeadLetterQueue.Arn"}
    assert target["RoleArn"] == "StartRole.Arn"
    assert resources["DeadLetterQueue"]["Properties"]["SqsManagedSseEnabled"] is True
    (statement,) = resources["DeadLetterQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": "RunningRule.Arn"}}


def test_every_state_of_the_workflow_leads_to_its_end() -> None:
    definition = workflow()["Workflow"]["Properties"]["Definition"]
    seen = []
    state = definition["StartAt"]
    while state:
        seen.append(state)
        state = definition["States"][state].get("Next")
    assert set(seen) == definition["States"].keys()
    assert definition["States"][seen[-1]]["Type"] == "Succeed"


@pytest.mark.parametrize(("store", "cache"), [("serverless", "ServerlessCache"), ("durable", "ReplicationGroup")])
def test_the_dashboard_is_json_and_shows_this_stack(store: str, cache: str) -> None:
    (dashboard,) = Stack(Store=store).of("AWS::CloudWatch::Dashboard").values()
    shown = json.dumps(
        [widget["properties"]["metrics"] for widget in json.loads(dashboard["DashboardBody"])["widgets"]]
    )
    swept = ("SweptFailed", "SweptCancelled", "SweptRemoved", "SweptLeft", "OverdueAge")
    for name in ("Api", "missions_service", "DeadLetterQueue.QueueName", *swept, cache, f"{cache}-0001-002"):
        assert f'"{name}"' in shown
