"""The table of policies in the documentation.

`python -m infra.policies` writes it into `docs/security.md`; a test holds the page against `chalicelib.api.policies`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from chalicelib.api.policies import POLICIES, Policy

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "security.md"
_HEAD: Final = "| rule | who | routes |\n|---|---|---|\n"


def table() -> str:
    """One row a rule, in Markdown."""
    return _HEAD + "".join(map(_row, POLICIES))


def _row(policy: Policy) -> str:
    routes = ", ".join(f"`{route}`" for route in policy.routes)
    return f"| `{policy.rule}` | {policy.who.value} | {f'{routes} {policy.when.value}'.strip()} |\n"


def renewed(text: str) -> str:
    """The page with the table as it is now."""
    return re.sub(re.escape(_HEAD) + r"(?:\|.*\n)*", lambda _: table(), text)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
