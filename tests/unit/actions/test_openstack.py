"""Actions of OpenStack: its own clients talk to a cloud on 127.0.0.1."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest

from chalicelib.actions import openstack_services
from chalicelib.actions.action import ActionContext, perform
from chalicelib.actions.egress import EgressPolicy
from chalicelib.actions.openstack_services import SERVICES
from chalicelib.actions.openstack_values import to_json
from chalicelib.actions.registry import OPENSTACK_NAMESPACES, Registry
from chalicelib.actions.secrets import GivenSecrets, Secrets
from chalicelib.errors import ActionException, InvalidActionException
from chalicelib.limits import ACTION_DESCRIPTION_CHARACTERS_MAX, OPENSTACK_ITEMS_MAX
from chalicelib.vocabulary import Json, Result
from tests.openstack_cloud import PASSWORD, PROJECT_ID, OpenStack, openstack
from tests.unit.actions.calling import HANGS_SEC, OPEN
from tests.unit.actions.http_server import self_signed_certificate

REGISTRY = Registry()
SOME = {"auth_url": "http://127.0.0.1:9", "username": "u", "password": "p"}
BOOT = {"name": "web", "image": "img-1", "flavor": "small"}


@pytest.fixture
def cloud() -> Iterator[OpenStack]:
    with openstack() as running:
        yield running


def seen_by(credentials: Json, **changes: Any) -> ActionContext:
    """An executor's context, with these credentials in the project's secret."""
    secrets = Secrets(GivenSecrets({"openstack": credentials}))
    seen = ActionContext(secrets=secrets, egress=OPEN, project_id="p", deadline_sec=20.0, is_executor=True)
    return replace(seen, **changes)


def call(cloud: OpenStack | ActionContext, name: str, /, **input: Json) -> Result:
    action = REGISTRY.find(name)
    assert action is not None, name
    action.check(input)
    return perform(action, input, seen_by(cloud.credentials()) if isinstance(cloud, OpenStack) else cloud)


# -- what there is


@pytest.mark.parametrize(
    "name",
    [
        "nova.servers_create",
        "nova.servers_find",
        "nova.servers_list",
        "nova.servers_interface_attach",
        "nova.flavors_list",
        "nova.keypairs_create",
        "nova.glance_find_image",
        "neutron.create_floatingip",
        "neutron.list_security_groups",
        "neutron.firewall_policy_insert_rule",
        "glance.images_upload",
        "glance.schemas_get",
        "cinder.volumes_upload_to_image",
        "cinder.backups_create",
        "keystone.users_update",
        "keystone.role_assignments_list",
        "heat.stacks_create",
        "heat.actions_check",
        "swift.head_account",
        "swift.put_object",
    ],
)
def test_the_names_are_those_of_mistral(name):
    action = REGISTRY.find(name)
    assert action is not None
    assert action.name == name
    assert name in {summary.name for summary in REGISTRY.page(prefix=name)}
    assert name in {summary.name for summary in REGISTRY.of_openstack()}


@pytest.mark.parametrize(
    "name",
    [
        "nova.",
        "nova.servers_destroy",
        "nova.servers_run_hooks",
        "nova.servers",
        "nova.client_get",
        "neutron.do_request",
        "neutron.get",
        "swift.get_auth",
        "keystone.users_build_url",
        "glance.http_client_get",
        "cinder.api_version_matches",
    ],
)
def test_what_is_no_call_to_a_cloud_is_no_action(name):
    assert REGISTRY.find(name) is None


def test_every_service_has_its_actions_in_order():
    assert SERVICES.keys() == OPENSTACK_NAMESPACES
    names = [summary.name for summary in REGISTRY.of_openstack()]
    assert names == sorted(names)
    least = {"nova": 140, "neutron": 180, "glance": 50, "cinder": 120, "keystone": 90, "heat": 45, "swift": 15}
    for namespace, count in least.items():
        assert sum(name.startswith(f"{namespace}.") for name in names) >= count, namespace
        assert [summary.name for summary in REGISTRY.page(prefix=f"{namespace}.", limit=2)] == [
            name for name in names if name.startswith(f"{namespace}.")
        ][:2]


def test_the_signature_of_the_method_gives_the_parameters():
    find = REGISTRY.find("nova.servers_find")
    create = REGISTRY.find("nova.servers_create")
    users = REGISTRY.find("keystone.users_create")
    assert find is not None
    assert create is not None
    assert users is not None
    assert find.signature_text == 'action_region="", **kwargs'
    assert create.signature_text.startswith('name, image, flavor, action_region="", meta=null')
    assert "action_region" not in users.signature_text
    assert create.description.startswith("Create (boot) a new server.")
    assert {parameter.name: parameter.description for parameter in create.parameters}["flavor"] != ""
    assert all(len(summary.description) <= ACTION_DESCRIPTION_CHARACTERS_MAX for summary in REGISTRY.of_openstack())


def test_wrong_names_of_parameters_are_refused_before_anything_is_called():
    delete = REGISTRY.find("nova.servers_delete")
    assert delete is not None
    with pytest.raises(InvalidActionException, match=r"missing=\['server'\], unexpected=\['id'\]"):
        delete.check({"id": "1"})


def test_a_misspelt_name_is_answered_with_a_right_one():
    assert "nova.servers_create" in REGISTRY.names_like("nova.server_create")


# -- what it costs


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh process has after some code."""
    script = f"import sys\n{code}\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


