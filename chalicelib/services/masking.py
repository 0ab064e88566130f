"""Texts for the log and values for lists: what looks like a secret is taken out, whoever put it there.

The services log names, ids and states. But an error of a library may quote what it was given; so every line passes
through here on its way out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from chalicelib.limits import LOG_TEXT_CHARACTERS_MAX
from chalicelib.vocabulary import Json

HIDDEN: Final = "***"
_DEPTH_MAX: Final = 4

# What the names of secrets contain, in inputs as in headers.
_TELLING_NAMES: Final = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token|credential|authorization|cookie|signature|"
    r"api[-_ ]?key|private[-_ ]?key|access[-_ ]?key|session[-_ ]?key|auth[-_ ]?key"
)
_IS_SECRET: Final = re.compile(_TELLING_NAMES, re.IGNORECASE)
_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # A private key, as far as it goes.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    # The path of a URL may be what opens it, as that of a webhook; so may its user.
    (re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{1,20}://)(?:[^\s/'\"<>@]*@)?(?P<host>[^\s/'\"<>?#,;)]+)[^\s'\"<>,;)]*"),
     rf"\g<scheme>\g<host>/{HIDDEN}"),
    (re.compile(r"(\burl: )/\S+"), rf"\1/{HIDDEN}"),
    (re.compile(r"(/webhooks/)[\w.~%-]+"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic|Digest|Token)\s+[\w.~+/=:-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\beyJ[\w-]{6,}(?:\.[\w-]*){1,4}"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (re.compile(r"\bmk-[a-z2-7]{26}[:.][\w~+/=-]+"), HIDDEN),
    # name=value, "name": "value", Name: value
    (re.compile(
        rf"(?P<name>[\w.-]{{0,40}}(?:{_TELLING_NAMES})[\w-]{{0,40}})(?P<is>['\"]?\s*[:=]\s*)"
        r"(?P<value>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\{[^{}]*\}|\[[^\[\]]*\]|[^\s,;&'\"\]})]+)",
        re.IGNORECASE), rf"\g<name>\g<is>{HIDDEN}"),
)  # fmt: skip


def is_secret(name: str) -> bool:
    """Whether a value of this name is likely to be a secret."""
    return _IS_SECRET.search(name) is not None


def covered(value: Json) -> Json:
    """A value for a list of many: in it, texts whose names tell of a secret are hidden, at any depth."""
    if isinstance(value, dict):
        return {
            name: HIDDEN if isinstance(item, str) and item and is_secret(str(name)) else covered(item)
            for name, item in value.items()
        }
    return [covered(item) for item in value] if isinstance(value, list) else value


def masked(text: str) -> str:
    """A text without what looks like a secret: named ones, tokens, keys, and of URLs all but scheme and host.

    Of a long one the beginning.
    """
    if len(text) > LOG_TEXT_CHARACTERS_MAX:
        text = text[: LOG_TEXT_CHARACTERS_MAX - 1] + "…"
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


def masked_facts(facts: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Facts without what looks like a secret; what is nested too deeply is left out."""
    return {
        name: HIDDEN if is_secret(name) and value is not None else _masked_value(value, depth)
        for name, value in facts.items()
    }


def _masked_value(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        return masked_facts({str(name): item for name, item in value.items()}, depth + 1)
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked_value(item, depth + 1) for item in value]
    return masked(str(value))
