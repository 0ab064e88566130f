"""``mistral-local event``: puts events on the bus of a running local service."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from chalicelib.local.events import ENTRIES_MAX, EventEndpoint
from chalicelib.local.logs import complain
from chalicelib.vocabulary import JsonObject

TIMEOUT_SEC: Final = 30.0
REFUSED: Final = 2
# The names of an event that was delivered, and what an entry calls them.
_NAMES: Final = {"source": "Source", "detail-type": "DetailType", "detail": "Detail", "resources": "Resources"}


class _UsageError(Exception):
    """The command cannot do what was asked."""


def event(arguments: argparse.Namespace) -> int:
    """Put events on the bus and print their ids; the exit status of the process."""
    try:
        entries = list(_entries(_text_of(arguments.file)))
        results = [result for part in _parts(entries) for result in _put(arguments.url, part)]
    except _UsageError as error:
        complain(str(error))
        return REFUSED
    for number, result in enumerate(results, start=1):
        if "EventId" in result:
            print(result["EventId"])
        else:
            complain(f"event {number} was refused: {result.get('ErrorMessage')}")
    return 0 if all("EventId" in result for result in results) else 1


def _entries(text: str) -> Iterator[JsonObject]:
    """One event, a list of them, or one a line; in the form in which they are put or in which they are delivered."""
    try:
        found = json.loads(text)
    except ValueError as whole:
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise _UsageError(f"this is neither JSON nor JSON line by line: {whole}") from whole
    for one in found if isinstance(found, list) else [found]:
        if not isinstance(one, dict):
            raise _UsageError(f"an event is a JSON object, not {json.dumps(one)[:80]}")
        entry: JsonObject = {_NAMES.get(str(name), str(name)): value for name, value in one.items()}
        if isinstance(entry.get("Detail"), dict):
            entry["Detail"] = json.dumps(entry["Detail"])
        yield {name: value for name, value in entry.items() if name[:1].isupper()}


def _parts(entries: list[JsonObject]) -> Iterator[list[JsonObject]]:
    for begin in range(0, len(entries), ENTRIES_MAX):
        yield entries[begin : begin + ENTRIES_MAX]


def _put(url: str, entries: list[JsonObject]) -> list[dict[str, Any]]:
    parts = urlsplit(url)
    headers = {"X-Amz-Target": EventEndpoint.TARGET, "Content-Type": "application/x-amz-json-1.1"}
    try:
        body = json.dumps({"Entries": entries})
        answer = requests.post(f"{parts.scheme}://{parts.netloc}/", body, headers=headers, timeout=TIMEOUT_SEC)
        answer.raise_for_status()
        results: list[dict[str, Any]] = answer.json()["Entries"]
    except (requests.RequestException, ValueError, KeyError) as error:
        raise _UsageError(
            f"no local service takes events at {url} (start it with mistral-local serve): {error}"
        ) from error
    return results


def _text_of(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except OSError as error:
        raise _UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _UsageError(f"{path} is not UTF-8 text") from error
