"""template.yaml as CloudFormation would see it: transformed by SAM, with its parameters, conditions and Rules applied.

A reference becomes the logical id of what it refers to, and an attribute `LogicalId.Attribute`.
"""

import copy
from functools import cache
from pathlib import Path

from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.translator import Translator

from local.parameters import Json, Values

ROOT = Path(__file__).parents[2]


@cache
def _source(file: str) -> Json:
    return yaml_parse((ROOT / file).read_text())


def source(file: str = "template.yaml") -> Json:
    """The template as it is written, to be changed at will."""
    return copy.deepcopy(_source(file))


def transformed(template: Json, given: dict[str, str]) -> Json:
    """The template after SAM, which knows the parameters, as `sam validate` does it without an account."""
    validator = SamTemplateValidator(template, None, region="eu-central-1")
    validator._replace_local_codeuri()  # the rest of what it does is to write YAML, which takes longer than all else
    translator = Translator(None, validator.sam_parser, boto_session=validator.boto3_session)
    return translator.translate(validator.sam_template, dict(given), get_managed_policy_map=dict)


class Stack:
    """The resources that a deployment with these parameters would make."""

    def __init__(self, template: Json | None = None, **given: str) -> None:
        self.written = template or source()
        whole = transformed(copy.deepcopy(self.written), given)
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
ARCHIVE = {"ArchiveBucket": "example-missions", "ArchivePrefixListId": "pl-0a1b2c3d"}
DEPLOYMENTS: dict[str, dict[str, str]] = {
    "as it is": {},
    "with an archive": ARCHIVE,
    "redis, JWT, CORS": {"Engine": "redis", **JWT, "NamespaceClaim": "tenant", "CorsOrigin": "https://app.example.com"},
    "durable, step by step": {"Store": "durable", "Deployment": "Canary10Percent5Minutes", "Tracing": "Active"},
    "durable in a VPC with endpoints": {"Store": "durable", **OWN_VPC, "EndpointSecurityGroupId": "sg-0a1b2c3d"},
    "without a canary, in a VPC": {**OWN_VPC, **ARCHIVE, "CanarySchedule": "", "SnapStart": "None"},
    "external": EXTERNAL,
}
DEPLOYMENTS = {name: {"AlertEmail": "nobody", **given} for name, given in DEPLOYMENTS.items()}
