"""make costs: the table for a number of missions, and whatever else is given."""

import sys
from dataclasses import fields
from math import isfinite, nan

from local.costs.deployment import Unclear
from local.costs.document import section
from local.costs.load import Load
from local.costs.prices import NODES
from local.costs.table import number
from local.parameters import refusals
from local.template import template


def _number(name: str, text: str) -> float:
    try:
        found = float(text.replace(",", ""))
    except ValueError:
        found = nan
    if not (isfinite(found) and found >= (name == "VERSIONS")):
        raise Unclear(f"{name} is '{text}': give a number such as 5000000")
    return found


def main(*arguments: str) -> int:
    """The table for what is given as NAME=VALUE: MISSIONS, a name of Load, or a parameter of the template."""
    try:
        given = dict(each.split("=", 1) for each in arguments)
        missions = _number("MISSIONS", given.pop("MISSIONS", "1000000"))
        names = {each.name.upper(): each.name for each in fields(Load)}
        load = Load(**{name: _number(upper, given.pop(upper)) for upper, name in names.items() if upper in given})
        parameters = template()["Parameters"]
        if unknown := given.keys() - parameters.keys():
            raise Unclear(f"No {', '.join(unknown)}. There are {', '.join(['MISSIONS', *names, *parameters])}")
        if wrong := refusals(template(), given):
            raise Unclear("; ".join(wrong))
        if given.get("NodeType", "") not in ("", *NODES):
            raise Unclear(f"unknown NodeType {given['NodeType']}; prices are known of {', '.join(NODES)}")
        print(section(template(), load, {"idle": 0, f"{number(missions)} missions": missions}, **given), end="")
    except ValueError:
        print("make costs: give NAME=value, such as MISSIONS=5000000", file=sys.stderr)
        return 1
    except Unclear as error:
        print(f"make costs: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
