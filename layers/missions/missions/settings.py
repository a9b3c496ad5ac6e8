"""What the environment says, read at the first request. (The runtime's own variables are read where they are used.)"""

import os
from math import ceil
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """What the service takes from its environment, besides those of AWS's own libraries."""

    model_config = ConfigDict(frozen=True, defer_build=True, hide_input_in_errors=True)

    redis_url: str = ""
    redis_secret_arn: str = ""  # the secret that holds the URL instead
    redis_iam_user: str = ""  # the ElastiCache user to sign in as, with the role of the function
    redis_iam_cache: str = ""  # the name of the cache that the user belongs to
    redis_iam_serverless: bool = False
    redis_ca: str = ""  # base64 of DER: the certificate of the authority that vouches for the store
    event_bus_name: str = ""
    namespace_claim: str = ""  # the claim of a caller's token that names its namespace
    idempotency_key_life: int = Field(24 * 3600, ge=60, le=365 * 24 * 3600)  # seconds
    retention_days: float = Field(90, ge=0, le=3650)  # that a finished mission is kept; 0 is for ever
    archive_bucket: str = ""  # the S3 bucket to which a mission is written before its retention removes it
    aws_region: str | None = None  # botocore itself reads only AWS_DEFAULT_REGION; Lambda sets both

    @model_validator(mode="after")
    def _one_store(self) -> Self:
        if bool(self.redis_url) == bool(self.redis_secret_arn):
            raise ValueError("set either REDIS_URL, or REDIS_SECRET_ARN to a secret that holds it")
        if self.redis_iam_user and not (self.redis_iam_cache and self.redis_url.startswith("rediss://")):
            raise ValueError("REDIS_IAM_USER needs REDIS_IAM_CACHE, and a REDIS_URL that begins with rediss://")
        if self.redis_ca and self.redis_url.startswith("redis:"):
            raise ValueError("REDIS_CA is for a URL that begins with rediss://")
        return self

    @property
    def keep(self) -> int:
        """How many seconds a finished mission is kept; 0 is for ever."""
        return ceil(self.retention_days * 86400)

    @classmethod
    def from_environment(cls) -> Self:
        """The settings. Raises pydantic's ValidationError, which names the variable at fault and not its value."""
        given = {name: os.environ[name.upper()] for name in cls.model_fields if name.upper() in os.environ}
        return cls.model_validate(given)
