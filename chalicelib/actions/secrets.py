"""Secrets in the input of actions: references in, values for the action alone, and nothing of them out again.

A text that is ``secret://NAME`` as a whole is such a reference, and so is ``${secret://NAME}`` within a text. ``NAME``
is that of a secret in AWS Secrets Manager, ``ssm/NAME`` that of a parameter of Systems Manager; ``#KEY`` at the end
takes one member of a secret that is a JSON object. Each project has names of its own: before them stands a prefix.

The law: only an executor reads secrets, right before it runs the action. What is stored, logged and shown is the
reference. What the action answers is searched for the values that it was given, and they are taken out.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, quote_plus

from chalicelib.data import dataclass, replace
from chalicelib.errors import ActionException, MistralError
from chalicelib.limits import (
    SECRET_BYTES_MAX,
    SECRET_CACHE_SEC,
    SECRET_HIDDEN_CHARACTERS_MIN,
    SECRETS_CACHED_MAX,
    SECRETS_PER_INPUT_MAX,
)
from chalicelib.vocabulary import Json, JsonObject, Result

HIDDEN: Final = "***"
DEFAULT_PREFIX: Final = "mistral/{project}/"
PARAMETERS: Final = "ssm/"

_NAME: Final = r"secret://(?P<name>[\w/+=.@-]{1,400})(?:#(?P<key>[^{}#\s]{1,200}))?"
_WHOLE: Final = re.compile(_NAME, re.ASCII)
_WITHIN: Final = re.compile(r"\$\{" + _NAME + r"\}", re.ASCII)
_MARK: Final = "secret://"
_LOCAL_PROJECT: Final = "<default-project>"
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference: the name as it was written, and the member to take."""

    name: str
    key: str | None

    def __str__(self) -> str:
        return f"{_MARK}{self.name}" + (f"#{self.key}" if self.key else "")


class SecretSource(Protocol):
    """Where secrets are kept."""

    def read(self, name: str, project_id: str | None) -> str:
        """The text of a project's secret. Raises ActionException, which must not hold the text."""


@dataclass(frozen=True, slots=True)
class Revealed:
    """An input with values for its references, and what must not come out again."""

    input: JsonObject
    hidden: tuple[str, ...] = ()

    def hide(self, result: Result) -> Result:
        """The result without the values."""
        if not self.hidden:
            return result
        return replace(result, data=self._without(result.data), error=self._without(result.error))

    def hide_in(self, text: str) -> str:
        """A text without the values."""
        for value in self.hidden:
            text = text.replace(value, HIDDEN)
        return text

    def _without(self, value: Json) -> Json:
        match value:
            case str():
                return self.hide_in(value)
            case bytes():
                return self.hide_in(value.decode("utf-8", "backslashreplace"))
            case Mapping():
                return {self._without(name): self._without(item) for name, item in value.items()}
            case list() | tuple():
                return [self._without(item) for item in value]
        return value


