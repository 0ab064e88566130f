"""Answers too large for Lambda: kept in the payload bucket for a few minutes, under an address that nobody can guess.

Who may have the answer was decided before it was made; the address is as good as the answer itself, and dies soon.
"""

from __future__ import annotations

from chalicelib.limits import ANSWER_LIFETIME_SEC
from chalicelib.services.ports import Entropy, Payloads


class LargeAnswers:
    """Where answers that cannot be given directly are put."""

    def __init__(self, payloads: Payloads, entropy: Entropy) -> None:
        self._payloads = payloads
        self._entropy = entropy

    def put(self, text: str) -> str:
        """Keep an answer; the address where it can be fetched, absolute or from the root of the service."""
        token = (self._entropy.token() + self._entropy.token()).hex()
        return self._payloads.share(token, text.encode(), ANSWER_LIFETIME_SEC)
