"""``mistral-local move``: what a project has in one Mistral service, in a file, in another service, and compared."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from chalicelib.local.belongings import Belonging, Difference, Verdict, differences, read, written
from chalicelib.local.logs import complain
from chalicelib.local.remote import Refused, Remote
from chalicelib.local.transfer import Inventory, create, inventory, replace

THE_SAME: Final = 0
DIFFERENT: Final = 1
REFUSED: Final = 2


def add_move(commands: Any, url: str) -> None:
    """Add the command; ``url`` is where the service is found, unless the variable of Mistral's client says else."""
    parser = commands.add_parser("move", help="move definitions, environments and triggers between Mistral services")
    parts = parser.add_subparsers(dest="what", required=True)
    for name, text in (
        ("export", "write what a service has to a file"),
        ("import", "create what is in a file in a service, and print what differs then"),
        ("compare", "print how a service differs from a file"),
    ):
        command = parts.add_parser(name, help=text)
        command.add_argument("file", metavar="FILE", help="the file, - for standard output or input")
        url = os.environ.get("OS_MISTRAL_URL") or url
        command.add_argument("--url", default=url, help="the service (default: %(default)s)")
        command.add_argument(
            "--project", metavar="ID", help="only what belongs to this project (default: all one sees)"
        )
        command.add_argument(
            "--namespace", action="append", default=[], metavar="NAME", help="one with actions only; may be repeated"
        )
        if name == "import":
            command.add_argument("--replace", action="store_true", help="replace what is different there")


def move(arguments: argparse.Namespace) -> int:
    """Do it; the exit status: 0 when both sides are the same, 1 when they are not, 2 when nothing could be done."""
    service = Remote(arguments.url)
    try:
        if arguments.what == "export":
            return _export(service, arguments)
        text = sys.stdin.read() if arguments.file == "-" else Path(arguments.file).read_text("utf-8")
        here = read(text)
        if arguments.what == "import":
            _import(service, here, _found(service, arguments, here).belongings, replaces=arguments.replace)
        return _tell(differences(here, _found(service, arguments, here).belongings))
    except (OSError, ValueError) as error:
        complain(f"{arguments.file} {getattr(error, 'strerror', None) or error}")
    except Refused as error:
        complain(str(error))
    return REFUSED


def _found(service: Remote, arguments: argparse.Namespace, here: Sequence[Belonging] = ()) -> Inventory:
    namespaces = {*arguments.namespace, *(one.namespace for one in here)}
    return inventory(service, project=arguments.project, namespaces=namespaces)


def _export(service: Remote, arguments: argparse.Namespace) -> int:
    path, found = arguments.file, _found(service, arguments)
    for remark in found.remarks:
        complain(remark)
    text = written(found.belongings)
    if path == "-":
        print(text, end="")
    else:
        # Environments may hold what is not for everybody.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        print(f"{path}: {_counted(found.belongings)}")
    return THE_SAME


def _counted(belongings: Sequence[Belonging]) -> str:
    counts: dict[str, int] = {}
    for one in belongings:
        counts[one.kind.value] = counts.get(one.kind.value, 0) + 1
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items()) or "nothing"


def _import(service: Remote, here: Sequence[Belonging], there: Sequence[Belonging], *, replaces: bool) -> None:
    """Create what is missing; what is refused is told of, and the others go on."""
    for difference in differences(here, there):
        one, other = difference.here, difference.there
        if one is None or (other is not None and not replaces):
            continue
        try:
            if other is None:
                create(service, one)
            else:
                replace(service, one, other)
        except Refused as error:
            complain(f"refused: {one.title}: {error}")
            continue
        print(f"{'created' if other is None else 'replaced'}: {one.title}")


def _tell(found: Sequence[Difference]) -> int:
    """Print the differences; what the target has beyond what is moved is told, and counts for nothing."""
    for difference in found:
        print(f"{difference.verdict}: {difference.title}")
        for line in difference.lines():
            print(f"    {line}")
    left = sum(difference.verdict is not Verdict.EXTRA for difference in found)
    print(f"{left} differences" if left else "everything is there")
    return DIFFERENT if left else THE_SAME
