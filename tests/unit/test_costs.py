"""The costs are worked out from the template as it is, and docs/aws.md shows them."""

import copy
import re
from typing import Any

import pytest
from missions.storage.keys import PARTITIONS

from local import documents
from local.costs.__main__ import main
from local.costs.deployment import Deployment, Unclear
from local.costs.document import BEGIN, COLUMNS, DOCUMENT, END, section
from local.costs.load import RUNS, Load
from local.costs.rows import table
from local.template import template
from tests.infrastructure.stack import Stack

ALIVE = {"Type": "ScheduleV2", "Properties": {"ScheduleExpression": "rate(15 minutes)"}}
CANARY = {
    "Type": "AWS::Serverless::Function",
    "Properties": {"CodeUri": "functions/health", "Events": {"Alive": ALIVE}},
}


def rows(source: dict[str, Any] | None = None, load: Load | None = None, **given: str) -> dict[str, list[str]]:
    """The cells of each row, by what the row begins with."""
    lines = table(source or template(), load or Load(), COLUMNS, **given).splitlines()[2:]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {what.partition(",")[0].partition(":")[0].strip("*"): cells for what, *cells in found}


def changed(name: str, resource: dict[str, Any]) -> dict[str, Any]:
    source = copy.deepcopy(template())
    source["Resources"][name] = resource
    return source


def test_the_document_shows_what_the_template_costs() -> None:
    shown = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    assert shown == section(template(), Load(), COLUMNS), "run: make documents"
    assert all(len(line) <= 400 for line in shown.splitlines())


def test_only_what_stands_between_the_marks_is_written() -> None:
    written, made = DOCUMENT.read_text(), documents.documents()[DOCUMENT]
    assert made.split(BEGIN)[0] == written.split(BEGIN)[0]
    assert made.split(END)[1] == written.split(END)[1]


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        # 9 events of a mission at 1.00 a million
        ("EventBridge", ["0", "9.00", "900.00"]),
        # 1,000 million requests: 300 at 1.00, and 700 at 0.90
        ("HTTP API", ["0", "10 × 1.00 = 10.00", "300 × 1.00 + 700 × 0.90 = 930.00"]),
        # 10 million requests of 0.03 s in 0.5 GB are 150,000 GB-s: 2.00 and 2.00
        ("Lambda arm64", ["0", "2.00 + 150,000 GB-s = 4.00", "200.00 + 15,000,000 GB-s = 400.00"]),
        # 5.4 GB at 0.10, and at 0.023 for 12 months
        ("archive", ["0", "5.4 GB: 0.54 + 1.49 = 2.03", "540 GB: 54.00 + 149.04 = 203.04"]),
        # 300 GB are 279.4 GiB, and a namespace has 32
        ("namespaces", ["1", "1", "9"]),
    ],
)
def test_a_row_is_what_one_works_out_by_hand(row: str, cells: list[str]) -> None:
    assert rows()[row] == cells


@pytest.mark.parametrize("given", [{}, {"Store": "durable", "SnapStart": "None"}], ids=str)
def test_what_is_counted_is_what_a_transform_of_the_template_has(given: dict[str, str]) -> None:
    counted, stack = Deployment(template(), **given), Stack(**given)
    assert counted.functions.keys() == stack.of("AWS::Lambda::Function").keys()
    snapped = {
        name for name, each in stack.of("AWS::Lambda::Function").items() if each["SnapStart"]["ApplyOn"] != "None"
    }
    assert set(counted.snapped()) == snapped
    assert len(dict(counted.runs())) == len(stack.of("AWS::Scheduler::Schedule"))
    kept = [each for each in stack.resources.values() if each["Type"] == "AWS::Lambda::Version"]
    assert counted.keeps_versions() == any(each.get("DeletionPolicy") == "Retain" for each in kept)
    for kind in (
        "CloudWatch::Alarm",
        "CloudWatch::CompositeAlarm",
        "Logs::MetricFilter",
        "EC2::VPCEndpoint",
        "KMS::Key",
    ):
        assert len(counted.of(kind)) == len(stack.of(f"AWS::{kind}")), kind


def test_the_serverless_store_is_billed_for_what_it_holds_and_is_asked() -> None:
    assert PARTITIONS == 1024
    # At least 0.1 GB for 730 h at 0.084, and 43,800 times 3,072 ECPU at 0.0023 a million; 3 GB and 40 million ECPU more
    assert rows()["serverless valkey"][:2] == ["0 GB: 6.13 + 0.31 = 6.44", "3 GB: 183.96 + 0.40 = 184.36"]
    assert rows(Engine="redis")["serverless redis"][0] == "0 GB: 91.25 + 0.46 = 91.71"


def test_a_snapshot_is_billed_for_each_version_while_it_is_there() -> None:
    functions = len(Deployment(template()).functions) - 2  # the canary and the console have no snapshot
    one = functions * 0.5 * 730 * 3600 * 0.0000015046
    assert rows()["SnapStart"][0] == f"{one:.2f}"
    assert rows(load=Load(versions=10))["SnapStart"][0] == f"{10 * one:.2f}"
    assert not [row for row in rows(SnapStart="None") if "SnapStart" in row]


