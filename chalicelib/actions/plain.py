"""Bytes as JSON: text where they are text, an object ``{"base64": …}`` where they are not; and back again."""

from __future__ import annotations

import base64
import binascii

from chalicelib.vocabulary import Json


def bytes_to_json(data: bytes) -> Json:
    """UTF-8 bytes as text, any other bytes as ``{"base64": text}``."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def bytes_from_json(value: Json) -> Json:
    """The reverse; a value that is neither text nor such an object comes back unchanged, for a validator to refuse.

    Raises ``ValueError`` for a ``base64`` text that is none.
    """
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str):
        try:
            return base64.b64decode(value["base64"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"not base64: {error}") from error
    return value
