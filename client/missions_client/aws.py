"""What is asked of AWS besides the API: a region, the outputs of a stack, and the operator function."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from missions_client.errors import CannotSignIn, Misconfigured, MissionsError, Unreachable, one_line

MISSING = "This needs botocore: pip install 'missions-client[aws]'"


def region(url: str, profile: str | None) -> str:
    """The region of this API at API Gateway, or that of the profile for a domain of its own. Raises MissionsError."""
    from missions_client.auth import API_GATEWAY

    if at := API_GATEWAY.fullmatch(urlsplit(url).hostname or ""):
        return at["region"]
    with errors():
        found = session(profile).get_config_variable("region")
    if not found:
        raise Misconfigured(f"The profile '{profile}' has no region to sign for: aws configure set region ...")
    return str(found)


def outputs(stack: str, profile: str | None) -> dict[str, str]:
    """The outputs of a stack of CloudFormation. Raises MissionsError."""
    with errors():
        answer = session(profile).create_client("cloudformation").describe_stacks(StackName=stack)
    return {each["OutputKey"]: each["OutputValue"] for each in answer["Stacks"][0].get("Outputs", ())}


class Operator:
    """The operator function of a stack."""

    def __init__(self, stack: str, profile: str | None) -> None:
        name = outputs(stack, profile).get("OperatorFunctionName")
        if not name:
            raise MissionsError(f"The stack {stack} has no output OperatorFunctionName. Is it one of Missions?")
        self._name = name
        with errors():
            self._client: Any = session(profile).create_client("lambda")

    def __call__(self, payload: Any) -> Any:
        """What it answers. Raises MissionsError, also if it failed."""
        with errors():
            answer = self._client.invoke(FunctionName=self._name, Payload=json.dumps(payload))
            said = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise MissionsError(f"The operator function failed: {one_line(str(said.get('errorMessage', '')))}")
        return said


def session(profile: str | None) -> Any:
    try:
        import botocore.session
    except ImportError:
        raise MissionsError(MISSING) from None
    return botocore.session.Session(profile=profile)


@contextmanager
def errors() -> Iterator[None]:
    """Errors of botocore as those of this package."""
    try:
        import botocore.exceptions as of
        from botocore.parsers import ResponseParserError
    except ImportError:
        raise MissionsError(MISSING) from None
    try:
        yield
    except of.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status in (401, 403):
            raise CannotSignIn(f"AWS refused this: {one_line(str(error))}") from None
        raise MissionsError(f"AWS refused this: {one_line(str(error))}") from None
    except of.ProfileNotFound as error:
        raise Misconfigured(f"{error}. `aws configure list-profiles` shows those that are there.") from None
    except (of.NoCredentialsError, of.PartialCredentialsError, of.TokenRetrievalError, of.SSOError) as error:
        raise CannotSignIn(f"There are no AWS credentials: {one_line(str(error))}") from None
    except (of.HTTPClientError, of.ConnectionError) as error:
        raise Unreachable(f"AWS does not answer: {one_line(str(error))}") from None
    except of.NoRegionError:
        raise Misconfigured("AWS needs a region: set AWS_REGION, or one in the profile.") from None
    except (of.BotoCoreError, ResponseParserError) as error:
        raise MissionsError(f"AWS cannot be asked: {one_line(str(error))}") from None
    except RuntimeError as error:  # credentials that have expired, and could not be renewed
        raise CannotSignIn(f"There are no AWS credentials: {one_line(str(error))}") from None
