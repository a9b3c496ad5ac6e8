"""template.yaml, as the local stack reads it: API Gateway, Lambda and the schedules do what it says."""

from functools import cache
from typing import Any

from samcli.yamlhelper import yaml_parse

from local.processes import ROOT


@cache
def template() -> dict[str, Any]:
    """The template, with its intrinsic functions as mappings."""
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return parsed
