"""The one place where the environment is read: at first use, never at import."""

import os
from functools import cache

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """What the service takes from its environment, beside boto3's own variables."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    redis_url: str = Field(min_length=1)
    redis_cluster: bool = False
    event_bus_name: str = ""
    namespace_claim: str = ""  # the claim of a caller's token that names its namespace
    idempotency_key_life: int = Field(24 * 3600, ge=60)  # seconds
    aws_sam_local: bool = False  # sam local sets it
    aws_region: str | None = None  # boto3 itself reads only AWS_DEFAULT_REGION; Lambda sets both


@cache
def settings() -> Settings:
    """The settings; raises pydantic's ValidationError that names the variable at fault."""
    return Settings.model_validate({name.lower(): value for name, value in os.environ.items()})
