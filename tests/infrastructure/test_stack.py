"""What the stack promises, read from the transformed template, and that each promise would be missed if it were broken.

A promise is a function that gives complaints. Every one is tried on several deployments, where it has none, and on a
template that was broken on purpose, where it has some.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from moto.iam.access_control import IAMPolicy, PermissionResult

from tests.infrastructure.stack import DEPLOYMENTS, EXTERNAL, Json, Stack, listed, source

WRITERS = {
    f"{name}Function" for name in ("CreateMission", "UpdateStatus", "AppendLogEntry", "RelayEvents", "OperateEvents")
}
OPEN = {"GET /api/missions/health"}
AWS_POLICIES = {  # writing logs and network interfaces, which know no resources that could be named here
    "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole",
}
ANYWHERE = {"0.0.0.0/0", "::/0"}


def policies(stack: Stack, role: str) -> list[Json]:
    """The policy documents of a role that this template writes."""
    properties = stack.of("AWS::IAM::Role")[role]
    managed = stack.of("AWS::IAM::ManagedPolicy")
    own = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    return own + [managed[arn]["PolicyDocument"] for arn in properties.get("ManagedPolicyArns", []) if arn in managed]


def may(stack: Stack, role: str, action: str, resource: str) -> bool:
    """Whether a role's own policies let it do this, as moto's IAM enforcement decides."""
    results = {
        IAMPolicy({"policy_document": json.dumps(document)}).is_action_permitted(action, resource)
        for document in policies(stack, role)
    }
    return PermissionResult.PERMITTED in results and PermissionResult.DENIED not in results


def role_of(stack: Stack, function: str) -> str:
    return str(stack.of("AWS::Lambda::Function")[function]["Role"].removesuffix(".Arn"))


def only_those_who_write_may_put_events(stack: Stack) -> list[str]:
    functions = stack.of("AWS::Lambda::Function")
    able = {name for name in functions if may(stack, role_of(stack, name), "events:PutEvents", "EventBus.Arn")}
    elsewhere = {name for name in functions if may(stack, role_of(stack, name), "events:PutEvents", "OtherBus.Arn")}
    return [f"{name} may or may not, unlike what is said" for name in able ^ WRITERS] + [
        f"{name} may put events on any bus" for name in elsewhere
    ]


def the_bus_refuses_everybody_else_who_speaks_for_missions(stack: Stack) -> list[str]:
    trusted = {f"{role_of(stack, name)}.Arn" for name in WRITERS}

    def refused(principal: str, event_source: str) -> bool:
        for policy in stack.of("AWS::Events::EventBusPolicy").values():
            statement = policy["Statement"]
            conditions = statement["Condition"]
            assert conditions.keys() == {"StringEquals", "ArnNotEquals"}
            if (
                statement["Effect"] == "Deny"
                and statement["Principal"] == "*"
                and "events:PutEvents" in listed(statement["Action"])
                and statement["Resource"] == "EventBus.Arn"
                and event_source in listed(conditions["StringEquals"]["events:source"])
                and principal not in listed(conditions["ArnNotEquals"]["aws:PrincipalArn"])
            ):
                return True
        return False

    strangers = {f"{role}.Arn" for role in stack.of("AWS::IAM::Role")} - trusted | {
        "arn:aws:iam::123456789012:role/admin"
    }
    return (
        [f"{name} is refused" for name in trusted if refused(name, "missions_service")]
        + [f"{name} is not refused" for name in strangers if not refused(name, "missions_service")]
        + [f"{name} is refused another source" for name in strangers if refused(name, "another_service")]
    )


def every_function_has_a_role_of_its_own(stack: Stack) -> list[str]:
    functions = stack.of("AWS::Lambda::Function")
    roles = [role_of(stack, name) for name in functions]
    return [] if len(set(roles)) == len(functions) else [str(sorted(roles))]


def every_policy_names_actions_and_resources(stack: Stack) -> list[str]:
    found = []
    for name, role in stack.of("AWS::IAM::Role").items():
        foreign = set(role.get("ManagedPolicyArns", [])) - stack.of("AWS::IAM::ManagedPolicy").keys() - AWS_POLICIES
        found += [f"{name} has {arn}" for arn in foreign]
        for document in policies(stack, name):
            for statement in listed(document["Statement"]):
                found += [f"{name}: {each}" for each in listed(statement["Resource"]) if "*" in each or not each]
                found += [f"{name}: {each}" for each in listed(statement["Action"]) if "*" in each]
    return found


def every_function_that_has_a_store_may_reach_it_and_no_other(stack: Stack) -> list[str]:
    store = stack.values.parameters["Store"]
    found = []
    for name in stack.of("AWS::Lambda::Function"):
        role = role_of(stack, name)
        reaches = {
            "serverless": may(stack, role, "elasticache:Connect", "ServerlessCache.ARN"),
            "durable": may(
                stack,
                role,
                "elasticache:Connect",
                "arn:aws:elasticache:eu-central-1:123456789012:replicationgroup:ReplicationGroup",
            ),
            "external": may(stack, role, "secretsmanager:GetSecretValue", EXTERNAL["RedisUrlSecretArn"]),
        }
        has_one = name != "GetOpenapiFunction"
        if [kind for kind, able in reaches.items() if able] != [store] * has_one:
            found.append(f"{name}: {reaches}")
        if (has_one and store != "external") != may(stack, role, "elasticache:Connect", "StoreUser.Arn"):
            found.append(f"{name}: as which user?")
    return found


def every_route_but_health_is_behind_the_authorizer(stack: Stack) -> list[str]:
    body = stack.of("AWS::ApiGatewayV2::Api")["Api"]["Body"]
    routes = {
        f"{method.upper()} {path}": operation
        for path, operations in body["paths"].items()
        for method, operation in operations.items()
    }
    found = [f"{route} goes nowhere" for route, each in routes.items() if "x-amazon-apigateway-integration" not in each]
    unguarded = {route for route, operation in routes.items() if operation.get("security") != [{"caller": []}]}
    found += [f"{route} is open, or not" for route in unguarded ^ OPEN]
    scheme = body["components"]["securitySchemes"]["caller"]
    if stack.values.parameters["JwtIssuer"]:
        jwt = {"issuer": "https://issuer.example.com", "audience": ["missions"]}
        good = scheme.get("x-amazon-apigateway-authorizer") == {
            "type": "jwt",
            "identitySource": "$request.header.Authorization",
            "jwtConfiguration": jwt,
        }
    else:
        good = (
            scheme.get("x-amazon-apigateway-authtype") == "awsSigv4" and "x-amazon-apigateway-authorizer" not in scheme
        )
    return found + ([] if good else [f"the authorizer is {scheme}"])


def cors_is_off_until_an_origin_is_given(stack: Stack) -> list[str]:
    cors = stack.of("AWS::ApiGatewayV2::Api")["Api"]["Body"].get("x-amazon-apigateway-cors")
    origin = stack.values.parameters["CorsOrigin"]
    return [] if (cors["allowOrigins"] == [origin] if origin else cors is None) else [f"{origin!r}: {cors}"]


def the_api_is_throttled_and_logged(stack: Stack) -> list[str]:
    (stage,) = stack.of("AWS::ApiGatewayV2::Stage").values()
    line = json.loads(stage.get("AccessLogSettings", {}).get("Format", "{}"))
    throttled = stage.get("DefaultRouteSettings", {}).keys() >= {"ThrottlingRateLimit", "ThrottlingBurstLimit"}
    return [] if throttled and line.keys() >= {"request_id", "route", "status"} else [str(stage)]


def what_is_kept_is_encrypted(stack: Stack) -> list[str]:
    found = []
    wanted: dict[str, dict[str, Any]] = {
        "AWS::Logs::LogGroup": {"KmsKeyId": "Key.Arn"},
        "AWS::SNS::Topic": {"KmsMasterKeyId": "Key"},
        "AWS::SQS::Queue": {"SqsManagedSseEnabled": True},
        "AWS::ElastiCache::ServerlessCache": {"KmsKeyId": "Key.Arn"},
        "AWS::ElastiCache::ReplicationGroup": {
            "KmsKeyId": "Key.Arn",
            "AtRestEncryptionEnabled": True,
            "TransitEncryptionEnabled": True,
        },
        "AWS::KMS::Key": {"EnableKeyRotation": True},
    }
    for kind, properties in wanted.items():
        for name, resource in stack.of(kind).items():
            found += [f"{name}: {key}" for key, value in properties.items() if resource.get(key) != value]
    return found


def the_store_is_spoken_to_in_tls_and_by_nobody_unknown(stack: Stack) -> list[str]:
    found = []
    for name, function in stack.of("AWS::Lambda::Function").items():
        variables = function["Environment"]["Variables"]
        iam = variables["REDIS_URL"].startswith("rediss://") and all(
            variables[each] for each in ("REDIS_IAM_USER", "REDIS_IAM_CACHE")
        )
        secret = variables["REDIS_URL"] == variables["REDIS_IAM_USER"] == "" and variables["REDIS_SECRET_ARN"]
        serverless = str(stack.values.parameters["Store"] == "serverless").lower()
        if not (iam or secret) or variables["REDIS_IAM_SERVERLESS"] != serverless:
            found.append(f"{name}: {variables}")
    for name, user in stack.of("AWS::ElastiCache::User").items():
        if user["UserName"] == "default":
            good = user["AccessString"].startswith("off ")
        else:
            good = user["AuthenticationMode"] == {"Type": "iam"} and user["UserId"] == user["UserName"]
        found += [] if good else [f"{name}: {user}"]
    for name, group in stack.of("AWS::ElastiCache::UserGroup").items():
        found += [] if ("NobodyElse" in group["UserIds"]) == (group["Engine"] == "redis") else [f"{name}: {group}"]
    caches = stack.of("AWS::ElastiCache::ServerlessCache") | stack.of("AWS::ElastiCache::ReplicationGroup")
    for name, cache in caches.items():
        groups = cache.get("UserGroupIds") or [cache.get("UserGroupId")]
        found += [] if groups == ["StoreUserGroup"] else [f"{name}: {groups}"]
    return found


def the_store_keeps_what_it_acknowledged(stack: Stack) -> list[str]:
    found = []
    for name, group in stack.of("AWS::ElastiCache::ReplicationGroup").items():
        parameters = stack.of("AWS::ElastiCache::ParameterGroup")[group["CacheParameterGroupName"]]["Properties"]
        wanted = {
            "Durability": "sync",
            "Engine": "valkey",
            "EngineVersion": "9.0",
            "MultiAZEnabled": True,
            "AutomaticFailoverEnabled": True,
            "ReplicasPerNodeGroup": 1,
        }
        found += [f"{name}: {key}" for key, value in wanted.items() if group.get(key) != value]
        found += [] if parameters == {"cluster-enabled": "yes", "maxmemory-policy": "noeviction"} else [str(parameters)]
        found += (
            [] if stack.resources[name].get("DeletionPolicy") == "Snapshot" else [f"{name} goes without a snapshot"]
        )
    caches = stack.of("AWS::ElastiCache::ServerlessCache")
    found += [f"{name} goes without a snapshot" for name, cache in caches.items() if "FinalSnapshotName" not in cache]
    for name, cache in (caches | stack.of("AWS::ElastiCache::ReplicationGroup")).items():
        found += [] if cache.get("SnapshotRetentionLimit", 0) >= 1 else [f"{name} makes no snapshots"]
    return found


def every_target_has_a_dead_letter_queue_that_takes_from_it(stack: Stack) -> list[str]:
    found = []
    taken = {
        arn
        for policy in stack.of("AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
        for arn in listed(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
    }
    for name, rule in stack.of("AWS::Events::Rule").items():
        found += [
            f"{name} has none"
            for each in rule["Targets"]
            if each.get("DeadLetterConfig") != {"Arn": "DeadLetterQueue.Arn"}
        ]
        found += [] if f"{name}.Arn" in taken else [f"{name} may not write to it"]
    for name, schedule in stack.of("AWS::Scheduler::Schedule").items():
        target = schedule["Target"]
        found += [] if target.get("DeadLetterConfig") == {"Arn": "DeadLetterQueue.Arn"} else [f"{name} has none"]
        role = target["RoleArn"].removesuffix(".Arn")
        found += [] if may(stack, role, "sqs:SendMessage", "DeadLetterQueue.Arn") else [f"{name} may not write to it"]
    return found


def every_log_is_kept_for_a_time_that_is_said(stack: Stack) -> list[str]:
    groups = stack.of("AWS::Logs::LogGroup")
    found = [name for name, group in groups.items() if group.get("RetentionInDays") != "365"]
    for name, function in stack.of("AWS::Lambda::Function").items():
        found += (
            [] if function.get("LoggingConfig", {}).get("LogGroup") in groups else [f"{name} makes a log of its own"]
        )
    for name, stage in stack.of("AWS::ApiGatewayV2::Stage").items():
        destination = stage.get("AccessLogSettings", {}).get("DestinationArn", "")
        found += [] if destination.removesuffix(".Arn") in groups else [f"{name} logs nowhere"]
    return found


def the_network_lets_the_functions_reach_the_store_and_nothing_else(stack: Stack) -> list[str]:
    found = []
    rules = {
        f"{name} {way}": rule
        for name, group in stack.of("AWS::EC2::SecurityGroup").items()
        for way in ("SecurityGroupIngress", "SecurityGroupEgress")
        for rule in group.get(way, [])
    }
    for kind in ("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress"):
        rules |= stack.of(kind)
    found += [name for name, rule in rules.items() if ANYWHERE & {rule.get("CidrIp"), rule.get("CidrIpv6")}]
    for name, group in stack.of("AWS::EC2::SecurityGroup").items():
        if not group.get("SecurityGroupEgress"):
            found.append(f"{name} lets everything out")  # what EC2 makes of no rule
    for name, rule in stack.of("AWS::EC2::SecurityGroupIngress").items():
        found += [] if rule.get("SourceSecurityGroupId") == "FunctionSecurityGroup" else [f"{name}: {rule}"]
    external = stack.values.parameters["Store"] == "external"
    store, endpoints = stack.of("AWS::EC2::SecurityGroup")["FunctionSecurityGroup"]["SecurityGroupEgress"]
    if external != (store.get("CidrIp") == "10.1.2.0/24") or external == (
        store.get("DestinationSecurityGroupId") == "StoreSecurityGroup"
    ):
        found.append(f"the way to the store: {store}")
    if (endpoints["FromPort"], endpoints["ToPort"]) != (443, 443) or "CidrIp" in endpoints:
        found.append(f"the way to the endpoints: {endpoints}")
    ways_out = ("NatGateway", "InternetGateway", "EgressOnlyInternetGateway", "EIP", "Route")
    found += [kind for kind in ways_out if stack.of(f"AWS::EC2::{kind}")]
    for name, function in stack.of("AWS::Lambda::Function").items():
        network = function.get("VpcConfig", {})
        if network.get("SecurityGroupIds") != ["FunctionSecurityGroup"] or len(set(network.get("SubnetIds", []))) < 2:
            found.append(f"{name} is not in the network")
    zones = {subnet["AvailabilityZone"] for subnet in stack.of("AWS::EC2::Subnet").values()}
    return found + ([] if len(zones) in (0, 2) else [f"zones: {zones}"])


def there_are_the_endpoints_that_are_needed_and_no_others(stack: Stack) -> list[str]:
    wanted = {"com.amazonaws.eu-central-1.events"}
    if stack.values.parameters["Store"] == "external":
        wanted.add("com.amazonaws.eu-central-1.secretsmanager")
    if stack.values.parameters["EndpointSecurityGroupId"]:
        wanted = set()
    endpoints = stack.of("AWS::EC2::VPCEndpoint")
    found = [str(each) for each in wanted ^ {endpoint["ServiceName"] for endpoint in endpoints.values()}]
    for name, endpoint in endpoints.items():
        for statement in endpoint["PolicyDocument"]["Statement"]:
            if "*" in statement["Resource"] or "Condition" not in statement:
                found.append(f"{name} lets through {statement}")
    return found


def alarms_and_failed_missions_reach_the_topic(stack: Stack) -> list[str]:
    alarms = stack.of("AWS::CloudWatch::Alarm")
    found = [name for name, alarm in alarms.items() if alarm.get("AlarmActions") != ["AlertTopic"]]
    store = {"serverless": {"CacheMemory", "Eviction"}, "durable": {"NodeMemory"}, "external": set()}
    wanted = {"ServerError", "Latency", "OutboxAge", "DeadEvents", "DeadLetterQueue"}
    wanted |= store[stack.values.parameters["Store"]]
    found += wanted ^ {name.removesuffix("Alarm") for name in alarms}
    (policy,) = stack.of("AWS::SNS::TopicPolicy").values()
    publishers = {
        statement["Principal"]["Service"]: "Condition" in statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "sns:Publish"
    }
    # with a condition EventBridge publishes nothing
    found += (
        [] if publishers == {"events.amazonaws.com": False, "cloudwatch.amazonaws.com": True} else [str(publishers)]
    )
    users = {
        str(service)
        for statement in stack.of("AWS::KMS::Key")["Key"]["KeyPolicy"]["Statement"]
        for service in listed(statement["Principal"].get("Service", []))
        if {"kms:Decrypt", "kms:GenerateDataKey*"} <= set(listed(statement["Action"]))
    }
    return found + [f"{service} has no key" for service in publishers.keys() - users]


def events_are_archived_and_audited(stack: Stack) -> list[str]:
    everything = {"source": ["missions_service"]}
    archives = [each for each in stack.of("AWS::Events::Archive").values() if each["SourceArn"] == "EventBus.Arn"]
    audits = [
        rule
        for rule in stack.of("AWS::Events::Rule").values()
        if rule["EventPattern"] == everything and [each["Arn"] for each in rule["Targets"]] == ["AuditLogs.Arn"]
    ]
    log = stack.of("AWS::Logs::LogGroup")["AuditLogs"]["LogGroupName"]
    document = json.loads(stack.of("AWS::Logs::ResourcePolicy")["AuditLogsPolicy"]["PolicyDocument"])
    allowed = {each["Action"] for each in document["Statement"] if each["Resource"] == "AuditLogs.Arn"}
    good = (
        [each["EventPattern"] for each in archives] == [everything]
        and len(audits) == 1
        and log.startswith("/aws/events/")
        and allowed == {"logs:CreateLogStream", "logs:PutLogEvents"}
    )
    return [] if good else [f"{archives} {audits} {log} {allowed}"]


def a_change_makes_a_new_version_that_may_start_from_a_snapshot(stack: Stack) -> list[str]:
    functions = {
        name: resource["Properties"]
        for name, resource in stack.written["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    found = [name for name, each in functions.items() if each.get("AutoPublishAliasAllProperties") is not True]
    layer = stack.written["Resources"]["MissionsLayer"]["Properties"]
    found += [] if layer.get("PublishLambdaVersion") is True else ["the layer"]
    for name, function in stack.of("AWS::Lambda::Function").items():
        found += [] if function.get("SnapStart") == {"ApplyOn": stack.values.parameters["SnapStart"]} else [name]
        found += [] if f"{name}Aliaslive" in stack.resources else [f"{name} has no alias"]
    return found


Promise = Callable[[Stack], list[str]]
Break = Callable[[dict[str, Any]], None]


def put(*path: str | int, value: Any) -> Break:
    """Break a template by setting what lies at this path of its resources."""

    def apply(resources: dict[str, Any]) -> None:
        node: Any = resources
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = value

    return apply


def drop(*path: str | int) -> Break:
    """Break a template by removing what lies at this path of its resources."""

    def apply(resources: dict[str, Any]) -> None:
        node: Any = resources
        for step in path[:-1]:
            node = node[step]
        del node[path[-1]]

    return apply


P = "Properties"
POLICY = ("PolicyDocument", "Statement", 0)
PATHS = ("Api", P, "DefinitionBody", "paths")
PLAIN_ROUTE = {
    "Type": "HttpApi",
    P: {"ApiId": {"Ref": "Api"}, "Method": "DELETE", "Path": "/api/missions/{mission_id}"},
}
DURABLE = {"Store": "durable"}
REDIS = {"Engine": "redis"}

# promise: how it may be broken, and in which deployment
BREAKS: dict[Promise, list[tuple[Break, dict[str, str]]]] = {
    only_those_who_write_may_put_events: [
        (put("GetLogFunction", P, "Policies", value=[{"Ref": "StorePolicy"}, {"Ref": "PutEventsPolicy"}]), {}),
        (put("CreateMissionFunction", P, "Policies", value=[{"Ref": "StorePolicy"}]), {}),
        (put("PutEventsPolicy", P, *POLICY, "Resource", value="*"), {}),
    ],
    the_bus_refuses_everybody_else_who_speaks_for_missions: [
        (drop("EventBusPolicy"), {}),
        (put("EventBusPolicy", P, "Statement", "Effect", value="Allow"), {}),
        (drop("EventBusPolicy", P, "Statement", "Condition", "ArnNotEquals", "aws:PrincipalArn", 3), {}),
        (
            put(
                "EventBusPolicy", P, "Statement", "Condition", "StringEquals", "events:source", value="another_service"
            ),
            {},
        ),
    ],
    every_function_has_a_role_of_its_own: [
        (put("GetLogFunction", P, "Role", value={"Fn::GetAtt": ["GetStatsFunctionRole", "Arn"]}), {}),
    ],
    every_policy_names_actions_and_resources: [
        (put("StorePolicy", P, *POLICY, "Fn::If", 2, "Resource", value="*"), {}),
        (put("StorePolicy", P, *POLICY, "Fn::If", 2, "Action", value="elasticache:*"), {}),
        (put("GetLogFunction", P, "Policies", value=["arn:aws:iam::aws:policy/AdministratorAccess"]), {}),
    ],
    every_function_that_has_a_store_may_reach_it_and_no_other: [
        (put("GetLogFunction", P, "Policies", value=[]), {}),
        (drop("StorePolicy", P, *POLICY, "Fn::If", 2, "Resource", 0), {}),
        (put("StorePolicy", P, *POLICY, "Fn::If", 0, value="Durable"), EXTERNAL),
    ],
    every_route_but_health_is_behind_the_authorizer: [
        (drop(*PATHS, "/api/missions", "post"), {}),
        (put(*PATHS, "/api/missions/{mission_id}/log", "get", "security", value=[]), {}),
        (put(*PATHS, "/api/missions/health", "get", "security", value=[{"caller": []}]), {}),
        (put("GetMissionFunction", P, "Events", "Another", value=PLAIN_ROUTE), {}),
        (
            put("Api", P, "DefinitionBody", "components", "securitySchemes", "caller", "Fn::If", 0, value="Cors"),
            {"JwtIssuer": "https://issuer.example.com", "JwtAudience": "missions"},
        ),
    ],
    cors_is_off_until_an_origin_is_given: [
        (put("Api", P, "DefinitionBody", "x-amazon-apigateway-cors", value={"allowOrigins": ["*"]}), {}),
    ],
    the_api_is_throttled_and_logged: [
        (drop("Api", P, "DefaultRouteSettings"), {}),
        (drop("Api", P, "AccessLogSettings"), {}),
    ],
    what_is_kept_is_encrypted: [
        (drop("AuditLogs", P, "KmsKeyId"), {}),
        (drop("AlertTopic", P, "KmsMasterKeyId"), {}),
        (put("DeadLetterQueue", P, "SqsManagedSseEnabled", value=False), {}),
        (drop("ServerlessCache", P, "KmsKeyId"), {}),
        (put("ReplicationGroup", P, "TransitEncryptionEnabled", value=False), DURABLE),
        (drop("Key", P, "EnableKeyRotation"), {}),
    ],
    the_store_is_spoken_to_in_tls_and_by_nobody_unknown: [
        (put("StoreUser", P, "AuthenticationMode", value={"Type": "no-password-required"}), {}),
        (put("StoreUser", P, "UserName", value="missions"), {}),
        (put("NobodyElse", P, "AccessString", value="on ~* +@all"), REDIS),
        (put("StoreUserGroup", P, "UserIds", value=[{"Ref": "StoreUser"}]), REDIS),
        (drop("ReplicationGroup", P, "UserGroupIds"), DURABLE),
        (put("HealthFunction", P, "Environment", value={"Variables": {"REDIS_URL": "redis://host"}}), {}),
    ],
    the_store_keeps_what_it_acknowledged: [
        (put("ReplicationGroup", P, "Durability", value="async"), DURABLE),
        (drop("ReplicationGroup", "DeletionPolicy"), DURABLE),
        (put("StoreParameters", P, P, "maxmemory-policy", value="volatile-lru"), DURABLE),
        (drop("ServerlessCache", P, "FinalSnapshotName"), {}),
        (drop("ServerlessCache", P, "SnapshotRetentionLimit"), {}),
    ],
    every_target_has_a_dead_letter_queue_that_takes_from_it: [
        (drop("AuditRule", P, "Targets", 0, "DeadLetterConfig"), {}),
        (drop("RelayEventsFunction", P, "Events", "EveryMinute", P, "DeadLetterConfig"), {}),
        (drop("DeadLetterQueuePolicy", P, *POLICY, "Condition", "ArnEquals", "aws:SourceArn", 0), {}),
    ],
    every_log_is_kept_for_a_time_that_is_said: [
        (drop("AccessLogs", P, "RetentionInDays"), {}),
        (put("GetLogFunction", P, "LoggingConfig", value={"LogGroup": "mine"}), {}),
        (drop("Api", P, "AccessLogSettings"), {}),
    ],
    the_network_lets_the_functions_reach_the_store_and_nothing_else: [
        (put("StoreIngress", P, "CidrIp", value="0.0.0.0/0"), {}),
        (drop("StoreIngress", P, "SourceSecurityGroupId"), {}),
        (drop("StoreSecurityGroup", P, "SecurityGroupEgress"), {}),
        (put("FunctionSecurityGroup", P, "SecurityGroupEgress", 1, "CidrIp", value="0.0.0.0/0"), {}),
        (put("Gateway", value={"Type": "AWS::EC2::InternetGateway"}), {}),
        (put("SubnetB", P, "AvailabilityZone", value={"Fn::Select": [0, {"Fn::GetAZs": ""}]}), {}),
        (put("GetLogFunction", P, "VpcConfig", value={"SubnetIds": ["a"], "SecurityGroupIds": ["b"]}), {}),
    ],
    there_are_the_endpoints_that_are_needed_and_no_others: [
        (drop("EventsEndpoint"), {}),
        (put("SecretsEndpoint", "Condition", value="OwnEndpoints"), {}),
        (put("EventsEndpoint", P, *POLICY, "Resource", value="*"), {}),
    ],
    alarms_and_failed_missions_reach_the_topic: [
        (drop("LatencyAlarm"), {}),
        (drop("EvictionAlarm", P, "AlarmActions"), {}),
        (
            put("AlertTopicPolicy", P, *POLICY, "Condition", value={"ArnEquals": {"aws:SourceArn": "FailedRule.Arn"}}),
            {},
        ),
        (drop("Key", P, "KeyPolicy", "Statement", 2), {}),
    ],
    events_are_archived_and_audited: [
        (drop("Archive"), {}),
        (put("AuditRule", P, "EventPattern", "detail-type", value=["mission.created"]), {}),
        (put("AuditLogs", P, "LogGroupName", value="audit"), {}),
    ],
    a_change_makes_a_new_version_that_may_start_from_a_snapshot: [
        (drop("GetLogFunction", P, "AutoPublishAliasAllProperties"), {}),
        (drop("MissionsLayer", P, "PublishLambdaVersion"), {}),
    ],
}


@pytest.fixture(scope="module", params=DEPLOYMENTS)
def stack(request: pytest.FixtureRequest) -> Stack:
    return Stack(**DEPLOYMENTS[request.param])


@pytest.mark.parametrize("promise", BREAKS, ids=lambda promise: promise.__name__)
def test_the_stack_keeps_its_promise(stack: Stack, promise: Promise) -> None:
    assert promise(stack) == []


@pytest.mark.parametrize(
    ("promise", "number"),
    [(promise, number) for promise, ways in BREAKS.items() for number in range(len(ways))],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_broken_promise_is_noticed(promise: Promise, number: int) -> None:
    break_it, given = BREAKS[promise][number]
    template = source()
    break_it(template["Resources"])
    assert promise(Stack(template, **given)) != []


def test_every_suppression_of_a_check_says_why() -> None:
    for file in ("template.yaml", "events/workflow.yaml"):
        template = source(file)
        for holder in (template, *template["Resources"].values()):
            for skip in holder.get("Metadata", {}).get("checkov", {}).get("skip", []):
                assert len(skip["comment"]) > 20, skip
