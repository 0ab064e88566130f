"""Checks of an action's input by value; each names the parameter. For the ``construct`` of ``@action``."""

from __future__ import annotations

from typing import Final

from chalicelib.vocabulary import Json, JsonObject

_KINDS: Final = {dict: "an object", list: "a list", bool: "a boolean", int: "a number", float: "a number", str: "text"}


def kind_of(value: Json) -> str:
    """What a value is, in words."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)


def need_text(input: JsonObject, *names: str, optional: bool = False, one_line: bool = False) -> None:
    """Raise ``TypeError`` for a parameter that is no text, ``ValueError`` for line breaks where there may be none.

    ``optional`` ones may be absent or null.
    """
    for name in names:
        value = input.get(name)
        if value is None and optional:
            continue
        if not isinstance(value, str):
            raise TypeError(f"{name} must be text, not {kind_of(value)}")
        if one_line and not value.isprintable():
            raise ValueError(f"{name} may not contain line breaks or control characters")


def need_texts(input: JsonObject, *names: str, optional: bool = False, at_most: int) -> None:
    """Raise ``TypeError`` for a parameter that is no list of texts, ``ValueError`` for one that is too long.

    The texts may not contain line breaks; ``optional`` parameters may be absent or null.
    """
    for name in names:
        value = input.get(name)
        if value is None and optional:
            continue
        if not isinstance(value, list):
            raise TypeError(f"{name} must be a list of texts, not {kind_of(value)}")
        if len(value) > at_most:
            raise ValueError(f"{name} may have {at_most} items at most, not {len(value)}")
        for index, item in enumerate(value):
            need_text({f"{name}[{index}]": item}, f"{name}[{index}]", one_line=True)


def host_and_port(text: str, *, name: str, port: int) -> tuple[str, int]:
    """``host``, ``host:port`` or ``[address]:port``. Raises ``ValueError`` naming the parameter."""
    host, colon, number = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")) or (text.startswith("[") and text.endswith("]")):
        host, number = text, str(port)
    if not host.strip("[]"):
        raise ValueError(f"{name} has no host: {text!r}")
    if not (number.isascii() and number.isdecimal() and 0 < int(number) < 65536):
        raise ValueError(f"{name} has no port from 1 to 65535 behind its colon: {text!r}")
    return host.strip("[]"), int(number)
