"""The audit of dependencies: what is found, what could not be asked, and the licences of what is deployed."""

import json
from typing import Any

import pytest

from infra import audit, licences

CLEAN: dict[str, Any] = {"name": "yaql", "version": "3.2.0", "vulns": []}
FAULTY: dict[str, Any] = {
    "name": "jinja2",
    "version": "3.1.0",
    "vulns": [{"id": "GHSA-1", "fix_versions": ["3.1.6"]}, {"id": "GHSA-2", "fix_versions": []}],
}
UNKNOWN: dict[str, Any] = {"name": "moto", "skip_reason": "Dependency not found"}


def report(*packages: dict[str, Any]) -> audit.Report:
    return audit.report_of(json.dumps({"dependencies": list(packages), "fixes": []}), "")


def test_a_vulnerability_fails_the_audit_and_is_named_with_its_repair():
    found = report(CLEAN, FAULTY)
    assert audit.status_of(found, strict=False) == audit.FOUND
    assert "jinja2 3.1.0: GHSA-1, repaired in 3.1.6" in audit.words(found)
    assert "GHSA-2, not repaired yet" in audit.words(found)


def test_a_clean_audit_says_how_much_it_has_seen():
    found = report(CLEAN)
    assert audit.words(found) == "audited: 1 packages, no known vulnerability"
    assert audit.status_of(found, strict=True) == 0


def test_what_the_database_does_not_know_is_not_called_clean():
    found = report(UNKNOWN, UNKNOWN)
    assert audit.words(found).startswith("NOT AUDITED: 2 of 2 packages")
    assert "no known vulnerability" not in audit.words(found)
    assert (audit.status_of(found, strict=False), audit.status_of(found, strict=True)) == (0, audit.NOT_ASKED)


@pytest.mark.parametrize("output", ["", "{}", "[]", "null", "no JSON"])
def test_a_database_that_does_not_answer_is_said_in_its_own_words(output: str):
    found = audit.report_of(output, "Traceback\nConnectionError: no route to host\n")
    assert audit.words(found).endswith("(ConnectionError: no route to host)")
    assert audit.words(found).startswith("NOT AUDITED")
    assert (audit.status_of(found, strict=False), audit.status_of(found, strict=True)) == (0, audit.NOT_ASKED)


def test_an_audit_that_has_seen_nothing_is_not_complete():
    assert not report().is_complete


def test_the_table_of_licences_is_what_is_installed():
    text = licences.PAGE.read_text("utf-8")
    assert licences.renewed(text) == text
    assert licences.table() in text


def test_every_licence_of_what_is_deployed_is_accepted():
    found = {name: licences.licence_of(name) for name in licences.deployed()}
    assert {name: licence for name, licence in found.items() if licence not in licences.ACCEPTED} == {}


def test_what_is_deployed_is_locked():
    lock = (licences.ROOT / "requirements.lock").read_text("utf-8")
    assert [name for name in licences.deployed() if f"\n{name}==" not in f"\n{lock}"] == []
