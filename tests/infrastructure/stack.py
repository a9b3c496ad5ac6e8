"""template.yaml as CloudFormation would see it: transformed by SAM, with its parameters, conditions and Rules applied.

A reference becomes the logical id of what it refers to, and an attribute `LogicalId.Attribute`.
"""

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.translator import Translator

ROOT = Path(__file__).parents[2]
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


@cache
def _source(file: str) -> Json:
    return yaml_parse((ROOT / file).read_text())


def source(file: str = "template.yaml") -> Json:
    """The template as it is written, to be changed at will."""
    return copy.deepcopy(_source(file))


def transformed(template: Json) -> Json:
    """The template after SAM, as `sam validate` does it without an account."""
    validator = SamTemplateValidator(template, None, region="eu-central-1")
    validator._replace_local_codeuri()  # the rest of what it does is to write YAML, which takes longer than all else
    translator = Translator(None, validator.sam_parser, boto_session=validator.boto3_session)
    return translator.translate(validator.sam_template, {}, get_managed_policy_map=dict)


class Values:
    """The parameters of one deployment, and what depends on them."""

    def __init__(self, template: Json, given: dict[str, str]) -> None:
        declared = template.get("Parameters", {})
        assert given.keys() <= declared.keys()
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
                    return argument if isinstance(argument, str) else ".".join(argument)
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


class Stack:
    """The resources that a deployment with these parameters would make."""

    def __init__(self, template: Json | None = None, **given: str) -> None:
        self.written = template or source()
        whole = transformed(copy.deepcopy(self.written))
        self.values = Values(whole, given)
        self.resources: dict[str, Json] = {
            name: self.values.resolve(resource)
            for name, resource in whole["Resources"].items()
            if "Condition" not in resource or self.values.condition(resource["Condition"])
        }

    def of(self, kind: str) -> dict[str, Json]:
        """The properties of the resources of one type, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }


def listed(value: Json) -> list[Json]:
    """A list, where IAM takes one or many."""
    return value if isinstance(value, list) else [value]


OWN_VPC = {"VpcId": "vpc-0a1b2c3d", "SubnetIds": "subnet-0a1b2c3d,subnet-4e5f6071"}
JWT = {"JwtIssuer": "https://issuer.example.com", "JwtAudience": "missions"}
EXTERNAL = {
    **OWN_VPC,
    "Store": "external",
    "RedisUrlSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:redis-url",
    "RedisCidr": "10.1.2.0/24",
}
DEPLOYMENTS: dict[str, dict[str, str]] = {
    "as it is": {},
    "redis, JWT, CORS": {"Engine": "redis", **JWT, "NamespaceClaim": "tenant", "CorsOrigin": "https://app.example.com"},
    "durable": {"Store": "durable"},
    "durable in a VPC with endpoints": {"Store": "durable", **OWN_VPC, "EndpointSecurityGroupId": "sg-0a1b2c3d"},
    "external": EXTERNAL,
}
