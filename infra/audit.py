"""`make audit`: whether a pinned package has a known vulnerability, asked by pip-audit of an advisory database.

Ends with status 1 for a vulnerability. Where the database cannot be asked, of all packages or of some, it says so and
ends with status 0, so that a machine without a way out is not stopped; with ``--strict`` with status 2.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LOCK: Final = Path(__file__).resolve().parents[1] / "requirements.lock"
FOUND: Final = 1
NOT_ASKED: Final = 2
_WAIT_SEC: Final = 120
_NAMES_SHOWN_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Report:
    """What came of the audit: vulnerabilities in words, how many packages were looked at, and which were not."""

    vulnerabilities: tuple[str, ...] = ()
    audited: int = 0
    skipped: tuple[str, ...] = ()
    failure: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every package was looked up."""
        return not self.failure and not self.skipped and self.audited > 0


def report_of(output: str, errors: str) -> Report:
    """Read what pip-audit has written."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or ["pip-audit said nothing"])[-1]
        return Report(failure=last[:300])
    looked_at = [package for package in packages if "skip_reason" not in package]
    vulnerabilities = tuple(
        f"{package['name']} {package['version']}: {fault['id']}"
        + (f", repaired in {', '.join(fault['fix_versions'])}" if fault.get("fix_versions") else ", not repaired yet")
        for package in looked_at
        for fault in package.get("vulns", ())
    )
    skipped = tuple(package["name"] for package in packages if "skip_reason" in package)
    return Report(vulnerabilities, len(looked_at), skipped)


def words(report: Report) -> str:
    """The report for people."""
    lines = list(report.vulnerabilities)
    if report.failure:
        lines.append(f"NOT AUDITED: the advisory database cannot be asked from here ({report.failure})")
    elif report.skipped:
        names = ", ".join(report.skipped[:_NAMES_SHOWN_MAX]) + (", …" if len(report.skipped) > _NAMES_SHOWN_MAX else "")
        total = report.audited + len(report.skipped)
        lines.append(f"NOT AUDITED: {len(report.skipped)} of {total} packages are unknown to the database ({names})")
    if not report.vulnerabilities and report.audited:
        lines.append(f"audited: {report.audited} packages, no known vulnerability")
    return "\n".join(lines)


def status_of(report: Report, *, strict: bool) -> int:
    """The exit status of the process."""
    if report.vulnerabilities:
        return FOUND
    return NOT_ASKED if strict and not report.is_complete else 0


def audit(lock: Path = LOCK) -> Report:
    """Ask. Only names and versions leave this machine."""
    options = ["--disable-pip", "--no-deps", "--format", "json", "--progress-spinner", "off"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT_SEC, check=False)
    except subprocess.TimeoutExpired:
        return Report(failure=f"no answer within {_WAIT_SEC} seconds")
    return report_of(done.stdout, done.stderr)


def main(arguments: list[str]) -> int:
    """Audit, say what was found."""
    parser = argparse.ArgumentParser(prog="python -m infra.audit", description=__doc__)
    parser.add_argument("--strict", action="store_true", help="fail where a package could not be audited")
    options = parser.parse_args(arguments)
    report = audit()
    print(words(report))
    return status_of(report, strict=options.strict)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