CLIENTS = {service.package for service in SERVICES.values()} | {"keystoneauth1"}


def test_the_application_imports_no_client():
    assert not modules_after("import app") & CLIENTS


def test_a_lookup_imports_the_client_it_needs_and_others_none():
    code = "from chalicelib.actions.registry import Registry; r = Registry(); {}"
    others = "r.find('std.echo'); r.find('acme.order'); r.page(prefix='std.'); r.hand_made()"
    assert not modules_after(code.format(others)) & CLIENTS
    found = modules_after(code.format("r.find('nova.servers_find')")) & CLIENTS
    assert found == {"keystoneauth1", "novaclient"}


def test_finding_and_listing_are_quick_once_the_clients_are_there():
    assert len(REGISTRY.of_openstack()) > 900
    before = time.process_time()
    for _ in range(100):
        REGISTRY.of_openstack()
        REGISTRY.find("nova.servers_find")
        REGISTRY.find("std.echo")
    assert (time.process_time() - before) / 100 < 0.1


# -- without the extra


@pytest.fixture
def without_clients(monkeypatch) -> Registry:
    monkeypatch.setattr(openstack_services, "find_spec", lambda name: None if name in CLIENTS else find_spec(name))
    return Registry()


def test_without_the_clients_nothing_is_listed_and_running_says_what_to_install(without_clients):
    assert without_clients.of_openstack() == []
    assert without_clients.page(prefix="nova.") == []
    absent = without_clients.find("nova.servers_create")
    assert absent is not None
    absent.check(BOOT)
    result = perform(absent, BOOT, ActionContext())
    assert "python-novaclient is not installed here" in result.error
    assert "pip install 'mistral-serverless[openstack]'" in result.error
    assert without_clients.find("nova.") is None
    assert without_clients.find("acme.servers_create") is None


def test_a_client_that_is_broken_breaks_nothing_but_itself(monkeypatch, caplog):
    def connect(*_: object) -> None:
        raise ImportError("a part is missing")

    monkeypatch.setitem(SERVICES, "nova", replace(SERVICES["nova"], connect=connect))
    found = Registry()
    assert found.find("nova.servers_list") is None
    assert found.find("nova.servers_find") is None
    assert found.find("glance.images_list") is not None
    assert caplog.text.count("The client of OpenStack's nova cannot be used") == 1


# -- calls


