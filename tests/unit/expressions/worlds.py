"""A small world for expressions: three tasks, fixed time, chance and identity."""

from datetime import UTC, datetime

UUID = "00000000-0000-4000-8000-000000000001"


def a_task(id, name, state, result, updated_at="2026-01-02 03:04:06"):
    return {
        "id": id,
        "name": name,
        "spec": {"name": name},
        "state": state,
        "state_info": None,
        "result": result,
        "published": {"p": 1},
        "type": "ACTION",
        "workflow_execution_id": "w1",
        "created_at": "2026-01-02 03:04:05",
        "updated_at": updated_at,
    }


class SmallWorld:
    """The world in which the answers of ``tests/fixtures/expressions.json`` were recorded."""

    def __init__(self, has_current_task=True):
        self.has_current_task = has_current_task
        self.found = [
            a_task("t-1", "t1", "SUCCESS", {"id": 7, "l": [1, 2], "d": {"k": "v"}}),
            a_task("t-2", "t2", "ERROR", "boom"),
            a_task("t-3", "cur", "RUNNING", None, updated_at=None),
        ]

    def execution(self):
        return {
            "id": "w1",
            "name": "wf",
            "spec": {"name": "wf"},
            "input": {"i": 1},
            "params": {},
            "created_at": "2026-01-02 03:04:05",
            "updated_at": "2026-01-02 03:04:06",
            "root_execution_id": None,
        }

    def task(self, name):
        return next((task for task in self.found if task["name"] == (name or "cur")), None)

    def tasks(self, workflow_execution_id, recursive, state, flat):
        return [task for task in self.found if state is None or task["state"] == state]

    def executions(self, id, root_execution_id, state, from_time, to_time):
        return []

    def webhook_url(self, task_name, expires_sec):
        return f"https://mistral.test/v2/webhooks/{task_name}-{expires_sec}"

    def global_(self, name):
        return {"g": {"x": [1]}}.get(name)

    def uuid(self):
        return UUID

    def now(self):
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def random(self):
        return 0.5
