"""Maintenance mode over HTTP: what it stops, what it lets through, and how it ends."""

import json

import pytest

from chalicelib import limits
from chalicelib.services.maintenance import MaintenanceStatus
from chalicelib.vocabulary import State
from tests.api.service_client import Client

WORKFLOW = """
wait:
  tasks:
    first: {action: std.async_noop, on-success: second}
    second: {action: std.noop}
quick:
  tasks: {only: {action: std.noop}}
outer:
  tasks: {inner: {workflow: wait}}
"""


@pytest.fixture
def api():
    client = Client(local_admin=True)
    client.upload(WORKFLOW)
    return client


def ask_for(client, status):
    return client.put("/maintenance", {"status": status})


def status(client):
    return client.get("/maintenance").json["status"]


def state(client, execution):
    return client.get(f"/v2/executions/{execution['id']}").json["state"]


def complete(client, execution):
    (waiting,) = client.actions_of(client.tasks_of(execution)["first"])
    return client.put(f"/v2/action_executions/{waiting['id']}", {"state": "SUCCESS"})


def minutes(client, number):
    """Let time pass as it does: the clock door comes every minute."""
    for _ in range(number):
        client.service.pass_time(60)
        client.service.container.clock_door.tick()
        client.service.settle()


def test_a_service_runs_until_it_is_asked_to_stop(api):
    assert status(api) == "RUNNING"
    assert ask_for(api, "RUNNING").json == {"status": "RUNNING"}


def test_asked_to_pause_it_is_pausing_first_and_paused_when_no_task_runs(api):
    running = api.start("wait")
    assert ask_for(api, "PAUSED").json == {"status": "PAUSING"}
    api.service.settle()
    assert (status(api), state(api, running)) == ("PAUSING", "PAUSED")
    assert complete(api, running).status == 200, "results of what runs still come in"
    minutes(api, 1)
    assert status(api) == "PAUSED"
    assert ask_for(api, "PAUSED").json == {"status": "PAUSED"}
    assert state(api, running) == "PAUSED"


def test_with_nothing_running_it_is_paused_at_once(api):
    done = api.run("quick")
    ask_for(api, "PAUSED")
    api.service.settle()
    assert (status(api), state(api, done)) == ("PAUSED", "SUCCESS")


def test_resuming_resumes_all_that_is_paused(api):
    running, by_hand, done = api.start("wait"), api.start("wait"), api.run("quick")
    api.put(f"/v2/executions/{by_hand['id']}", {"state": "PAUSED"})
    ask_for(api, "PAUSED")
    api.service.settle()
    assert ask_for(api, "RUNNING").json == {"status": "RUNNING"}
    api.service.settle()
    assert [state(api, one) for one in (running, by_hand, done)] == ["RUNNING", "RUNNING", "SUCCESS"]
    complete(api, running)
    api.service.settle()
    assert state(api, running) == "SUCCESS"


def test_more_executions_than_a_message_sees_to_are_all_paused_and_resumed(api):
    started = [api.start("wait") for _ in range(3 * limits.MAINTENANCE_PAGE_EXECUTIONS)]
    ask_for(api, "PAUSED")
    api.service.settle()
    assert {state(api, one) for one in started} == {"PAUSED"}
    ask_for(api, "RUNNING")
    api.service.settle()
    assert {state(api, one) for one in started} == {"RUNNING"}


def test_sub_workflows_stand_still_with_those_above_them(api):
    outer = api.run("outer")
    inner = api.get(f"/v2/executions/{outer['id']}/executions").json["executions"][1]
    ask_for(api, "PAUSED")
    api.service.settle()
    assert (state(api, outer), state(api, inner)) == ("PAUSED", "PAUSED")
    ask_for(api, "RUNNING")
    api.service.settle()
    assert (state(api, outer), state(api, inner)) == ("RUNNING", "RUNNING")


def test_while_it_is_not_running_nothing_is_changed_and_everything_can_be_read(api):
    running = api.start("wait")
    ask_for(api, "PAUSED")
    for method, path, body in [
        ("POST", "/v2/executions", {"workflow_name": "quick"}),
        ("PUT", f"/v2/executions/{running['id']}", {"state": "RUNNING"}),
        ("DELETE", f"/v2/executions/{running['id']}", b""),
        ("POST", "/v2/workflows", "version: '2.0'"),
        ("DELETE", "/v2/workflows/quick", b""),
        ("POST", "/v2/workflows/validate", "version: '2.0'"),
        ("POST", "/v2/action_executions", {"name": "std.echo"}),
        ("POST", "/v2/environments", {"name": "e", "variables": {}}),
    ]:
        reply = api.ask(method, path, body)
        assert reply.status == 423, (method, path)
        assert "in maintenance (status PAUSING)" in reply.fault
        assert reply.headers["Server-Error-Message"] == reply.fault
    assert api.get("/v2/executions").status == 200
    assert api.get("/v2/workflows/quick").status == 200
    ask_for(api, "RUNNING")
    assert api.start("quick")["state"] == "SUCCESS"