def test_a_server_is_created_found_and_deleted(cloud):
    created = call(cloud, "nova.servers_create", **BOOT)
    assert created.error is None
    assert created.data["id"] in cloud.servers
    found = call(cloud, "nova.servers_find", id=created.data["id"], status="ACTIVE")
    assert (found.data["name"], found.data["status"]) == ("web", "ACTIVE")
    assert json.loads(json.dumps(found.data)) == found.data
    assert [server["id"] for server in call(cloud, "nova.servers_list").data] == [created.data["id"]]
    deleted = call(cloud, "nova.servers_delete", server=created.data["id"])
    assert (deleted.error, deleted.data, cloud.servers) == (None, [], {})


def test_one_login_and_one_question_for_the_version_serve_many_calls(cloud):
    for _ in range(3):
        assert call(cloud, "nova.servers_list").error is None
    # Each call of this test reads the secret anew; the login goes by what it says.
    assert cloud.asked("POST", "/v3/auth/tokens") == 1
    assert cloud.asked("GET", "/servers/detail") == 3
    assert sum(path.endswith(("/compute", "/compute/", "/v2.1", "/v2.1/")) for _, path in cloud.seen) == 1


def test_a_token_that_the_cloud_has_revoked_is_renewed(cloud):
    assert call(cloud, "nova.servers_list").error is None
    cloud.revoked.update(cloud.tokens)
    assert call(cloud, "nova.servers_list").error is None
    cloud.revoked.update(cloud.tokens)
    assert cloud.asked("POST", "/v3/auth/tokens") == 2
    assert call(cloud, "swift.put_object", container="c", obj="o", contents="text").error is None
    assert cloud.objects == {"c/o": b"text"}
    assert cloud.asked("POST", "/v3/auth/tokens") == 3


def test_networks_images_volumes_stacks_projects_and_objects(cloud):
    network = call(cloud, "neutron.create_network", body={"network": {"name": "front"}})
    assert network.data["network"]["name"] == "front"
    listed = call(cloud, "neutron.list_networks")
    assert listed.data == {"networks": [{"id": "net-0", "status": "ACTIVE", "name": "front"}]}
    call(cloud, "neutron.delete_network", network="net-0")
    assert cloud.networks == {}
    assert call(cloud, "glance.images_list").data[0]["name"] == "cirros"
    assert call(cloud, "glance.images_data", image_id="img-1").data == "\x00\x01image"
    assert call(cloud, "cinder.volumes_create", size=3, name="disk").data["status"] == "creating"
    assert call(cloud, "heat.stacks_create", stack_name="s", template={}).data["stack"]["id"] == "stack-1"
    assert [project["id"] for project in call(cloud, "keystone.projects_list").data] == [PROJECT_ID]
    assert call(cloud, "swift.put_object", container="c", obj="o", contents="text").data == "abc"
    assert call(cloud, "swift.get_object", container="c", obj="o").data[1] == "text"


def test_the_region_is_that_of_the_parameter_else_of_the_credentials(cloud):
    call(cloud, "nova.servers_create", action_region="RegionTwo", **BOOT)
    call(cloud, "nova.servers_create", action_region="", **BOOT)
    assert [server["region"] for server in cloud.servers.values()] == ["RegionTwo", "RegionOne"]
    nowhere = call(cloud, "nova.servers_create", action_region="Atlantis", **BOOT)
    assert "no public endpoint of the service type compute in the region Atlantis" in nowhere.error
    assert "action_region must be text" in call(cloud, "nova.servers_list", action_region=5).error


@pytest.mark.parametrize(
    "auth",
    [
        {"username": "demo", "password": PASSWORD, "project_name": "demo", "project_domain_name": "Default"},
        {"user_id": "u1", "password": PASSWORD, "project_id": PROJECT_ID},
        {"token": PASSWORD, "project_id": PROJECT_ID},
    ],
)
def test_logins_with_passwords_and_tokens(cloud, auth):
    credentials = {"auth": {"auth_url": f"{cloud.url}/identity/v3/", **auth}}
    assert call(seen_by(credentials), "nova.servers_list").data == []


