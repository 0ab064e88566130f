"""The actions that a document calls: by what name, with what input, and where it says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chalicelib.data import dataclass
from chalicelib.lang.builder import action_from_data, inject_action, inject_workflow, named_bodies, workflow_from_data
from chalicelib.lang.loader import Document, Path
from chalicelib.vocabulary import Json


@dataclass(frozen=True, slots=True)
class ActionCall:
    """One call. ``input`` is ``None`` where an expression makes it as a whole."""

    name: str
    input: Mapping[str, Json] | None
    path: Path
    name_key: str
    input_key: str

    def place_of(self, parameter: str | None, document: Document) -> Path:
        """Where a parameter stands in the text, or all of them; where the action's name does if they stand there."""
        values: Json = document.data
        for step in self.path:
            values = values[step]
        if self.input_key not in values:
            return (*self.path, self.name_key)
        place = (*self.path, self.input_key)
        return place if parameter is None or parameter not in values[self.input_key] else (*place, parameter)


def action_calls(document: Document) -> Iterator[ActionCall]:
    """The calls of a document that has been accepted, be it a list of workflows or actions, or a workbook."""
    for section in ((), ("workflows",), ("actions",)):
        bodies = document.data.get(section[0]) if section else document.data
        for name, body in named_bodies(bodies) if isinstance(bodies, dict) else ():
            path = (*section, name)
            if isinstance(body, dict) and isinstance(body.get("tasks"), dict):
                for task in workflow_from_data(inject_workflow(name, body)).tasks.values():
                    if task.action is not None:
                        values = task.input if isinstance(task.input, Mapping) else None
                        yield ActionCall(task.action, values, (*path, "tasks", task.name), "action", "input")
            elif isinstance(body, dict) and isinstance(body.get("base"), str):
                spec = action_from_data(inject_action(name, body))
                yield ActionCall(spec.base, spec.base_input, path, "base", "base-input")


def defined_actions(document: Document) -> frozenset[str]:
    """The names of the ad-hoc actions that a document brings along."""
    lists = (document.data, document.data.get("actions"))
    return frozenset(name for bodies in lists if isinstance(bodies, dict) for name in bodies)
