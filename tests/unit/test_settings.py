"""The settings of actions are read with care: what makes no sense is told by the variable's name."""

from __future__ import annotations

import pytest

from chalicelib.actions.egress import policy_from
from chalicelib.errors import MistralError, UrlNotAllowedException
from chalicelib.services.messages import target_fault
from chalicelib.settings import Settings

PUBLIC = {"MISTRAL_STAGE": "prod", "MISTRAL_AUTH": "api-key"}


def test_networks_and_hosts_are_lists():
    settings = Settings.from_environment(
        {"MISTRAL_EGRESS_DENIED": "private, 203.0.113.0/24", "MISTRAL_EGRESS_HOSTS": "api.example.org,"}
    )
    assert settings.egress_denied == ("private", "203.0.113.0/24")
    assert settings.egress_hosts == frozenset({"api.example.org"})


def test_the_policy_of_a_local_service_denies_only_what_is_asked_for():
    policy = policy_from(["private"], frozenset(), is_local=True)
    assert not policy.denies("127.0.0.1")
    assert policy.denies("10.1.2.3")
    assert policy.allowed_hosts is None


def test_the_policy_elsewhere_denies_more_and_never_less():
    policy = policy_from(["203.0.113.7"], frozenset({"api.example.org"}), is_local=False)
    assert all(policy.denies(address) for address in ("127.0.0.1", "169.254.169.254", "203.0.113.7"))
    assert not policy.denies("10.1.2.3")
    with pytest.raises(UrlNotAllowedException, match="not in the list of allowed hosts"):
        policy.check_url("https://example.net/")


def test_a_network_that_is_none_is_told():
    with pytest.raises(MistralError, match="MISTRAL_EGRESS_DENIED lists networks, and the word private: 'intranet'"):
        policy_from(["intranet"], frozenset(), is_local=True)


@pytest.mark.parametrize("name", ["tasks", "tasks-long", "notifications", "gpu-dead", "a b", "", "x" * 61, "a/b"])
def test_a_target_may_not_take_the_name_of_a_queue_of_the_service(name):
    assert target_fault(name) is not None
    if name:
        with pytest.raises(MistralError, match="MISTRAL_TARGETS"):
            Settings.from_environment({"MISTRAL_TARGETS": f"gpu,{name}"})


def test_targets_are_names():
    assert Settings.from_environment({"MISTRAL_TARGETS": "gpu,edge_1"}).targets == {"gpu", "edge_1"}


def test_a_file_of_secrets_is_for_a_local_service_only():
    assert Settings.from_environment({"MISTRAL_SECRETS_FILE": "s.json"}).secrets_file == "s.json"
    with pytest.raises(MistralError, match="MISTRAL_SECRETS_FILE is for a local service only"):
        Settings.from_environment(PUBLIC | {"MISTRAL_SECRETS_FILE": "s.json"})