def test_a_login_with_an_application_credential(cloud):
    auth = {
        "auth_url": f"{cloud.url}/identity",
        "application_credential_id": "ac",
        "application_credential_secret": PASSWORD,
    }
    assert call(seen_by({"auth_type": "v3applicationcredential", "auth": auth}), "nova.servers_list").data == []


# -- what goes wrong


def test_errors_of_a_cloud_are_told_in_mistrals_form(cloud):
    missing = call(cloud, "nova.servers_get", server="gone")
    assert missing.error.startswith("The action raised an exception [action=nova.servers_get, action_ex_id=")
    assert "msg='NovaAction.servers.get failed: Instance could not be found. (HTTP 404)" in missing.error
    assert "NovaAction.servers.find failed: No Server matching" in call(cloud, "nova.servers_find", id="x").error
    cloud.quota = 0
    assert "Quota exceeded for instances" in call(cloud, "nova.servers_create", **BOOT).error
    lost = call(cloud, "neutron.delete_network", network="net-9")
    assert "NeutronAction.delete_network failed: Network net-9 could not be found." in lost.error
    assert "HeatAction.stacks.get failed" in call(cloud, "heat.stacks_get", stack_id="s").error


def test_wrong_credentials_say_so_and_never_what_they_are(cloud, caplog):
    caplog.set_level(logging.DEBUG)
    credentials = cloud.credentials()
    credentials["auth"]["password"] = "wrong-password"
    result = call(seen_by(credentials), "nova.servers_list")
    assert "requires authentication" in result.error
    assert "(HTTP 401)" in result.error
    assert "wrong-password" not in result.error + caplog.text


def test_neither_password_nor_token_is_logged_or_shown(cloud, caplog):
    caplog.set_level(logging.DEBUG)
    result = call(cloud, "nova.servers_create", **{**BOOT, "name": PASSWORD})
    call(cloud, "swift.get_object", container="c", obj="o")
    found = call(cloud, "nova.servers_get", server=result.data["id"])
    assert found.data["name"] == "***"
    assert PASSWORD not in caplog.text
    assert not any(token in caplog.text for token in cloud.tokens)


def test_a_cloud_that_is_not_there_is_an_error():
    with openstack() as cloud:
        credentials = cloud.credentials()
    result = call(seen_by(credentials), "nova.servers_list")
    assert "NovaAction.servers.list failed: Unable to establish connection" in result.error


def test_a_silent_cloud_takes_no_longer_than_the_action_has(cloud):
    cloud.is_silent = True
    before = time.monotonic()
    result = call(seen_by(cloud.credentials(), deadline_sec=0.3), "nova.servers_list")
    assert "timed out" in result.error
    assert time.monotonic() - before < HANGS_SEC


def test_without_any_time_left_a_call_ends_at_once(cloud):
    assert "failed" in call(seen_by(cloud.credentials(), deadline_sec=0.0), "nova.servers_list").error


def test_all_requests_of_one_call_share_its_time(cloud):
    assert call(cloud, "nova.servers_list").error is None
    cloud.is_silent = True
    result = call(seen_by(cloud.credentials(), deadline_sec=0.3), "nova.servers_list")
    assert "failed" in result.error
    swift = call(seen_by(cloud.credentials(), deadline_sec=0.3), "swift.get_object", container="c", obj="o")
    assert "failed" in swift.error


