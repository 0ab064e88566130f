"""The licences of everything that is deployed, as the packages themselves declare them.

`python -m infra.licences` writes the table into `docs/dependencies.md`; a test holds the page against it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageMetadata, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "dependencies.md"
_HEAD: Final = "| package | licence | needed by |\n|---|---|---|\n"
# What is deployed: these extras too. Of Chalice only its runtime, which needs nothing.
_EXTRAS: Final = ("ssh", "javascript")
_ALONE: Final = frozenset({"chalice"})
# Classifiers and loose words, as SPDX has them.
_SPDX: Final = {
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache-2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Dual License": "Apache-2.0 OR BSD-3-Clause",
}
# Whose metadata are silent, and what their licence files say.
_SILENT: Final = {"quickjs-ng": "MIT"}
# Used unchanged and under Apache-2.0's conditions; a licence that is not here needs a decision.
ACCEPTED: Final = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 AND CNRI-Python",
        "Apache-2.0 OR BSD-2-Clause",
        "Apache-2.0 OR BSD-3-Clause",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "EPL-2.0 OR GPL-2.0-or-later",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
    }
)


def deployed() -> dict[str, set[str]]:
    """Every package that is deployed, by its canonical name, and which packages need it (none: it is ours to need)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needs = [*project["dependencies"], *(need for extra in _EXTRAS for need in project["optional-dependencies"][extra])]
    found: dict[str, set[str]] = {}
    waiting = [(Requirement(need), "") for need in needs]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        need, by = waiting.pop()
        name = canonicalize_name(need.name)
        found.setdefault(name, set()).update({by} if by else ())
        key = (name, frozenset(need.extras))
        if key not in seen and name not in _ALONE:
            seen.add(key)
            waiting.extend((further, name) for further in _needs_of(distribution(name), need.extras))
    return found


def _needs_of(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in package.requires or ():
        need = Requirement(text)
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield need


def licence_of(name: str) -> str:
    """The licence of an installed package, as SPDX names it where it can be told; else the package's own words."""
    facts = distribution(name).metadata
    declared = _fact(facts, "License-Expression") or _SILENT.get(name, "")
    if not declared:
        classified = [
            value.rpartition(" :: ")[2] for value in facts.get_all("Classifier") or () if "License ::" in value
        ]
        own = _fact(facts, "License").strip()
        # A whole licence text, or nothing, says less than the classifier.
        declared = own if own in _SPDX or own in ACCEPTED else " OR ".join(_SPDX.get(each, each) for each in classified)
        declared = declared or own.partition("\n")[0] or "unknown"
    return _SPDX.get(declared, declared)


def _fact(facts: PackageMetadata, name: str) -> str:
    return next(iter(facts.get_all(name) or ()), "")


def table() -> str:
    """One row a package, in Markdown."""
    found = sorted(deployed().items())
    rows = (f"| {name} | {licence_of(name)} | {', '.join(sorted(by)) or 'us'} |\n" for name, by in found)
    return _HEAD + "".join(rows)


def renewed(text: str) -> str:
    """The page with the table as it is now."""
    return re.sub(re.escape(_HEAD) + r"(?:\|.*\n)*", lambda _: table(), text)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
