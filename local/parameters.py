"""The parameters of a deployment as CloudFormation takes them: what they may be, and what depends on them.

A reference becomes the logical id of what it refers to, and an attribute `LogicalId.Attribute`.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

Json = Any
PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/missions/1-2-3-4-1234567db123",
    "AWS::StackName": "missions",
    "AWS::URLSuffix": "amazonaws.com",
}
REMOVED = object()  # what AWS::NoValue leaves


def refusal(declared: Json, value: str) -> str:
    """What to give instead of this value; empty if the declaration of the parameter takes it."""
    values = [str(each) for each in declared.get("AllowedValues", [])]
    if values and value not in values:
        return f"give one of {', '.join(values)}"
    if "MinValue" in declared:
        least, most = declared["MinValue"], declared["MaxValue"]
        if not re.fullmatch(r"-?\d+(\.\d+)?", value) or not float(least) <= float(value) <= float(most):
            return f"give a number from {least} to {most}"
    if not re.fullmatch(declared.get("AllowedPattern", ".*"), value):
        return str(declared["ConstraintDescription"])
    return ""


def refusals(template: Json, given: Mapping[str, str]) -> list[str]:
    """What is wrong with each of these parameters, looked at alone."""
    declared, found = template["Parameters"], []
    for name, value in given.items():
        if name not in declared:
            near = get_close_matches(name, declared, 1)
            found.append(f"there is no parameter {name}" + (f"; did you mean {near[0]}?" if near else ""))
        elif advice := refusal(declared[name], value):
            found.append(f"{name} is '{value}': {advice}")
    return found


class Values:
    """The parameters of one deployment, and what depends on them."""

    def __init__(self, template: Json, given: Mapping[str, str]) -> None:
        declared = template.get("Parameters", {})
        if unknown := given.keys() - declared.keys():
            raise ValueError(f"there are no parameters {unknown}")
        self._template = template
        self.parameters = {name: str(given.get(name, kind.get("Default", ""))) for name, kind in declared.items()}

    def condition(self, name: str) -> bool:
        return self._truth(self._template["Conditions"][name])

    def _truth(self, node: Json) -> bool:
        (function, argument) = next(iter(node.items()))
        match function:
            case "Condition":
                return self.condition(argument)
            case "Fn::Equals":
                first, second = (self.resolve(each) for each in argument)
                return bool(first == second)
            case "Fn::Not":
                return not self._truth(argument[0])
            case "Fn::And":
                return all(self._truth(each) for each in argument)
            case "Fn::Or":
                return any(self._truth(each) for each in argument)
            case "Fn::Contains":
                return self.resolve(argument[1]) in self.resolve(argument[0])
        raise NotImplementedError(function)

    def complaints(self) -> list[str]:
        """What the Rules say against these parameters."""
        return [
            each["AssertDescription"]
            for rule in self._template["Rules"].values()
            if "RuleCondition" not in rule or self._truth(rule["RuleCondition"])
            for each in rule["Assertions"]
            if not self._truth(each["Assert"])
        ]

    def resolve(self, node: Json) -> Json:
        """The node with every function applied."""
        if isinstance(node, list):
            return [each for each in map(self.resolve, node) if each is not REMOVED]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            match function:
                case "Ref":
                    return REMOVED if argument == "AWS::NoValue" else self._name(argument)
                case "Fn::GetAtt":
                    name = argument if isinstance(argument, str) else ".".join(argument)
                    return [f"ZONE:{name}", f"ZONE:another.{name}"] if name.endswith(".DnsEntries") else name
                case "Fn::If":
                    name, then, otherwise = argument
                    return self.resolve(then if self.condition(name) else otherwise)
                case "Fn::Sub":
                    text, names = argument if isinstance(argument, list) else (argument, {})
                    known = {name: self.resolve(value) for name, value in names.items()}
                    return re.sub(r"\$\{([\w:.]+)\}", lambda m: str(known.get(m[1], self._name(m[1]))), text)
                case "Fn::Join":
                    return argument[0].join(self.resolve(argument[1]))
                case "Fn::Split":
                    return self.resolve(argument[1]).split(argument[0])
                case "Fn::Select":
                    return self.resolve(argument[1])[int(argument[0])]
                case "Fn::GetAZs":
                    return ["a", "b", "c"]
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not REMOVED}

    def _name(self, name: str) -> str:
        return self.parameters.get(name, PSEUDO.get(name, name))
