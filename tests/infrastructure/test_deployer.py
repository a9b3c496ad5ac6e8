"""Who deploys has the rights that CloudFormation needs for this template, as its published schemas list them."""

import json
from fnmatch import fnmatchcase
from pathlib import Path

import cfnlint
import pytest

from tests.infrastructure.stack import DEPLOYMENTS, ROOT, Json, Stack, listed

SCHEMAS = Path(cfnlint.__file__).parent / "data/schemas/resources"
POLICY: Json = json.loads((ROOT / "docs/deployer-policy.json").read_text())
LONGEST = 6144  # characters of a managed policy, without white space
# Rights of features that the template does not use, or that are no actions of IAM
UNUSED = [
    "codedeploy:RegisterOnPremisesInstance",
    "elasticfilesystem:*",
    "firehose:*",
    "iam:*GroupPolicy",
    "iam:*UserPolicy",
    "s3:*",  # of the code that SAM uploads
    "s3files:*",
    "vpc-lattice:*",
    "vpce:*",
]


@pytest.fixture(scope="module")
def needed() -> dict[str, set[str]]:
    """The rights that each kind of resource of the template needs."""
    kinds = {each["Type"] for given in DEPLOYMENTS.values() for each in Stack(**given).resources.values()}
    found: dict[str, set[str]] = {}
    for file in SCHEMAS.glob("*.json"):
        schema = json.loads(file.read_text())
        if (kind := schema.get("typeName")) in kinds:
            handlers = {name: each for name, each in schema.get("handlers", {}).items() if name != "list"}
            found[kind] = {right for each in handlers.values() for right in each.get("permissions", [])}
    return found


def given(right: str) -> bool:
    return any(
        statement["Effect"] == "Allow" and any(fnmatchcase(right.lower(), each.lower()) for each in actions)
        for statement in POLICY["Statement"]
        if (actions := listed(statement["Action"]))
    )


def test_who_has_the_policy_may_make_change_and_remove_all_of_the_template(needed: dict[str, set[str]]) -> None:
    assert len([rights for rights in needed.values() if rights]) >= 35  # most schemas say what they need
    missing = {
        (kind, right)
        for kind, rights in needed.items()
        for right in rights
        if not given(right) and not any(fnmatchcase(right, each) for each in UNUSED)
    }
    assert missing == set()


def test_what_knows_no_resources_is_given_for_all() -> None:
    # A composite alarm can only be made, or seen, with a right that is for all (the documentation of PutCompositeAlarm)
    everywhere = [
        each.lower()
        for statement in POLICY["Statement"]
        if "*" in listed(statement["Resource"])
        for each in listed(statement["Action"])
    ]
    for right in ("cloudwatch:PutCompositeAlarm", "cloudwatch:DescribeAlarms", "ec2:CreateVpc", "kms:CreateKey"):
        assert any(fnmatchcase(right.lower(), each) for each in everywhere), right


def test_the_policy_gives_nothing_away() -> None:
    for statement in POLICY["Statement"]:
        assert "*" not in listed(statement["Action"]), statement["Sid"]
        if "*" in listed(statement["Resource"]):
            assert not [each for each in listed(statement["Action"]) if each.startswith(("iam:", "s3:", "lambda:*"))]
    for right in ("iam:CreateUser", "iam:CreateAccessKey", "ec2:RunInstances", "secretsmanager:GetSecretValue"):
        assert not given(right)


def test_the_policy_is_short_enough_for_iam() -> None:
    assert len(json.dumps(POLICY, separators=(",", ":"))) <= LONGEST
