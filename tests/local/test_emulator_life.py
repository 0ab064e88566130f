"""How the emulated cloud begins and ends."""

import botocore.session
import pytest
from moto.dynamodb.models.table import Table

from chalicelib.adapters.aws import Aws
from chalicelib.local import moto_shim
from chalicelib.local.emulator import safe_moto
from chalicelib.local.problems import EmulatorVersionError


def test_an_emulated_call_never_carries_the_users_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "REAL")
    monkeypatch.setenv("AWS_PROFILE", "production")
    with safe_moto():
        assert botocore.session.Session().get_credentials().access_key == "emulated"
    assert botocore.session.Session(profile="x").get_config_variable("profile") == "x"


def test_another_version_of_moto_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moto_shim, "moto_version", "99.0")
    with pytest.raises(EmulatorVersionError, match=r"moto 99\.0 .* --storage memory"), safe_moto():
        pass


def test_moto_is_itself_again_afterwards() -> None:
    original = Table.query
    with safe_moto():
        assert Table.query is not original
    assert Table.query is original


def test_a_block_within_a_block_shares_its_cloud() -> None:
    with safe_moto():
        client = Aws("us-east-1").client("sqs")
        client.create_queue(QueueName="outer")
        with safe_moto():
            assert client.get_queue_url(QueueName="outer")["QueueUrl"]
        assert client.get_queue_url(QueueName="outer")["QueueUrl"]


def test_every_cloud_begins_empty() -> None:
    for _ in range(2):
        with safe_moto():
            client = Aws("us-east-1").client("sqs")
            assert "QueueUrls" not in client.list_queues()
            client.create_queue(QueueName="left")
