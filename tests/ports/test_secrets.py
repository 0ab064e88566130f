"""Texts in AWS Secrets Manager."""

import pytest

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.secrets import secret_text
from chalicelib.errors import IdentityUnavailableException
from chalicelib.local.emulator import safe_moto


def test_a_secret_is_read_by_its_name():
    with safe_moto():
        aws = Aws("us-east-1")
        aws.client("secretsmanager").create_secret(Name="mine-token-secret", SecretString="s" * 40)

        assert secret_text(aws, "mine-token-secret") == "s" * 40


def test_a_secret_that_is_not_there_is_named():
    with safe_moto(), pytest.raises(IdentityUnavailableException, match="absent"):
        secret_text(Aws("us-east-1"), "absent")