def test_cancelling_is_possible_all_the_time_and_results_until_all_is_paused(api):
    first, second = api.start("wait"), api.start("wait")
    ask_for(api, "PAUSED")
    api.service.settle()
    assert api.put(f"/v2/executions/{first['id']}", {"state": "CANCELLED"}).status == 200
    complete(api, second)
    minutes(api, 2)
    assert status(api) == "PAUSED"
    (action,) = api.actions_of(api.tasks_of(second)["first"])
    assert api.put(f"/v2/action_executions/{action['id']}", {"state": "SUCCESS"}).status == 423
    assert api.put(f"/v2/executions/{second['id']}", "{no json").status == 423
    assert api.put(f"/v2/executions/{second['id']}", {"state": "CANCELLED"}).status == 200
    assert state(api, second) == "CANCELLED"


def test_asked_to_run_again_while_pausing_it_resumes(api):
    running = api.start("wait")
    ask_for(api, "PAUSED")
    ask_for(api, "RUNNING")
    api.service.settle()
    assert (status(api), state(api, running)) == ("RUNNING", "RUNNING")


@pytest.mark.parametrize(
    "body", [{"status": "PAUSING"}, {"status": "paused"}, {"status": ""}, {}, {"state": "PAUSED"}, 5]
)
def test_any_other_status_is_refused(api, body):
    assert api.put("/maintenance", json.dumps(body), content_type="application/json").status == 400
    assert status(api) == "RUNNING"


def test_messages_that_were_lost_are_made_up_for_by_the_clock(api):
    running = api.start("wait")
    ask_for(api, "PAUSED")
    for received in api.service.queue.receive("tasks", messages_max=10):
        api.service.queue.delete(received)
    minutes(api, 1)
    assert state(api, running) == "PAUSED"
    ask_for(api, "RUNNING")
    for received in api.service.queue.receive("tasks", messages_max=10):
        api.service.queue.delete(received)
    minutes(api, 1)
    assert state(api, running) == "RUNNING"


def test_triggers_wait_until_maintenance_is_over(api):
    made = api.post("/v2/cron_triggers", {"name": "each", "workflow_name": "quick", "pattern": "* * * * *"})
    assert made.status == 201
    ask_for(api, "PAUSED")
    minutes(api, 3)
    assert api.get("/v2/executions?workflow_name=quick").json["executions"] == []
    ask_for(api, "RUNNING")
    minutes(api, 1)
    assert api.get("/v2/executions?workflow_name=quick").json["executions"]


def test_another_process_hears_of_it_within_seconds(api):
    made = api.service.container
    elsewhere = type(made.maintenance)(made.ports.definitions, made.engine, made.queue, made.clock)
    assert elsewhere.status() is MaintenanceStatus.RUNNING
    ask_for(api, "PAUSED")
    assert elsewhere.lets_start
    api.service.pass_time(limits.MAINTENANCE_CACHED_SEC)
    assert not elsewhere.lets_start


def test_only_admins_may_ask_for_it():
    service = Client(auth="authorizer")
    member = service.as_project("north")
    assert status(member) == "RUNNING"
    assert ask_for(member, "PAUSED").status == 403
    assert ask_for(service.as_project("north", "admin"), "PAUSED").status == 200
    assert ask_for(Client(), "PAUSED").status == 403


def test_executions_of_all_projects_are_paused():
    service = Client(auth="authorizer")
    north, south = service.as_project("north"), service.as_project("south")
    started = []
    for client in (north, south):
        client.upload(WORKFLOW)
        started.append((client, client.start("wait")))
    ask_for(service.as_project("ops", "admin"), "PAUSED")
    service.service.settle()
    assert {state(client, one) for client, one in started} == {State.PAUSED}


def test_the_health_check_answers_where_it_is_switched_on(api):
    assert api.get("/healthcheck").status == 404
    assert Client(healthcheck=True).get("/healthcheck").json == {"detailed": False, "reasons": []}


def test_the_legacy_list_of_services_is_not_there(api):
    assert api.service.router.match("/v2/services") is None
