"""Endpoints that say what this service is: versions, the schema of its language, the operator's own document."""

from __future__ import annotations

from chalicelib.api.http import Answer, Call, Route
from chalicelib.errors import InputException
from chalicelib.lang.schema import language_schema


def routes() -> tuple[Route, ...]:
    """The routes of discovery."""
    return (
        Route("GET", "/", _versions, arguments=None),
        Route("GET", "/v2", _version, arguments=None),
        Route("GET", "/info", _info, arguments=None),
        Route("GET", "/v2/schemas/workflow-language", _schema, arguments=None),
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
