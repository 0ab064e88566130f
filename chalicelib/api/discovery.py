"""Endpoints that say what this service is: versions, the schema of its language, the operator's own document."""

from __future__ import annotations

from typing import Final

from chalicelib.api.about import tells
from chalicelib.api.http import Answer, Call, Route
from chalicelib.errors import InputException
from chalicelib.lang.schema import language_schema
from chalicelib.vocabulary import JsonObject

_OBJECT: Final[JsonObject] = {"type": "object"}
_ABOUT: Final = {
    "versions": tells("The versions of the API.", _OBJECT | {"required": ["versions"]}),
    "version": tells(
        "The address of this version.",
        _OBJECT | {"required": ["uri"]},
        {302: "The address ends with a slash."},
    ),
    "info": tells("What the operator says of this deployment.", {}),
    "schema": tells("The JSON schema of the workflow language.", _OBJECT),
}


def routes() -> tuple[Route, ...]:
    """The routes of discovery."""
    return (
        Route("GET", "/", _versions, None, about=_ABOUT["versions"]),
        Route("GET", "/v2", _version, None, about=_ABOUT["version"]),
        Route("GET", "/info", _info, None, about=_ABOUT["info"]),
        Route("GET", "/v2/schemas/workflow-language", _schema, None, about=_ABOUT["schema"]),
    )


def _versions(call: Call) -> Answer:
    link = {"href": f"{call.base_url}/v2", "target": "v2", "rel": "self"}
    return Answer({"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})


def _version(call: Call) -> Answer:
    if not call.path.endswith("/"):
        return Answer(status=302, headers={"Location": f"{call.base_url}/v2/"})
    return Answer({"uri": f"{call.base_url}/v2"})


def _schema(_call: Call) -> Answer:
    return Answer(language_schema())


def _info(call: Call) -> Answer:
    if call.settings.info is None:
        raise InputException("Info endpoint disabled.")
    return Answer(call.settings.info)
