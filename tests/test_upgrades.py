"""What an earlier version has stored goes on under this one."""

import json

from chalicelib.engine.codec import FORMAT_VERSION
from tests.stored import FILE, LARGE, half_done, restored, written

HOURS_MAX = 24


def finish(client):
    """Answer whatever waits for an answer, and let time pass, until nothing is unfinished."""
    service = client.service
    executions = []
    for _ in range(HOURS_MAX):
        service.pass_time(3600)
        service.container.clock_door.tick()
        service.settle()
        for action in client.get("/v2/action_executions?state=RUNNING").json["action_executions"]:
            assert client.put(f"/v2/action_executions/{action['id']}", {"state": "SUCCESS", "output": {}}).status == 200
        for execution in client.get("/v2/executions?state=PAUSED").json["executions"]:
            assert client.put(f"/v2/executions/{execution['id']}", {"state": "RUNNING"}).status == 200
        service.settle()
        executions = client.get("/v2/executions").json["executions"]
        if {execution["state"] for execution in executions} <= {"SUCCESS", "ERROR", "CANCELLED"}:
            return {execution["workflow_name"]: execution for execution in executions}
    raise AssertionError([(execution["workflow_name"], execution["state"]) for execution in executions])


def test_executions_that_the_former_version_left_half_done_come_to_their_ends():
    client = restored(FILE.read_text("utf-8"))
    ended = finish(client)
    assert {name: execution["state"] for name, execution in ended.items()} == dict.fromkeys(
        ["chain", "inner", "patient", "backwards"], "SUCCESS"
    )
    output = json.loads(client.get(f"/v2/executions/{ended['chain']['id']}").json["output"])
    assert (output["text"], output["answers"]) == (LARGE, [{}, {}, {}])


def test_so_do_those_of_this_version():
    assert finish(restored(written(half_done()))).keys() == {"chain", "inner", "patient", "backwards"}


def test_the_stored_format_is_the_one_on_file():
    assert json.loads(FILE.read_text("utf-8"))["format"] == FORMAT_VERSION
