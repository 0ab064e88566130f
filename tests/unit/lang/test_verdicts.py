"""Small definitions, accepted and refused: see the head of ``verdicts.yaml``."""

from pathlib import Path

import pytest
import yaml

from chalicelib.errors import DefinitionError
from chalicelib.lang import parser

_TABLE = Path(__file__).parents[2] / "fixtures" / "definitions" / "verdicts.yaml"
_PARSERS = {
    "workflows": parser.parse_workflow_list,
    "actions": parser.parse_action_list,
    "workbooks": parser.parse_workbook,
}


def _cases():
    for group in yaml.safe_load(_TABLE.read_text(encoding="utf-8")):
        for case in group["cases"]:
            text = group["frame"].replace("<<fragment>>", case["fragment"])
            yield pytest.param(
                group["document"], text, case["verdict"], id=f"{group['document']}-{case['fragment'][:40]}"
            )


def _verdict(document, text):
    try:
        _PARSERS[document](text)
    except DefinitionError as error:
        return type(error).__name__ if error.faults else "refused without a fault"
    return "accepted"


@pytest.mark.parametrize(("document", "text", "verdict"), list(_cases()))
def test_a_definition_is_accepted_or_refused_as_the_table_says(document, text, verdict):
    assert _verdict(document, text) == verdict
