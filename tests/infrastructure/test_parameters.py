"""Parameters that make no sense are refused before anything is made, with a word on what to give."""

import re
import tomllib

import pytest

from tests.infrastructure.stack import DEPLOYMENTS, EXTERNAL, JWT, OWN_VPC, ROOT, Values, source

SECRET = EXTERNAL["RedisUrlSecretArn"]


@pytest.mark.parametrize("given", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_sensible_deployment_is_taken(given: dict[str, str]) -> None:
    assert Values(source(), given).complaints() == []


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_environments_of_samconfig_are_taken(environment: str) -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    given = dict(each.split("=") for each in config[environment]["deploy"]["parameters"]["parameter_overrides"].split())
    assert Values(source(), given).complaints() == []
    assert [name for name, value in given.items() if not allowed(name, value)] == []


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({**EXTERNAL, "RedisUrlSecretArn": ""}, "needs RedisUrlSecretArn"),
        ({**EXTERNAL, "RedisCidr": ""}, "needs RedisCidr"),
        ({**EXTERNAL, "VpcId": "", "SubnetIds": ""}, "needs VpcId and SubnetIds"),
        ({"RedisUrlSecretArn": SECRET}, "go with Store=external"),
        ({"RedisCidr": "10.1.2.0/24", "Store": "durable"}, "go with Store=external"),
        ({"Store": "durable", "Engine": "redis"}, "give Engine=valkey"),
        ({"VpcId": OWN_VPC["VpcId"]}, "give VpcId and SubnetIds"),
        ({"SubnetIds": OWN_VPC["SubnetIds"]}, "give VpcId and SubnetIds"),
        ({"EndpointSecurityGroupId": "sg-0a1b2c3d"}, "give VpcId and SubnetIds"),
        ({"JwtIssuer": JWT["JwtIssuer"]}, "give JwtIssuer and JwtAudience together"),
        ({"JwtAudience": JWT["JwtAudience"]}, "give JwtIssuer and JwtAudience together"),
        ({"NamespaceClaim": "tenant"}, "give JwtIssuer and JwtAudience"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_word_on_what_to_give(given: dict[str, str], advice: str) -> None:
    complaints = Values(source(), given).complaints()
    assert len(complaints) == 1
    assert advice in complaints[0]


def allowed(name: str, value: str) -> bool:
    """Whether the declaration of the parameter takes this value."""
    declared = source()["Parameters"][name]
    if "AllowedValues" in declared and value not in map(str, declared["AllowedValues"]):
        return False
    if "MinValue" in declared and not int(declared["MinValue"]) <= float(value) <= int(declared["MaxValue"]):
        return False
    return re.fullmatch(declared.get("AllowedPattern", ".*"), value) is not None


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("NodeType", "cache.r7g.2xlarge", "cache.t4g.micro"),
        ("NodeType", "cache.c7gn.large", "large"),
        ("RedisUrlSecretArn", SECRET, "rediss://user:password@host"),
        ("RedisCidr", "10.1.2.3/32", "0.0.0.0/0"),
        ("VpcId", "vpc-0a1b2c3d4e5f60718", "my-vpc"),
        ("SubnetIds", "subnet-0a1b2c3d,subnet-4e5f6071", "subnet-0a1b2c3d"),
        ("SubnetIds", "", "subnet-0a1b2c3d, subnet-4e5f6071"),
        ("EndpointSecurityGroupId", "sg-0a1b2c3d", "default"),
        ("JwtIssuer", "https://issuer.example.com/", "http://issuer.example.com"),
        ("NamespaceClaim", "custom:tenant", "$.tenant"),
        ("CorsOrigin", "https://app.example.com", "*"),
        ("CorsOrigin", "http://localhost:3000", "https://app.example.com/"),
        ("AlertEmail", "ops@example.com", "ops"),
        ("RequestRate", "1", "0"),
        ("MaximumGigabytes", "5000", "5001"),
        ("RetentionDays", "30", "31"),
        ("SnapStart", "None", "off"),
        ("Store", "external", "memcached"),
    ],
)
def test_a_parameter_takes_what_it_can_use_and_nothing_else(name: str, good: str, bad: str) -> None:
    assert allowed(name, good)
    assert not allowed(name, bad)


def test_every_parameter_is_explained_and_every_pattern_says_what_to_give() -> None:
    for name, declared in source()["Parameters"].items():
        assert declared["Description"], name
        assert "AllowedPattern" not in declared or declared["ConstraintDescription"].startswith("give "), name
        assert "Default" in declared, name
        assert allowed(name, str(declared["Default"])), name


def test_no_parameter_is_a_password() -> None:
    assert [name for name, kind in source()["Parameters"].items() if "NoEcho" in kind or "Password" in name] == []
