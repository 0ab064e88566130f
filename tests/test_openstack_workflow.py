"""The seed workflow of OpenStack Mistral runs as it stands in the docs, on a cloud that speaks the protocols."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.actions.openstack_session import Credentials
from chalicelib.local.emulator import safe_moto
from tests.in_memory import Finished, World
from tests.markdown import ROOT, blocks
from tests.openstack_cloud import PASSWORD, OpenStack, openstack

[SEED] = blocks("yaml", ROOT / "docs" / "openstack.md")
INPUT = {"vm_name": "web-1", "image_ref": "img-1", "flavor_ref": "m1.small"}


@pytest.fixture
def cloud() -> Iterator[OpenStack]:
    with openstack() as running:
        yield running


def world_with(credentials: dict[str, Any], folder: Path) -> World:
    file = folder / "secrets.json"
    file.write_text(json.dumps({"openstack": credentials}))
    return World(secrets_file=str(file))


def finished(world: World, input: dict[str, Any] = INPUT) -> Finished:
    [name] = world.upload(SEED.text)
    return world.run(name, input)


def task_of(found: Finished, name: str) -> Any:
    return next(task for task in found.tasks if task.name == name)


def test_create_vm_waits_until_the_server_is_active(cloud, tmp_path):
    cloud.looks_until_active = 4
    world = world_with(cloud.credentials(), tmp_path)
    began = world.clock.now()
    found = finished(world)
    assert found.state == "SUCCESS", found.header.state_info
    [server] = cloud.servers.values()
    assert found.output == {"vm_id": server["id"], "vm_status": "ACTIVE"}
    assert (server["name"], server["image"], server["flavor"]) == (
        "web-1",
        {"id": "img-1"},
        {"original_name": "m1.small"},
    )
    assert server["networks_asked"] == "auto"
    # Each look but the last found it in BUILD; the waits took no time but the clock's.
    assert world.clock.now() - began >= 4 * 5
    assert cloud.asked("POST", "/servers") == 1
    assert cloud.asked("POST", "/v3/auth/tokens") == 1


def test_create_vm_gives_up_after_its_retries(cloud, tmp_path):
    cloud.looks_until_active = 1000
    world = world_with(cloud.credentials(), tmp_path)
    began = world.clock.now()
    found = finished(world)
    assert found.state == "ERROR"
    assert "No Server matching" in str(task_of(found, "wait_for_instance").state_info)
    assert world.clock.now() - began >= 15 * 5


def test_create_vm_tells_that_the_quota_is_used_up(cloud, tmp_path):
    cloud.quota = 0
    found = finished(world_with(cloud.credentials(), tmp_path))
    assert found.state == "ERROR"
    assert "Quota exceeded for instances" in str(task_of(found, "create_vm").state_info)
    assert "(HTTP 403)" in str(task_of(found, "create_vm").state_info)
    assert found.count("wait_for_instance") == 0


def test_create_vm_tells_of_wrong_credentials_and_of_no_credentials(cloud, tmp_path):
    credentials = cloud.credentials()
    credentials["auth"]["password"] = "wrong"
    found = finished(world_with(credentials, tmp_path))
    assert found.state == "ERROR"
    assert "(HTTP 401)" in str(task_of(found, "create_vm").state_info)
    (tmp_path / "none.json").write_text("{}")
    absent = finished(World(secrets_file=str(tmp_path / "none.json")))
    assert "secret://openstack cannot be read" in str(task_of(absent, "create_vm").state_info)


def test_create_vm_tells_of_a_cloud_that_is_gone(tmp_path):
    with openstack() as cloud:
        credentials = cloud.credentials()
    found = finished(world_with(credentials, tmp_path))
    assert found.state == "ERROR"
    assert "Unable to establish connection" in str(task_of(found, "create_vm").state_info)


def test_nothing_that_is_stored_holds_the_credentials(cloud, tmp_path):
    world = world_with(cloud.credentials(), tmp_path)
    found = finished(world)
    assert found.state == "SUCCESS"
    store = world.container.executions
    values = [store.value(found.header.id, task.published) for task in found.tasks if task.published is not None]
    text = str(found.tasks) + str(found.header) + str(values)
    assert found.output["vm_id"] in text
    assert PASSWORD not in text
    assert not any(token in text for token in cloud.tokens)


def test_the_credentials_in_the_docs_can_be_read():
    [shown] = blocks("text", ROOT / "docs" / "openstack.md")
    read = Credentials.read(shown.text)
    assert (read.auth_type, read.region, read.interface, read.verify) == (
        "applicationcredential",
        "RegionOne",
        "public",
        True,
    )


def test_the_same_runs_on_aws():
    with safe_moto():
        world = World()
        [name] = world.upload((ROOT / "examples" / "create_vm.yaml").read_text("utf-8"))
        found = world.run(name, {})
    assert found.state == "SUCCESS"
    assert found.output["vm_id"].startswith("i-")
