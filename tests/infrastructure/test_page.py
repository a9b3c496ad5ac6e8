"""docs/aws.md has every parameter, alarm and output of the template, and no check that is not there."""

import re

from tests.infrastructure.stack import ROOT, source

PAGE = (ROOT / "docs/aws.md").read_text()


def rows(heading: str) -> str:
    """The tables of a chapter."""
    chapter = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert chapter, heading
    return "\n".join(line for line in chapter.splitlines() if line.startswith("|"))


def test_every_parameter_is_in_its_table_with_its_default() -> None:
    for name, declared in source()["Parameters"].items():
        (row,) = [line for line in rows("Parameters").splitlines() if f"`{name}`" in line.split("|")[1]]
        if declared["Default"] not in ("", None) and declared["Type"] == "Number":
            assert str(declared["Default"]) in row, row


def test_every_alarm_is_in_its_table() -> None:
    kinds = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    alarms = {name.removesuffix("Alarm") for name, each in source()["Resources"].items() if each["Type"] in kinds}
    assert {
        name for line in rows("Alarms").splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])
    } == alarms


def test_every_check_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:\w+/)?test_\w+\.py)`", rows("What holds these promises")))
    assert len(named) > 10
    folders = (ROOT / "tests", ROOT / "tests/infrastructure")
    assert [name for name in named if not any((folder / name).exists() for folder in folders)] == []


def test_every_output_that_is_named_is_there() -> None:
    outputs = source()["Outputs"].keys()
    assert set(re.findall(r"`(\w+(?:Arn|Url|FunctionName|BusName))`", PAGE)) & {"AlertTopicArn", "FailedTopicArn"}
    assert [name for name in re.findall(r"topic `(\w+)`", PAGE) if name not in outputs] == []
