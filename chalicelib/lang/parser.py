"""Definition text to specs: the entry of the package.

The functions that begin with ``parse`` look at everything and raise one error with every fault. With ``validate=False``
they look only at what must hold for specs to be built: no expressions, no links between tasks. ``options`` says which
expression languages are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.expressions.options import DEFAULT, Options
from chalicelib.lang import grammar
from chalicelib.lang.builder import (
    action_from_data,
    inject_action,
    inject_workflow,
    named_bodies,
    workbook_from_data,
    workflow_from_data,
)
from chalicelib.lang.loader import Document, dump, load
from chalicelib.lang.pitfalls import warnings
from chalicelib.lang.specs import ActionSpec, WorkbookSpec, WorkflowSpec
from chalicelib.lang.validator import Validator

__all__ = [
    "action_from_data",
    "definition_texts",
    "parse_action_list",
    "parse_workbook",
    "parse_workflow_list",
    "warnings",
    "workbook_definition_texts",
    "workflow_from_data",
]


def parse_workflow_list(text: str, *, validate: bool = True, options: Options = DEFAULT) -> tuple[WorkflowSpec, ...]:
    """The workflows of a document, in the order of the text.

    Raises DSLParsingException or InvalidModelException (or one of their kind), with every fault.
    """
    document = load(text)
    validator = Validator(document, shapes_only=not validate, options=options)
    for name, body in validator.check_list(grammar.MAP):
        validator.check_workflow(name, body, (name,))
    validator.faults.raise_if_any()
    return tuple(workflow_from_data(inject_workflow(name, body)) for name, body in named_bodies(document.data))


def parse_action_list(text: str, *, validate: bool = True, options: Options = DEFAULT) -> tuple[ActionSpec, ...]:
    """The ad-hoc actions of a document, in the order of the text. Raises as ``parse_workflow_list``."""
    document = load(text)
    validator = Validator(document, shapes_only=not validate, options=options)
    for name, body in validator.check_list(grammar.MAP):
        validator.check_action(name, body, (name,))
    validator.faults.raise_if_any()
    return tuple(action_from_data(inject_action(name, body)) for name, body in named_bodies(document.data))


def parse_workbook(text: str, *, validate: bool = True, options: Options = DEFAULT) -> WorkbookSpec:
    """The workbook of a document. Raises as ``parse_workflow_list``."""
    document = load(text)
    validator = Validator(document, shapes_only=not validate, options=options)
    validator.check_workbook()
    validator.faults.raise_if_any()
    return workbook_from_data(document.data)


def definition_texts(text: str, specs: Sequence[WorkflowSpec] | Sequence[ActionSpec]) -> dict[str, str]:
    """The text to store with each workflow or action of a list, by name.

    The text of a single workflow is stored as it was written; of several, each is written anew, in the order of its
    keys. An action keeps the whole text that it came in.
    """
    if len(specs) == 1 or all(isinstance(spec, ActionSpec) for spec in specs):
        return {spec.name: text for spec in specs}
    data = load(text).data
    return {spec.name: dump({"version": data["version"], spec.name: data[spec.name]}) for spec in specs}


def workbook_definition_texts(text: str, spec: WorkbookSpec) -> tuple[dict[str, str], dict[str, str]]:
    """The texts to store with the workflows and with the actions of a workbook, each by its local name.

    They are cut out of the workbook by their indentation, with their comments and without a ``version`` line.
    """
    document = load(text)
    return (
        {name: _cut(document, "workflows", name) for name in spec.workflows},
        {name: _cut(document, "actions", name) for name in spec.actions},
    )


def _cut(document: Document, section: str, name: str) -> str:
    line, column = document.position((section, name)) or (1, 1)
    indent = column - 1
    lines = document.text.splitlines(keepends=True)
    head = lines[line - 1]
    if head[:indent].strip() or not head[indent:].partition("#")[0].rstrip().endswith(":"):
        return dump({name: document.data[section][name]})  # written in one line with other things: nothing to cut along
    cut = [head[indent:]]
    for following in lines[line:]:
        content = following.lstrip()
        depth = len(following) - len(content)
        if not content:
            cut.append(following)
        elif content.startswith("#"):
            cut.append(following[min(indent, depth) :])
        elif depth > indent:
            cut.append(following[indent:])
        else:
            break
    return "".join(cut).rstrip() + "\n"