def test_the_egress_policy_holds_for_keystone_and_for_every_endpoint(cloud):
    refused = call(seen_by(cloud.credentials(), egress=EgressPolicy()), "nova.servers_list")
    assert "resolves to a blocked address (127.0.0.1)" in refused.error
    assert cloud.seen == []
    elsewhere = EgressPolicy((), frozenset({"cloud.example.org"}))
    assert (
        "not in the list of allowed hosts"
        in call(seen_by(cloud.credentials(), egress=elsewhere), "swift.head_account").error
    )
    named = EgressPolicy((), frozenset({"localhost"}))
    credentials = cloud.credentials()
    credentials["auth"]["auth_url"] = credentials["auth"]["auth_url"].replace("127.0.0.1", "localhost")
    for name in ("nova.servers_list", "swift.head_account", "glance.images_list"):
        result = call(seen_by(credentials, egress=named), name)
        assert "Host '127.0.0.1' is not in the list of allowed hosts" in result.error
    assert {path for _, path in cloud.seen} == {"/identity/v3/auth/tokens"}


@pytest.mark.parametrize(
    ("credentials", "fault"),
    [
        ("no object", "no JSON object with the key 'auth'"),
        ({"auth": "x"}, "no JSON object with the key 'auth'"),
        ({"auth": {"username": "u"}}, "auth lacks auth_url and password"),
        ({"auth": {"auth_url": 5, "password": "p"}}, "something else than text"),
        ({"auth": SOME | {"pasword": "p"}}, "unknown keys for password: pasword"),
        ({"auth": SOME, "auth_type": "v3kerberos"}, "auth_type is password, token or"),
        ({"auth": SOME, "interface": "secret"}, "interface is one of public, internal, admin"),
        ({"auth": SOME, "region_name": 5}, "region_name must be text"),
        ({"auth": SOME, "cacert": "/etc/passwd"}, "no path"),
    ],
)
def test_credentials_that_make_no_sense_say_what_is_wrong(credentials, fault):
    assert fault in call(seen_by(credentials), "nova.servers_list").error


def test_without_the_secret_or_outside_an_executor_there_is_no_cloud():
    absent = ActionContext(secrets=Secrets(GivenSecrets({})), egress=OPEN)
    assert "secret://openstack cannot be read" in call(absent, "nova.servers_list").error
    assert "in an executor only" in call(ActionContext(egress=OPEN), "nova.servers_list").error
    find = REGISTRY.find("nova.servers_find")
    assert find is not None
    assert not find.is_pure({})


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_certificates_of_the_secret_are_what_a_cloud_is_checked_by(tmp_path):
    certificate = self_signed_certificate("localhost", tmp_path)
    text = certificate.read_text().partition("-----BEGIN PRIVATE")[0]
    with openstack(certificate) as cloud:
        for name in ("nova.servers_list", "glance.images_list", "swift.put_object"):
            input = {"container": "c", "obj": "o", "contents": "x"} if name.startswith("swift") else {}
            assert call(seen_by(cloud.credentials(cacert=text)), name, **input).error is None, name
            assert call(seen_by(cloud.credentials(verify=False)), name, **input).error is None, name
            refused = call(seen_by(cloud.credentials(), project_id=name), name, **input)
            assert "certificate" in refused.error, name


def test_each_project_has_its_own_login(cloud):
    call(seen_by(cloud.credentials(), project_id="one"), "nova.servers_list")
    call(seen_by(cloud.credentials(), project_id="two"), "nova.servers_list")
    assert cloud.asked("POST", "/v3/auth/tokens") == 2


# -- values


def test_answers_become_plain_json():
    class Thing:
        def to_dict(self) -> dict[str, Any]:
            return {"id": 1, "tags": {"a"}, "ratio": float("inf")}

    assert to_json([Thing(), (1, "x"), b"\xff"]) == [
        {"id": 1, "tags": ["a"], "ratio": "inf"},
        [1, "x"],
        {"base64": "/w=="},
    ]
    assert to_json(iter([b"ab", b"c"])) == "abc"
    assert to_json(iter([])) == []
    with pytest.raises(ActionException, match="more than"):
        to_json(iter(range(OPENSTACK_ITEMS_MAX + 1)))
