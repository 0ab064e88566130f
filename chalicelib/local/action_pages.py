"""The pages in ``docs/actions``: one for each ``std`` action, and an index with the services of ``aws.*``.

``python -m chalicelib.local.action_pages`` writes them from the actions themselves; a test holds the files against this
module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chalicelib.actions.action import Action, Parameter
from chalicelib.actions.aws_models import AwsModels
from chalicelib.actions.registry import Registry

FOLDER: Final = Path(__file__).parents[2] / "docs" / "actions"
INDEX: Final = "README.md"
_PREFIX: Final = "std."
_PARAMETERS_OF_DOCSTRING: Final = re.compile(r"^\s*:param .*\Z", re.MULTILINE | re.DOTALL)
_SERVICES_A_LINE: Final = 6
_ASYNCHRONOUS: Final = "The action is asynchronous: it ends when its execution is completed through the API."


def pages() -> dict[str, str]:
    """The text of each page by its file's name."""
    registry = Registry()
    found = [registry.find(summary.name) for summary in registry.page(prefix=_PREFIX)]
    actions = [action for action in found if action is not None]
    return {INDEX: _index(actions)} | {f"{action.name}.md": _page(action) for action in actions}


def _page(action: Action) -> str:
    return "\n".join((
        f"# `{action.name}`",
        "",
        _description(action),
        "",
        *_parameters(action.parameters),
        "",
        "" if action.is_sync else f"{_ASYNCHRONOUS}\n",
        "More, with examples, is on the page of [actions](../actions.md). This page is made by",
        "`python -m chalicelib.local.action_pages`.",
        "",
    )).replace("\n\n\n", "\n\n")  # fmt: skip


def _description(action: Action) -> str:
    text = _PARAMETERS_OF_DOCSTRING.sub("", action.description).strip()
    return re.sub(r"``(.+?)``", r"`\1`", text)


def _parameters(parameters: tuple[Parameter, ...]) -> Iterator[str]:
    if not parameters:
        yield "It has no parameters."
        return
    yield "| parameter | type | default | meaning |"
    yield "|---|---|---|---|"
    for parameter in parameters:
        default = "required" if parameter.required else f"`{json.dumps(parameter.default)}`"
        meaning = re.sub(r"``(.+?)``", r"`\1`", parameter.description).replace("|", "\\|")
        yield f"| `{parameter.name}` | {parameter.type or 'any'} | {default} | {meaning} |"


def _index(actions: list[Action]) -> str:
    lines = ["# Index of actions", "", "## `std.*`", "", "| action | does |", "|---|---|"]
    for action in actions:
        summary = _description(action).splitlines()[0]
        lines.append(f"| [`{action.name}`]({action.name}.md) | {summary} |")
    services = AwsModels().services
    lines += [
        "", "## `aws.*`", "",
        "Each operation of these services is an action, `aws.<service>.<operation>`. `mistral action-get NAME` shows",
        "its parameters with AWS's own description, `mistral action-list --filter name=has:aws.ec2.` the operations of",
        "one service. boto3's waiters are `aws.<service>.wait_<waiter>`, and `aws.lambda.call`,",
        "`aws.lambda.call_async`, `aws.ssm.run_command` and `aws.ssm.run_playbook` are made by hand. How they work is",
        "on the page of [actions](../actions.md#aws).", "",
    ]  # fmt: skip
    for start in range(0, len(services), _SERVICES_A_LINE):
        lines.append(" ".join(f"`{service}`" for service in services[start : start + _SERVICES_A_LINE]))
    lines += ["", "This page is made by `python -m chalicelib.local.action_pages`.", ""]
    return "\n".join(lines)


def write(folder: Path = FOLDER) -> None:
    """Write all pages, and remove those of actions that are gone."""
    folder.mkdir(exist_ok=True)
    made = pages()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    for path in folder.glob("*.md"):
        if path.name not in made:
            path.unlink()


if __name__ == "__main__":
    write()
