"""The backends on which the one suite of a port runs.

``memory`` and ``moto`` always; DynamoDB Local too when ``MISTRAL_TEST_DYNAMODB_URL`` gives its endpoint.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.memory import MemoryTable
from chalicelib.adapters.tables import DynamoTable, create_tables
from chalicelib.local.emulator import safe_moto
from chalicelib.services.ports import Table

REGION = "us-east-1"
DYNAMODB_URL = os.environ.get("MISTRAL_TEST_DYNAMODB_URL", "")
DYNAMODB_BACKENDS = ["moto", "dynamodb-local"] if DYNAMODB_URL else ["moto"]


@pytest.fixture(scope="module")
def moto() -> Iterator[Aws]:
    """An emulated AWS, safe under concurrent writers; the tests of a module share it under names of their own."""
    with safe_moto():
        yield Aws(REGION)


@pytest.fixture(scope="module")
def aws_of(request: pytest.FixtureRequest) -> Callable[[str], Aws]:
    """The way to each backend that speaks DynamoDB's protocol."""
    dynamodb_local = Aws(REGION, endpoint_url=DYNAMODB_URL)

    def give(backend: str) -> Aws:
        if backend != "moto":
            return dynamodb_local
        moto: Aws = request.getfixturevalue("moto")
        return moto

    return give


@contextmanager
def a_dynamo_table(aws: Aws) -> Iterator[DynamoTable]:
    table_name = f"test-{uuid4()}"
    create_tables(aws, [table_name])
    yield DynamoTable(aws, table_name, pause=lambda seconds: None)
    aws.client("dynamodb").delete_table(TableName=table_name)


@pytest.fixture(params=DYNAMODB_BACKENDS)
def dynamo_table(request: pytest.FixtureRequest, aws_of: Callable[[str], Aws]) -> Iterator[DynamoTable]:
    """A table on each backend that speaks DynamoDB's protocol."""
    with a_dynamo_table(aws_of(request.param)) as table:
        yield table


@pytest.fixture(params=["memory", *DYNAMODB_BACKENDS])
def table(request: pytest.FixtureRequest, aws_of: Callable[[str], Aws]) -> Iterator[Table]:
    """A table on every backend."""
    if request.param == "memory":
        yield MemoryTable()
        return
    with a_dynamo_table(aws_of(request.param)) as table:
        yield table
