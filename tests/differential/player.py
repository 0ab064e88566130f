"""Plays a case on a server and tells what came of it, in a form that can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.differential import normal
from tests.differential.cases import Case
from tests.differential.servers import Server

ENDED = ("SUCCESS", "ERROR", "CANCELLED")
DONE = (*ENDED, "SKIPPED")
RESUMES_MAX = 12
ANSWERS_MAX = 8
SAME_PICTURES = 6

Answer = dict[str, Any]


class Player:
    """One playing of one case."""

    def __init__(self, case: Case, server: Server, *, end_sec: float = 60.0, settle_sec: float = 3.0) -> None:
        self.case = case
        self.server = server
        self.end_sec = end_sec
        self.settle_sec = settle_sec
        self.found: Answer = {}
        self._id = ""
        self._answered: dict[str, int] = {}
        # Tasks that nobody will ever answer, nor any timer end.
        self._held = {name for step in case.steps for name in step.get("quiet", ()) if case.answers.get(name) == []}
        self._resumes = 0
        self._picture = ""
        self._same_pictures = 0

    def play(self) -> Answer:
        """Define, start, operate, await the end and look at everything."""
        try:
            if self._define() and self._start():
                for step in self.case.steps:
                    self.found.setdefault("steps", []).append(self._step(step))
                self._end()
                self.found["execution"] = self._execution(self._get(f"/v2/executions/{self._id}"))
        finally:
            self._clean()
        # Who is asked first among those that wait at the same time, nobody knows.
        self.found.get("answers", []).sort(key=normal.canonical)
        return self.found

    # -- before

    def _define(self) -> bool:
        statuses = []
        for path, texts in self._documents():
            for text in texts:
                status, _ = self.server.ask("POST", path, text)
                if status == 409:
                    self._clean()
                    status, _ = self.server.ask("POST", path, text)
                statuses.append(status)
        for environment in self.case.environments:
            body = {**environment, "variables": json.dumps(environment["variables"])}
            status, _ = self.server.ask("POST", "/v2/environments", body)
            if status == 409:
                self.server.ask("DELETE", f"/v2/environments/{environment['name']}")
                status, _ = self.server.ask("POST", "/v2/environments", body)
            statuses.append(status)
        self.found["defined"] = statuses
        return all(status == 201 for status in statuses)

    def _documents(self) -> list[tuple[str, list[str]]]:
        case = self.case
        return [("/v2/actions", case.actions), ("/v2/workbooks", case.workbooks), ("/v2/workflows", case.workflows)]

    def _clean(self) -> None:
        for path in self._names():
            self.server.ask("DELETE", path)

    def _names(self) -> Iterator[str]:
        for path, texts in self._documents():
            for text in texts:
                try:
                    document = yaml.safe_load(text)
                except yaml.YAMLError:
                    continue
                if not isinstance(document, dict):
                    continue
                if path == "/v2/workbooks":
                    yield f"{path}/{document.get('name')}"
                    for kind in ("workflows", "actions"):
                        yield from (f"/v2/{kind}/{document.get('name')}.{name}" for name in document.get(kind) or {})
                else:
                    yield from (f"{path}/{name}" for name in document if name != "version")
        yield from (f"/v2/environments/{environment['name']}" for environment in self.case.environments)

    def _start(self) -> bool:
        if self.case.start is None:
            return False
        status, made = self.server.ask("POST", "/v2/executions", self.case.start)
        self.found["started"] = status
        self._id = made["id"] if status == 201 else ""
        return status == 201

    # -- meanwhile

    def _step(self, step: dict[str, Any]) -> Any:
        if "quiet" in step:
            self._until_quiet(step["quiet"])
            return None
        if "end" in step:
            self._end()
            return None
        if "execution" in step:
            status, _ = self.server.ask("PUT", f"/v2/executions/{self._id}", step["execution"])
            return status
        tasks = [task for task in self._tasks(self._id) if task["name"] == step["task"]]
        failed = [task for task in tasks if task["state"] == "ERROR"] or tasks
        if not failed:
            return "no such task"
        status, _ = self.server.ask("PUT", f"/v2/tasks/{failed[0]['id']}", {"id": failed[0]["id"], **step["body"]})
        return status

    def _until_quiet(self, names: list[str]) -> None:
        began = self.server.now()
        while self.server.now() - began < self.end_sec:
            if self._answer(self._id, but=names):
                continue
            state = self._get(f"/v2/executions/{self._id}")["state"]
            tasks = self._tasks(self._id)
            held = [task for task in tasks if task["name"] in names]
            others = [task for task in tasks if task["name"] not in names]
            resting = (*DONE, "WAITING", "IDLE") if state == "PAUSED" else (*DONE, "WAITING")
            still = all(task["state"] in resting for task in others) and all(task["state"] != "IDLE" for task in held)
            if still and (state in ENDED or (state == "PAUSED" and not names) or (held and state == "RUNNING")):
                return
            if still and state == "PAUSED":
                self._resume()
            if not self.server.wait():
                break

    def _end(self) -> None:
        """Wait for the end, answering and resuming; then for what outlives it."""
        began = self.server.now()
        while self.server.now() - began < self.end_sec:
            state = self._get(f"/v2/executions/{self._id}")["state"]
            if state in ENDED:
                break
            answered = self._answer(self._id)
            if state == "PAUSED" and not answered and self._rests_while_paused():
                self._resume()
            if not self.server.wait():
                break
        began = self.server.now()
        while self.server.now() - began < self.settle_sec and not self._all_rest(self._id, ("WAITING",)):
            self._answer(self._id)
            if not self.server.wait():
                break

    def _rests_while_paused(self) -> bool:
        """Whether nothing will happen before somebody resumes; some look long at the same picture to know."""
        picture = normal.canonical([(task["id"], task["state"]) for task in self._tasks(self._id)])
        self._same_pictures = self._same_pictures + 1 if picture == self._picture else 0
        self._picture = picture
        return self._same_pictures >= SAME_PICTURES or self._all_rest(self._id, ("WAITING", "IDLE"))

    def _resume(self) -> None:
        if self._resumes < RESUMES_MAX:
            self._resumes += 1
            self.server.ask("PUT", f"/v2/executions/{self._id}", {"state": "RUNNING"})

    def _all_rest(self, execution_id: str, resting: tuple[str, ...]) -> bool:
        """Whether nothing will change by itself in an execution and below."""
        for task in self._tasks(execution_id):
            if task["type"] == "WORKFLOW":
                if not all(self._all_rest(child["id"], resting) for child in self._children(task)):
                    return False
                if task["state"] in ("IDLE", "DELAYED") and task["state"] not in resting:
                    return False
            elif task["state"] not in (*DONE, *resting) and task["name"] not in self._held:
                return False
        return True

    def _answer(self, execution_id: str, but: list[str] | None = None) -> bool:
        """Complete the asynchronous actions that wait for an answer. Whether there was one."""
        if not any(self.case.answers.values()):
            return False
        gave = False
        for task in self._tasks(execution_id):
            if task["type"] == "WORKFLOW":
                for child in self._children(task):
                    gave |= self._answer(child["id"], but)
            elif task["name"] not in (but or ()) and self.case.answers.get(task["name"]):
                gave |= self._answer_task(task)
        return gave

    def _answer_task(self, task: Answer) -> bool:
        gave = False
        answers = self.case.answers[task["name"]]
        for action in self._actions(task):
            if action["state"] in ENDED:
                continue
            number = self._answered.get(task["name"], 0)
            if number >= ANSWERS_MAX:
                continue
            self._answered[task["name"]] = number + 1
            body = dict(answers[min(number, len(answers) - 1)])
            if "output" in body:
                body["output"] = json.dumps(body["output"])
            status, _ = self.server.ask("PUT", f"/v2/action_executions/{action['id']}", body)
            self.found.setdefault("answers", []).append([task["name"], body["state"], status])
            gave = True
        return gave

    # -- afterwards

    def _get(self, path: str) -> Any:
        status, body = self.server.ask("GET", path)
        if status != 200:
            raise AssertionError(f"GET {path}: {status} {body}")
        return body

    def _tasks(self, execution_id: str) -> list[Answer]:
        tasks: list[Answer] = self._get(f"/v2/executions/{execution_id}/tasks")["tasks"]
        return tasks

    def _children(self, task: Answer) -> list[Answer]:
        children: list[Answer] = self._get(f"/v2/tasks/{task['id']}/workflow_executions")["executions"]
        return children

    def _actions(self, task: Answer) -> list[Answer]:
        path = f"/v2/tasks/{task['id']}/action_executions?include_output=true"
        actions: list[Answer] = self._get(path)["action_executions"]
        return actions

    def _execution(self, execution: Answer) -> Answer:
        tasks: dict[str, list[Answer]] = {}
        for task in self._tasks(execution["id"]):
            tasks.setdefault(task["name"], []).append(self._task(task))
        return {
            "workflow": execution["workflow_name"],
            "state": execution["state"],
            "state_info": normal.plain(execution.get("state_info")),
            "description": normal.plain(execution.get("description")),
            "input": normal.json_text(execution.get("input")),
            "output": normal.json_text(execution.get("output")),
            "params": normal.json_text(execution.get("params")),
            "published_global": normal.json_text(execution.get("published_global")),
            "tasks": {name: sorted(found, key=normal.canonical) for name, found in tasks.items()},
        }

    def _task(self, listed: Answer) -> Answer:
        status, task = self.server.ask("GET", f"/v2/tasks/{listed['id']}")
        if status != 200:
            return {"status": status}
        found: Answer = {
            "type": task["type"],
            "state": task["state"],
            "state_info": normal.plain(task.get("state_info")),
            "published": normal.json_text(task.get("published")),
            "result": normal.json_text(task.get("result")),
            "published_global": normal.json_text(task.get("published_global")),
            "tags": task.get("tags"),
        }
        if task["type"] == "WORKFLOW":
            children = [self._execution(self._get(f"/v2/executions/{child['id']}")) for child in self._children(task)]
            found["executions"] = sorted(children, key=normal.canonical)
        else:
            actions = [_action(action) for action in self._actions(task)]
            found["actions"] = sorted(actions, key=normal.canonical)
        return found


def _action(action: Answer) -> Answer:
    return {
        "name": action["name"],
        "state": action["state"],
        "accepted": action.get("accepted"),
        "input": normal.json_text(action.get("input")),
        "output": normal.json_text(action.get("output")),
    }