def holds_references(value: Json) -> bool:
    """Whether a value refers to a secret anywhere, in a text or below."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if _MARK in item and (item.startswith(_MARK) or _WITHIN.search(item)):
                return True
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return False


class Secrets:
    """Reveals references. What it has read it keeps for a short while; it may be shared between threads."""

    def __init__(self, source: SecretSource, *, now: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._now = now
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str | None, str], tuple[float, str]] = OrderedDict()

    def reveal(self, input: JsonObject, project_id: str | None) -> Revealed:
        """Put values in the place of references. Raises ActionException naming the reference, never a value."""
        return _Revealing(self, project_id).revealed(input)

    def text(self, name: str, project_id: str | None) -> str:
        """The text of a secret, read at most every ``SECRET_CACHE_SEC``. Raises ActionException."""
        place = (project_id, name)
        with self._lock:
            kept = self._kept.get(place)
        if kept is not None and kept[0] > self._now():
            return kept[1]
        text = self._source.read(name, project_id)
        if len(text.encode()) > SECRET_BYTES_MAX:
            raise ActionException(f"{_MARK}{name} exceeds {SECRET_BYTES_MAX} bytes")
        with self._lock:
            self._kept[place] = (self._now() + SECRET_CACHE_SEC, text)
            self._kept.move_to_end(place)
            while len(self._kept) > SECRETS_CACHED_MAX:
                self._kept.popitem(last=False)
        return text


class _Revealing:
    """One input being revealed."""

    def __init__(self, secrets: Secrets, project_id: str | None) -> None:
        self._secrets = secrets
        self._project_id = project_id
        self._texts: dict[str, str] = {}
        self._hidden: set[str] = set()

    def revealed(self, input: JsonObject) -> Revealed:
        value = {name: self._value(item) for name, item in input.items()}
        return Revealed(value, tuple(sorted(self._hidden, key=len, reverse=True)))

    def _value(self, value: Json) -> Json:
        match value:
            case str():
                return self._from_text(value) if _MARK in value else value
            case dict():
                return {name: self._value(item) for name, item in value.items()}
            case list():
                return [self._value(item) for item in value]
        return value

    def _from_text(self, text: str) -> Json:
        if text.startswith(_MARK):
            whole = _WHOLE.fullmatch(text)
            if whole is None:
                raise ActionException(
                    "a text that begins with secret:// is no reference to a secret: secret://NAME#KEY"
                )
            return self._found(whole)
        return _WITHIN.sub(lambda found: _as_text(self._found(found)), text)

    def _found(self, found: re.Match[str]) -> Json:
        reference = Reference(found["name"], found["key"])
        if reference.name not in self._texts:
            if len(self._texts) >= SECRETS_PER_INPUT_MAX:
                raise ActionException(f"an input may refer to {SECRETS_PER_INPUT_MAX} secrets at most")
            self._texts[reference.name] = self._secrets.text(reference.name, self._project_id)
        text = self._texts[reference.name]
        value = text if reference.key is None else _member(text, reference)
        # The action may take apart what is JSON.
        for leaf in (*_leaves(value), *(_leaves(_parsed(text)) if value is text else ())):
            self._hidden.update(_forms(leaf))
        return value


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(text: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _member(text: str, reference: Reference) -> Json:
    value = _parsed(text)
    if not isinstance(value, dict) or reference.key not in value:
        raise ActionException(f"{reference}: the secret is no JSON object with the key {reference.key!r}")
    return value[reference.key]


def _leaves(value: Json) -> Iterator[str]:
    """The texts in a secret that is JSON, and its numbers as text."""
    match value:
        case str():
            yield value
        case bool() | None:
            return
        case int() | float():
            yield str(value)
        case dict():
            for item in value.values():
                yield from _leaves(item)
        case list():
            for item in value:
                yield from _leaves(item)


def _forms(value: str) -> Iterator[str]:
    """The ways in which a value may come out again. Very short ones would be found everywhere: they are left alone."""
    lines = [line.strip() for line in value.splitlines()] if "\n" in value else []
    for text in (value, value.strip(), *(line for line in lines if not line.startswith("-----"))):
        if len(text) >= SECRET_HIDDEN_CHARACTERS_MIN:
            yield from (text, quote(text), quote(text, safe=""), quote_plus(text), repr(text)[1:-1])
            yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
            yield from _encoded(text.encode())


def _encoded(data: bytes) -> Iterator[str]:
    """Base64 of the bytes wherever they begin in it: what stands there whatever is around them."""
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + data).decode()
        certain = text[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]
        if len(certain) >= 2 * SECRET_HIDDEN_CHARACTERS_MIN:
            yield certain
            yield certain.replace("+", "-").replace("/", "_")


# -- where they are kept


class AwsSecrets:
    """Secrets Manager and the parameters of Systems Manager, under the prefix of the project."""

    def __init__(self, prefix: str, *, region: str | None, endpoint_url: str | None) -> None:
        self._prefix = prefix
        self._place: dict[str, Any] = {"region": region, "endpoint_url": endpoint_url, "deadline_sec": 10.0}
        self._lock = threading.Lock()
        self._clients: Any = None

    def read(self, name: str, project_id: str | None) -> str:
        """See ``SecretSource``."""
        from botocore.exceptions import BotoCoreError, ClientError

        is_parameter = name.startswith(PARAMETERS)
        full_name = self.full_name(name.removeprefix(PARAMETERS) if is_parameter else name, project_id)
        try:
            return self._parameter(f"/{full_name}") if is_parameter else self._secret(full_name)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "Unknown")
            kind = "parameter" if is_parameter else "secret"
            raise ActionException(
                f"{_MARK}{name} cannot be read: [{code}] (the {kind} {'/' if is_parameter else ''}{full_name})"
            ) from error
        except BotoCoreError as error:
            raise ActionException(f"{_MARK}{name} cannot be read: {type(error).__name__}") from error

    def full_name(self, name: str, project_id: str | None) -> str:
        """The name in the account; with ``{project}`` in the prefix, no two projects share one, whatever their ids."""
        return self._prefix.replace("{project}", project_part(project_id)) + name

    def _secret(self, full_name: str) -> str:
        answer = self._client("secretsmanager").get_secret_value(SecretId=full_name)
        text = answer.get("SecretString")
        if text is None:
            text = answer.get("SecretBinary", b"").decode("utf-8", "strict")
        return str(text)

    def _parameter(self, full_name: str) -> str:
        answer = self._client("ssm").get_parameter(Name=full_name, WithDecryption=True)
        return str(answer["Parameter"]["Value"])

    def _client(self, service: str) -> Any:
        from chalicelib.actions.aws_clients import AwsClients
        from chalicelib.actions.aws_models import AwsModels

        with self._lock:
            if self._clients is None:
                self._clients = AwsClients(AwsModels())
        return self._clients.client(service, **self._place)


def project_part(project_id: str | None) -> str:
    """A project's id as a part of a name: what such names may not hold is written as ``.`` and its code."""
    if project_id is None or project_id == _LOCAL_PROJECT:
        return "default-project"
    return _UNUSUAL.sub(lambda found: "".join(f".{byte:02x}" for byte in found[0].encode()), project_id)


class GivenSecrets:
    """Secrets from a JSON object, for a local service: names to texts or objects, the same for every project."""

    def __init__(self, values: Mapping[str, Json]) -> None:
        self._values = dict(values)

    def read(self, name: str, project_id: str | None) -> str:  # noqa: ARG002 - a local service has one project
        """See ``SecretSource``."""
        if name not in self._values:
            raise ActionException(f"{_MARK}{name} cannot be read: the file of secrets has no such name")
        return _as_text(self._values[name])


def secrets_from(file: str | None, prefix: str, region: str | None, endpoint_url: str | None) -> Secrets:
    """The secrets of an installation by its settings: of a file, or of AWS.

    Raises ``MistralError`` for a file that cannot be used.
    """
    if file is None:
        return Secrets(AwsSecrets(prefix, region=region, endpoint_url=endpoint_url))
    try:
        values = json.loads(Path(file).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise MistralError(f"MISTRAL_SECRETS_FILE cannot be read as JSON: {type(error).__name__}") from error
    if not isinstance(values, dict):
        raise MistralError("MISTRAL_SECRETS_FILE is a JSON object of names and secrets.")
    return Secrets(GivenSecrets(values))
