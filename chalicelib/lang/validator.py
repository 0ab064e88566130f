"""The rules of a definition: shapes by the tables of ``grammar``, expressions, and the links between tasks.

Every fault is told, not only the first. They are told in the order in which Mistral would come upon them (outside
before inside, tasks in the order of the text, links last), since the first one decides which class of error is raised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from chalicelib import limits
from chalicelib.errors import DefinitionError, DSLParsingException
from chalicelib.expressions import evaluator
from chalicelib.expressions.options import DEFAULT, Options
from chalicelib.lang import grammar
from chalicelib.lang.builder import inject_workflow, named_bodies, workflow_from_data
from chalicelib.lang.faults import Faults
from chalicelib.lang.graph import EVENTS, WorkflowGraph
from chalicelib.lang.inline import has_expression, parse_command, parse_with_items, with_items_source
from chalicelib.lang.loader import Document, Path
from chalicelib.lang.shapes import Shape, check_key, did_you_mean, is_text, shown
from chalicelib.lang.specs import TaskSpec
from chalicelib.vocabulary import Json, JsonObject

_WORD: Final = re.compile(r"\w+")
_CHILD_NAME: Final = re.compile(r"[\w-]+")
_UUID: Final = re.compile(r"[0-9a-f]{32}")


class Validator:
    """Checks the parts of one document.

    With ``shapes_only`` neither expressions nor links are looked at: what is left is what must hold for specs to be
    built at all.
    """

    def __init__(self, document: Document, *, shapes_only: bool = False, options: Options = DEFAULT) -> None:
        self.faults = Faults(document)
        self._options = options
        self._data = document.data
        self._shapes_only = shapes_only
        self._checked_texts: dict[str, DefinitionError | None] = {}

    def check_list(self, shape: Shape) -> list[tuple[str, JsonObject]]:
        """Check the outside of a list of workflows or actions; return the names and bodies that can be looked into."""
        if "version" in self._data:
            grammar.LIST_VERSION.check(self._data["version"], ("version",), self.faults.shape)
        else:
            self.faults.shape((), "'version' is a required property; begin with `version: '2.0'`")
        if not named_bodies(self._data) and "version" in self._data:
            self.faults.model((), "At least one item must be in the list; only 'version' was found")
        return self._bodies(self._data, (), shape)

    def check_workbook(self) -> None:
        """Check a workbook and everything in it."""
        if "version" in self._data and self._data["version"] != grammar.VERSION:
            version = self._data["version"]
            message = f"Unsupported DSL version: {version}; write `version: '2.0'`, in quotes"
            self.faults.add(DSLParsingException, ("version",), message)
            grammar.WORKBOOK.check({**self._data, "version": grammar.VERSION}, (), self.faults.shape)
        else:
            grammar.WORKBOOK.check(self._data, (), self.faults.shape)
        name = self._data.get("name")
        if is_text(name):
            self._check_stored_name(name, ("name",))
        for section, check in (("actions", self.check_action), ("workflows", self.check_workflow)):
            children = self._data.get(section)
            if isinstance(children, dict):
                self._check_child_names(children, (section,))
                for child, body in self._bodies(children, (section,), grammar.MAP):
                    check(child, body, (section, child))

    def check_action(self, name: str, body: JsonObject, path: Path) -> None:
        """Check one ad-hoc action."""
        self._check_stored_name(name, path)
        grammar.ACTION.check(body, path, self.faults.shape)
        if is_text(body.get("base")) and body["base"]:
            self._check_inline(body["base"], (*path, "base"))
        self._check_texts(body.get("base-input"), (*path, "base-input"))
        if is_text(body.get("output")):
            self._check_texts(body["output"], (*path, "output"))

    def check_workflow(self, name: str, body: JsonObject, path: Path) -> None:
        """Check one workflow, from its name to the links between its tasks."""
        kind = body.get("type", "direct")
        if not isinstance(kind, str) or kind not in grammar.TASKS:
            hint = did_you_mean(str(kind), tuple(grammar.TASKS))
            message = f"Failed to find a workflow of type {shown(kind)}; it is 'direct' or 'reverse'{hint}"
            self.faults.add(DSLParsingException, (*path, "type"), message)
            kind = "direct"
        grammar.WORKFLOW.check({**body, "type": kind}, path, self.faults.shape)
        for key in grammar.WORKFLOW_EXPRESSIONS:
            self._check_texts(body.get(key), (*path, key))
        if isinstance(body.get("task-defaults"), dict):
            self._check_task_defaults(body["task-defaults"], (*path, "task-defaults"))
        tasks = body.get("tasks")
        if isinstance(tasks, dict):
            self._check_task_bodies(tasks, kind, (*path, "tasks"))
        self._check_stored_name(name, path)
        if _is_uuid_like(name):
            self.faults.model(path, "Workflow name cannot be in the format of UUID.")
        if isinstance(tasks, dict) and not self._shapes_only:
            self._check_links(name, {**body, "type": kind}, path)

    # Bodies and names ----------------------------------------------------------------------------------------------

    def _bodies(self, data: JsonObject, path: Path, shape: Shape) -> list[tuple[str, JsonObject]]:
        bodies = named_bodies(data)
        for name, body in bodies:
            check_key(name, (*path, name), self.faults.shape)
            shape.check(body, (*path, name), self.faults.shape)
        return [(name, body) for name, body in bodies if isinstance(body, dict) and body]

    def _check_child_names(self, children: JsonObject, path: Path) -> None:
        for name, body in children.items():
            if name == "version" and body != grammar.VERSION:
                self.faults.shape((*path, name), f"{shown(body)} is not one of ['2.0']: nothing can be named 'version'")
            elif not _CHILD_NAME.fullmatch(name):
                message = f"{shown(name)} does not match '[\\w-]+': a name in a workbook has no dots and no spaces"
                self.faults.shape((*path, name), message)

    def _check_stored_name(self, name: str, path: Path) -> None:
        if " " in name:
            self.faults.model(path, f"Name {shown(name)} must not contain spaces")
        if len(name) > limits.NAME_CHARACTERS_MAX:
            self.faults.model(path, f"Name {shown(name)} is longer than {limits.NAME_CHARACTERS_MAX} characters")

    def _check_task_bodies(self, tasks: JsonObject, kind: str, path: Path) -> None:
        if len(tasks) > limits.TASKS_PER_WORKFLOW_MAX:
            self.faults.model(path, f"a workflow may have {limits.TASKS_PER_WORKFLOW_MAX} tasks; found {len(tasks)}")
            return
        for name, task in tasks.items():
            place = (*path, name)
            if not isinstance(task, dict):
                self.faults.shape(place, f"{shown(task)} is not of type 'object'; write the task's attributes below it")
            elif not task and _WORD.fullmatch(name):
                self.faults.shape(
                    place, "{} should be non-empty; write `action: std.noop` for a task that does nothing"
                )
            elif name != "version":
                self._check_task(name, task, kind, place)

    # Tasks ---------------------------------------------------------------------------------------------------------

    def _check_task(self, name: str, task: JsonObject, kind: str, path: Path) -> None:
        grammar.TASKS[kind].check(task, path, self.faults.shape)
        if "action" in task and "workflow" in task:
            self.faults.shape((*path, "workflow"), "a task has either 'action' or 'workflow', not both")
        if len(name) > limits.NAME_CHARACTERS_MAX:
            longest = limits.NAME_CHARACTERS_MAX
            self.faults.model(path, f"The length of a '{name}' task name must not exceed {longest} symbols")
        self._check_commands(task, path)
        for key in grammar.TASK_EXPRESSIONS:
            self._check_texts(task.get(key), (*path, key))
        self._check_with_items(task, path)
        self._check_retry(task.get("retry"), (*path, "retry"))
        if kind == "direct":
            self._check_clauses(task, path)
        longest = limits.JOIN_NAME_CHARACTERS_MAX
        if task.get("join") and longest < len(name) <= limits.NAME_CHARACTERS_MAX:
            self.faults.model(path, f"The length of a '{name}' join task name must not exceed {longest} symbols")

    def _check_commands(self, task: JsonObject, path: Path) -> None:
        for key in ("action", "workflow"):
            command = task.get(key)
            if is_text(command) and command:
                parameters = self._check_inline(command, (*path, key))
                if parameters and isinstance(task.get("input"), str):
                    message = "inline parameters cannot be merged into an 'input' that is text; write either of them"
                    self.faults.model((*path, "input"), message)

    def _check_task_defaults(self, defaults: JsonObject, path: Path) -> None:
        grammar.TASK_DEFAULTS.check(defaults, path, self.faults.shape)
        for key in grammar.TASK_DEFAULTS_EXPRESSIONS:
            self._check_texts(defaults.get(key), (*path, key))
        self._check_retry(defaults.get("retry"), (*path, "retry"))
        self._check_clauses(defaults, path)

    def _check_with_items(self, task: JsonObject, path: Path) -> None:
        raw, place = task.get("with-items"), (*path, "with-items")
        if raw is None and "tolerated-failure-percentage" in task:
            message = "'tolerated-failure-percentage' is for a task with 'with-items'"
            self.faults.model((*path, "tolerated-failure-percentage"), message)
        for element in raw if isinstance(raw, list) else [raw]:
            if is_text(element) and element:
                self._check_texts(with_items_source(element), place)
                try:
                    parse_with_items(element)
                except DefinitionError as error:
                    self.faults.add(type(error), place, error.message)

    def _check_retry(self, raw: Json, path: Path) -> None:
        if is_text(raw) and raw:
            fields = self._check_inline(raw, path, look_into_values=False)
            if fields is not None:
                # Faults of an inline text are all at the text itself.
                grammar.RETRY.check(fields, path, lambda _, message: self.faults.shape(path, message))
        else:
            fields = raw if isinstance(raw, dict) else None
        for key in grammar.RETRY_EXPRESSIONS:
            self._check_texts((fields or {}).get(key), (*path, key) if isinstance(raw, dict) else path)

    def _check_clauses(self, holder: JsonObject, path: Path) -> None:
        for event in grammar.EVENTS:
            raw, place = holder.get(event), (*path, event)
            if isinstance(raw, dict):
                publish = raw["publish"] if isinstance(raw.get("publish"), dict) else {}
                for scope in grammar.PUBLISH_SCOPES:
                    self._check_texts(publish.get(scope), (*place, "publish", scope))
                raw, place = raw.get("next"), (*place, "next")
            for index, item in enumerate(raw if isinstance(raw, list) else [raw]):
                self._check_transition(item, (*place, index) if isinstance(raw, list) else place)

    def _check_transition(self, item: Json, path: Path) -> None:
        for target, guard in item.items() if isinstance(item, dict) else [(item, None)]:
            if is_text(target):
                parsed = self._parse_inline(target, path)
                if parsed is not None:
                    self._check_texts(parsed[0], path)
                self._check_texts(guard, (*path, target))

    # Expressions ---------------------------------------------------------------------------------------------------

    def _parse_inline(self, text: str, path: Path) -> tuple[str, JsonObject] | None:
        try:
            return parse_command(text)
        except DefinitionError as error:
            self.faults.add(type(error), path, error.message)
            return None

    def _check_inline(self, text: str, path: Path, *, look_into_values: bool = True) -> JsonObject | None:
        parsed = self._parse_inline(text, path)
        if parsed is None:
            return None
        if look_into_values:
            for value in parsed[1].values():
                self._check_texts(value if isinstance(value, str) else None, path)
        return parsed[1]

    def _check_texts(self, value: Json, path: Path) -> None:
        """Check the expressions of a text, or of the texts directly in a list or a dictionary."""
        if self._shapes_only or value is None:
            return
        places: Iterable[tuple[Path, Json]]
        if isinstance(value, dict):
            places = (((*path, key), item) for key, item in value.items())
        elif isinstance(value, list):
            places = (((*path, index), item) for index, item in enumerate(value))
        else:
            places = ((path, value),)
        for place, text in places:
            if isinstance(text, str) and has_expression(text):
                error = self._grammar_error(text)
                if error is not None:
                    self.faults.add(type(error), place, error.message)

    def _grammar_error(self, text: str) -> DefinitionError | None:
        if text not in self._checked_texts:
            self._checked_texts[text] = None
            try:
                evaluator.validate(text, self._options)
            except DefinitionError as error:
                self._checked_texts[text] = error
        return self._checked_texts[text]

    # Links ---------------------------------------------------------------------------------------------------------

    def _check_links(self, name: str, body: JsonObject, path: Path) -> None:
        sound, is_whole = self._sound_part(body, path)
        spec = workflow_from_data(inject_workflow(name, sound))
        graph = WorkflowGraph(spec)
        if body["type"] == "reverse":
            self._check_requirements(graph, body["tasks"], path)
            return
        if is_whole and not graph.start_tasks:
            message = (
                "Failed to find start tasks in direct workflow. Every task has an inbound transition; at least one "
                f"must have none. [workflow_name={name}]"
            )
            self.faults.add(DSLParsingException, (*path, "tasks"), message)
        self._check_targets(graph, body["tasks"], path)
        if is_whole:
            for task in spec.tasks.values():
                self._check_join(graph, task, (*path, "tasks", task.name, "join"))

    def _sound_part(self, body: JsonObject, path: Path) -> tuple[JsonObject, bool]:
        """The workflow without its faulty attributes; and whether nothing that makes a transition was left out.

        Links can so be checked in what is sound, and no fault is told that only follows from another one.
        """
        faulty = {other[len(path) :] for other in self.faults.below(path)}
        dropped = {other[:3] if other[0] == "tasks" else other[:2] for other in faulty if other}
        is_whole = not any(_makes_transitions(place) for place in dropped)
        sound: JsonObject = {"type": body["type"], "tasks": {}}
        for name, task in body["tasks"].items():
            if isinstance(task, dict) and ("tasks", name) not in dropped:
                sound["tasks"][name] = {
                    key: value for key, value in task.items() if ("tasks", name, key) not in dropped
                }
        defaults = body.get("task-defaults")
        if isinstance(defaults, dict) and ("task-defaults",) not in dropped:
            sound["task-defaults"] = {
                key: value for key, value in defaults.items() if ("task-defaults", key) not in dropped
            }
        return sound, is_whole

    def _check_targets(self, graph: WorkflowGraph, tasks: JsonObject, path: Path) -> None:
        known = dict.fromkeys([name for name, _ in named_bodies(tasks)] + list(grammar.ENGINE_COMMANDS))
        reported: set[tuple[Path, str]] = set()
        for name in graph.spec.tasks:
            for event in grammar.EVENTS:
                place = (*path, "tasks", name, event) if graph.is_own(name, event) else (*path, "task-defaults", event)
                for link in graph.clause(name, event):
                    if link.name not in known and (place, link.name) not in reported:
                        reported.add((place, link.name))
                        hint = did_you_mean(link.name, known, " Did")
                        self.faults.model(place, f"Task '{link.name}' not found.{hint}")

    def _check_requirements(self, graph: WorkflowGraph, tasks: JsonObject, path: Path) -> None:
        for task in graph.spec.tasks:
            for required in graph.requires(task):
                if required not in tasks:
                    hint = did_you_mean(required, tasks, " Did")
                    self.faults.model((*path, "tasks", task, "requires"), f"Task '{required}' not found.{hint}")

    def _check_join(self, graph: WorkflowGraph, task: TaskSpec, path: Path) -> None:
        inbound = len(graph.inbound(task.name))
        if task.join == "all" and inbound == 0:
            self.faults.model(path, f"No inbound tasks for task with 'join: all' [task_name={task.name}]")
        elif isinstance(task.join, int) and inbound < task.join:
            message = f"[task_name={task.name}, join={task.join}, inbound_tasks={inbound}]"
            self.faults.model(path, f"Not enough inbound tasks for task with 'join' {message}")


def _makes_transitions(place: Path) -> bool:
    """Whether what is left out at this place below a workflow may have led somewhere: a link, or a whole body."""
    if place[0] == "tasks":
        return len(place) < len(("tasks", "name", "key")) or place[-1] in (*EVENTS, "join")
    return place[0] == "task-defaults" and (len(place) == 1 or place[-1] in EVENTS)


def _is_uuid_like(name: str) -> bool:
    text = name.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "").lower()
    return _UUID.fullmatch(text) is not None
