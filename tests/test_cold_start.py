"""A cold start imports what every door needs, once, with bytecode, and nothing else."""

import pytest

from benchmarks import imports

# The bound is 400 ms on a quiet machine; this one may be slow, and busy with other tests.
CPU_MAX_SEC = 0.8
# Their number is the same on every machine, but for what a Python version brings along.
MODULES_MAX = 680

# What only some doors, some actions, developers or tests need.
NOT_NEEDED = {
    "_pytest",
    "asyncio",
    "asyncssh",
    "boto3",
    "chalice.cli",
    "chalice.deploy",
    "chalice.local",
    "chalicelib.actions.aws",
    "chalicelib.actions.email_transport",
    "chalicelib.actions.http_transport",
    "chalicelib.actions.openstack",
    "chalicelib.actions.ssh_transport",
    "chalicelib.local",
    "cryptography",
    "email.mime",
    "jwt",
    "keystoneauth1",
    "moto",
    "multiprocessing",
    "opentelemetry",
    "pkg_resources",
    "quickjs",
    "requests",
    "s3transfer",
    "setuptools",
    "smtplib",
    "sqlite3",
    "waitress",
}


@pytest.fixture(scope="module")
def imported():
    return imports.measure(4)


def test_the_import_of_the_doors_is_quick(imported):
    assert min(each.cpu_sec for each in imported) < CPU_MAX_SEC


def test_the_doors_import_nothing_that_only_some_need(imported):
    present = {name for name in imported[0].modules for one in NOT_NEEDED if f"{name}.".startswith(f"{one}.")}
    assert present == set()


def test_the_doors_import_few_modules(imported):
    assert "chalicelib.services.executor" in imported[0].modules
    assert len(imported[0].modules) <= MODULES_MAX


def test_no_garbage_is_looked_for_while_the_doors_are_imported_but_afterwards(imported):
    assert {each.collections for each in imported} == {0}
    assert all(each.collects_again for each in imported)


def test_the_table_says_what_was_measured(imported):
    shown = imports.table(imported)
    assert "least of 4" in shown
    assert str(len(imported[0].modules)) in shown
