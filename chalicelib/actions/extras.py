"""Libraries that few installations need: they are extras of the package, and imported on first use."""

from __future__ import annotations


def missing_extra(extra: str, library: str) -> str:
    """Why an action cannot run where an extra was left out, and what to do about it."""
    return f"{library} is not installed here; install the extra: pip install 'mistral-serverless[{extra}]'"
