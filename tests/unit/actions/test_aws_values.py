"""Values keep their meaning on their way to AWS and back."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from botocore.model import DenormalizedStructureBuilder

from chalicelib.actions.aws_values import faults_of, to_aws, to_json

SHAPE = (
    DenormalizedStructureBuilder()
    .with_members(
        {
            "Blob": {"type": "blob"},
            "Count": {"type": "integer"},
            "Ratio": {"type": "double"},
            "When": {"type": "timestamp"},
            "Text": {"type": "string"},
            "List": {"type": "list", "member": {"type": "blob"}},
            "Map": {"type": "map", "key": {"type": "string"}, "value": {"type": "integer"}},
            "Nested": {"type": "structure", "members": {"Blob": {"type": "blob"}}},
        }
    )
    .build_model()
)


def test_blobs_are_text_or_base64_at_any_depth():
    given = {"Blob": "ä", "List": ["a", {"base64": "/w=="}], "Nested": {"Blob": "b"}}
    assert to_aws(given, SHAPE) == {"Blob": b"\xc3\xa4", "List": [b"a", b"\xff"], "Nested": {"Blob": b"b"}}


def test_whole_floats_are_whole_numbers_where_such_are_wanted():
    assert to_aws({"Count": 5.0, "Map": {"a": 2.0}, "Ratio": 2.0}, SHAPE) == {"Count": 5, "Map": {"a": 2}, "Ratio": 2.0}
    assert to_aws({"Count": 5.5}, SHAPE) == {"Count": 5.5}


def test_nulls_inside_are_left_out():
    assert to_aws({"Count": None, "Nested": {"Blob": None}}, SHAPE) == {"Nested": {}}


@pytest.mark.parametrize("when", ["2026-01-02T03:04:05Z", "2026-01-02", 1767323045, 1767323045.5])
def test_a_timestamp_may_be_iso_text_or_seconds(when):
    assert faults_of({"When": when}, SHAPE) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("Blob", 5), ("Blob", {"base64": 5}), ("Count", "5"), ("Count", 5.5), ("Text", 5), ("List", "x"), ("Map", [1])],
)
def test_values_of_another_type_are_faults(name, value):
    (found,) = faults_of({name: value}, SHAPE)
    assert f"parameter {name}" in found


def test_answers_become_plain_json():
    zone = datetime.timezone(datetime.timedelta(hours=2))
    answer = {
        "aware": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone),
        "naive": datetime.datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - what botocore gives, now and then
        "day": datetime.date(2026, 1, 2),
        "text": b"text",
        "bytes": b"\xff",
        "whole": Decimal("5"),
        "part": Decimal("5.5"),
        "endless": float("inf"),
        "set": {1},
        "nested": [{"b": (b"x", None, True)}],
    }
    assert to_json(answer) == {
        "aware": "2026-01-02T03:04:05+02:00",
        "naive": "2026-01-02T03:04:05+00:00",
        "day": "2026-01-02",
        "text": "text",
        "bytes": {"base64": "/w=="},
        "whole": 5,
        "part": 5.5,
        "endless": "inf",
        "set": [1],
        "nested": [{"b": ["x", None, True]}],
    }