def test_what_kept_versions_cost_is_shown_as_long_as_deployments_keep_them() -> None:
    deleting = copy.deepcopy(template())
    deleting["Globals"]["Function"]["VersionDeletionPolicy"] = "Delete"
    keeping = copy.deepcopy(template())
    keeping["Globals"]["Function"].pop("VersionDeletionPolicy", None)
    row = "SnapStart when the versions of 10 deployments are kept"
    assert row not in rows(deleting)
    assert rows(keeping)[row][0] == rows(load=Load(versions=10))["SnapStart"][0]


def test_the_durable_store_has_the_memory_of_one_node() -> None:
    cells = rows()["durable"]
    assert cells[1] == "cache.m7g.large × 0.1264 = 184.54"  # 2 nodes, 730 h
    assert cells[2].startswith("cache.r7g.16xlarge")
    many = rows(load=Load(stored_bytes=6000))
    assert many["durable"][2] == "no node is large enough"
    assert many["with the durable store"][2] == "**-**"


def test_what_is_added_to_the_template_is_counted() -> None:
    before = float(rows()["without the store"][0].strip("*"))
    alarm = {"Metrics": [{"Expression": "MAX([a, b])"}, {"MetricStat": {}}, {"MetricStat": {}}]}
    for kind, properties, cost in (
        ("CloudWatch::Alarm", {"MetricName": "Errors"}, 0.10),
        ("CloudWatch::Alarm", alarm, 0.20),
        ("CloudWatch::CompositeAlarm", {}, 0.50),
        ("Logs::MetricFilter", {"MetricTransformations": [{"MetricName": "AnotherMetric"}]}, 0.30),
        ("EC2::VPCEndpoint", {"SubnetIds": ["a", "b"]}, 14.60),
    ):
        made = rows(changed("Another", {"Type": f"AWS::{kind}", "Properties": properties}))
        assert float(made["without the store"][0].strip("*")) == pytest.approx(before + cost, abs=0.011), kind
        without = changed("Another", {"Type": f"AWS::{kind}", "Condition": "External", "Properties": properties})
        assert float(rows(without)["without the store"][0].strip("*")) == before, kind


def test_a_schedule_is_billed_with_all_that_it_calls() -> None:
    # 2,920 runs: a schedule, 20 calls, 13 events, 3 s and 19 times 0.03 s in 0.5 GB, 20 times 1,200 bytes of logs kept
    # for a year, and 16 restores of 0.5 GB
    run = 1e-6 + 20 * 0.2e-6 + 13e-6 + 1.785 * 0.0000133334 + 24e-6 * 0.554 + 16 * 0.5 * 0.0001397998
    cells = rows(changed("CanaryFunction", CANARY))["CanaryFunction"]
    assert cells == [f"{2920 * run:.2f}"] * 3
    assert "CanaryFunction" not in rows(changed("CanaryFunction", CANARY | {"Condition": "External"}))


def test_every_metric_that_the_dashboard_shows_is_counted() -> None:
    (dashboard,) = Stack().of("AWS::CloudWatch::Dashboard").values()
    shown = re.findall(r'"((?:Swept|Overdue|Outbox|Dead)\w+)"', dashboard["DashboardBody"])
    assert len(shown) == 8
    assert set(shown) <= Deployment(template()).metrics()


def test_an_endpoint_of_s3_costs_nothing() -> None:
    assert rows(ArchiveBucket="example-missions", ArchivePrefixListId="pl-0a1b2c3d") == rows()


def test_a_schedule_that_cannot_be_counted_is_named() -> None:
    event = {"Type": "ScheduleV2", "Properties": {"ScheduleExpression": "cron(0 3 * * ? *)"}}
    often = changed("Often", CANARY | {"Properties": {"CodeUri": "functions/health", "Events": {"Often": event}}})
    with pytest.raises(Unclear, match="Often runs at cron"):
        rows(often)


def test_every_function_with_a_schedule_has_an_estimate() -> None:
    assert dict(Deployment(template()).runs()).keys() <= RUNS.keys()


def test_a_user_may_ask_for_other_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("MISSIONS=5000000", "EVENTS=4", "SnapStart=None", "RetentionDays=30") == 0
    told = capsys.readouterr().out
    assert "| | idle | 5,000,000 missions |" in told
    assert "| EventBridge, 1.00 per million | 0 | 20.00 |" in told
    assert "SnapStart" not in told


@pytest.mark.parametrize(
    "argument",
    [
        "MISSION=1",
        "MISSIONS=many",
        "MISSIONS",
        "Engine=memcached",
        "MISSIONS=-5",
        "RetentionDays=31",
        "CanarySchedule=rate(0 minutes)",
        "NodeType=cache.r8g.large",
    ],
)
def test_a_mistake_is_explained(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argument) == 1
    assert capsys.readouterr().err.startswith("make costs: ")
