"""What template.yaml makes with given parameters, counted as it is written; SAM's transform would take seconds."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.costs.prices import HOURS
from local.parameters import Values


class Unclear(Exception):
    """What was asked for cannot be counted."""


class Deployment:
    """What template.yaml makes with these parameters."""

    def __init__(self, source: dict[str, Any], **given: str) -> None:
        values = Values(source, given)
        self.parameters = values.parameters
        made = {
            name: each
            for name, each in source["Resources"].items()
            if "Condition" not in each or values.condition(each["Condition"])
        }
        common = source.get("Globals", {}).get("Function", {})
        functions = {name: each for name, each in made.items() if each["Type"] == "AWS::Serverless::Function"}
        self.functions = {name: values.resolve(common | each["Properties"]) for name, each in functions.items()}
        self.memory = {name: each["MemorySize"] / 1024 for name, each in self.functions.items()}  # GB
        self._resources = [(each["Type"], values.resolve(each.get("Properties", {}))) for each in made.values()]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The properties of the resources of one type."""
        return [properties for each, properties in self._resources if each == f"AWS::{kind}"]

    def asked(self) -> list[str]:
        """The functions that the API calls."""
        events = {name: each.get("Events", {}).values() for name, each in self.functions.items()}
        return [name for name, each in events.items() if any(event["Type"] == "HttpApi" for event in each)]

    def snapped(self) -> list[str]:
        """The functions of which Lambda keeps snapshots."""
        applied = {name: each.get("SnapStart", {}).get("ApplyOn", "None") for name, each in self.functions.items()}
        return [name for name, when in applied.items() if when != "None"]

    def keeps_versions(self) -> bool:
        """Whether a deployment leaves the versions of the one before, as SAM does unless it is told otherwise."""
        named = [each.get("VersionDeletionPolicy") for each in self.functions.values()]
        return any(each != "Delete" for each in named)

    def alarms(self) -> int:
        """The metrics that the alarms read; AWS bills each of them."""
        read = [each.get("Metrics", []) for each in self.of("CloudWatch::Alarm")]
        return sum(sum("MetricStat" in part for part in parts) or 1 for parts in read)

    def metrics(self) -> set[str]:
        """The metrics that functions and metric filters report, which AWS does not give for nothing."""
        files = [file for each in self.functions.values() for file in Path(each["CodeUri"]).glob("*.py")]
        names = {name for file in files for name in re.findall(r'add_metric\(\s*"(\w+)"', file.read_text())}
        filters = [each["MetricTransformations"] for each in self.of("Logs::MetricFilter")]
        return names | {each["MetricName"] for transformations in filters for each in transformations}

    def runs(self) -> Iterator[tuple[str, float]]:
        """Each function that has a schedule, and its runs a month."""
        for name, function in self.functions.items():
            for event in function.get("Events", {}).values():
                if event["Type"] in ("Schedule", "ScheduleV2"):
                    when = event["Properties"].get("ScheduleExpression") or event["Properties"]["Schedule"]
                    rate = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", when)
                    if not rate or not int(rate[1]):
                        raise Unclear(f"{name} runs at {when}; only rate(...) can be counted")
                    yield name, HOURS / int(rate[1]) * {"minute": 60, "hour": 1, "day": 1 / 24}[rate[2]]
