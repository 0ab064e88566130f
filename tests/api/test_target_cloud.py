"""A token for another cloud in a request: it is refused, not stored and not passed over in silence."""

import pytest

from tests.api.service_client import Client

WORKFLOW = "wf:\n  tasks:\n    t:\n      action: std.noop\n"
TARGET = {"X-Target-Auth-Uri": "https://cloud.example.com/v3", "X-Target-Auth-Token": "a-token"}


@pytest.fixture
def client():
    made = Client()
    made.upload(WORKFLOW)
    return made


@pytest.mark.parametrize("headers", [TARGET, {"x-target-insecure": "True"}])
def test_a_request_that_changes_something_may_not_bring_another_cloud(client, headers):
    before = client.service.stored()
    reply = client.post("/v2/executions", {"workflow_name": "wf"}, **headers)
    assert reply.status == 400
    assert "Keep the credentials of the cloud as the project's secret 'openstack'" in reply.fault
    assert client.post("/v2/action_executions", {"name": "std.noop"}, **headers).status == 400
    assert client.service.stored() == before


def test_reading_with_such_headers_and_starting_without_them_work(client):
    assert client.get("/v2/workflows", **TARGET).status == 200
    assert client.post("/v2/executions", {"workflow_name": "wf"}, **{"X-Region-Name": "RegionOne"}).status == 201


def test_an_action_of_openstack_is_found_with_its_parameters_and_listed(client):
    shown = client.get("/v2/actions/nova.servers_find").json
    assert shown["input"] == 'action_region="", **kwargs'
    page = client.get("/v2/actions?limit=3&sort_keys=name&name=has:nova.servers_c").json["actions"]
    assert [action["name"] for action in page] == [
        "nova.servers_change_password",
        "nova.servers_clear_password",
        "nova.servers_confirm_resize",
    ]
    missing = client.get("/v2/actions/nova.server_find")
    assert missing.status == 404
    assert "did you mean nova.servers_find" in missing.fault
