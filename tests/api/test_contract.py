"""What the API answers is what its description says: no status, field or type that is not described, and never a 500.

The examples are the same every time. ``python -m tests.api.contract --examples 500 --seed 7`` looks further.
"""

import pytest

from tests.api.contract import examine, labels

EXAMPLES = 6


@pytest.mark.parametrize("label", labels())
def test_an_operation_keeps_its_contract(label):
    examine(label, EXAMPLES, 1)
