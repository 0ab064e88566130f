"""Texts that are kept in AWS Secrets Manager."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.adapters.aws import Aws
from chalicelib.errors import IdentityUnavailableException


def secret_text(aws: Aws, secret_id: str) -> str:
    """The present text of a secret, by its name or ARN. Raises IdentityUnavailableException."""
    try:
        answer = aws.client("secretsmanager").get_secret_value(SecretId=secret_id)
    except (BotoCoreError, ClientError) as error:
        raise IdentityUnavailableException(f"Secret {secret_id} cannot be read: {error}") from error
    text: str = answer.get("SecretString") or ""
    return text
