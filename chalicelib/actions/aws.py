"""``aws.<service>.<operation>``: every operation of every AWS service that botocore has a model of, as an action.

Service names are boto3's (``ec2``, ``cognito-idp``), operations are in snake case as boto3's methods. The parameters
are the members of the operation's input, spelled as AWS spells them, and three more: ``region``, ``query`` (JMESPath
on the result) and ``paginate`` (all pages as one result). Where an operation has a member of such a name, the extra
one is called ``aws_region`` and so on. The result is the answer as plain JSON without ``ResponseMetadata``; see
``aws_values``.
"""

from __future__ import annotations

import difflib
import html
import itertools
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import jmespath  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import OperationModel, Shape
from botocore.paginate import PageIterator
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]

from chalicelib.actions.action import ActionContext, Parameter, check_names, signature_text
from chalicelib.actions.aws_clients import AwsClients
from chalicelib.actions.aws_models import AwsModels
from chalicelib.actions.aws_values import faults_of, to_aws, to_json
from chalicelib.errors import ActionException, InvalidActionException
from chalicelib.limits import ACTION_DESCRIPTION_CHARACTERS_MAX, AWS_PAGED_ITEMS_MAX, AWS_PAGES_MAX
from chalicelib.vocabulary import Json, JsonObject, Result

_IMPLEMENTATION: Final = "chalicelib.actions.aws.AwsAction"
_PARAGRAPH: Final = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]+>")
_JSON_TYPES: Final = {
    "structure": "object",
    "map": "object",
    "list": "array",
    "integer": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "boolean": "boolean",
}
_EXTRAS: Final = (
    Parameter("region", required=False, type="string", description="The AWS region, else the installation's own."),
    Parameter("query", required=False, type="string", description="A JMESPath expression applied to the result."),
    Parameter("paginate", required=False, default=False, type="boolean", description="Fetch all pages as one result."),
)


class AwsActions:
    """The source of all ``aws.*`` actions."""

    def __init__(self) -> None:
        self._models = AwsModels()
        self._clients = AwsClients(self._models)

    def find(self, name: str) -> AwsAction | None:
        """The action of that full name, or ``None``."""
        parts = name.split(".")
        if len(parts) != 3 or parts[0] != "aws":
            return None
        model = self._models.operation(parts[1], parts[2])
        return None if model is None else AwsAction(name, parts[1], parts[2], model, self._models, self._clients)

    def names(self, *, after: str = "", prefix: str = "") -> Iterator[str]:
        """Full names in order, leaving out whole services that lie before ``after`` or outside ``prefix``."""
        for service in self._models.services:
            head = f"aws.{service}."
            wanted = head.startswith(prefix) or prefix.startswith(head)
            if wanted and (head >= after or after.startswith(head)):
                for operation in self._models.operations(service):
                    yield head + operation

    def names_near(self, name: str) -> list[str]:
        """Names to look for a misspelt one in: the operations of its service, or of the services spelt like it."""
        _, _, rest = name.partition(".")
        service, _, _ = rest.partition(".")
        known = service in self._models.services
        services = [service] if known else difflib.get_close_matches(service, self._models.services, n=3)
        return [f"aws.{near}.{operation}" for near in services for operation in self._models.operations(near)]


@dataclass(frozen=True, slots=True)
class AwsAction:
    """One operation of one service."""

    name: str
    service: str
    operation: str
    model: OperationModel
    models: AwsModels
    clients: AwsClients
    accepts_any: bool = False
    is_sync: bool = True

    @property
    def label(self) -> str:
        """How the action is named in the text of an exception it raised."""
        return self.name

    @property
    def description(self) -> str:
        """The first paragraph of AWS's own description."""
        return _first_paragraph(self.model.documentation)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The members of the operation's input, required ones first, then the extras."""
        required = self._required
        own = [_parameter(name, shape, required=name in required) for name, shape in self._members.items()]
        return (*sorted(own, key=lambda parameter: not parameter.required), *self._extras)

    @property
    def signature_text(self) -> str:
        """The API's ``input``."""
        return signature_text(self.parameters)

    def check(self, input: JsonObject) -> None:
        """Raise ``InvalidActionException`` for wrong names, and for concrete values that the model refuses."""
        try:
            check_names(self.name, _IMPLEMENTATION, self.parameters, input)
        except InvalidActionException as error:
            raise InvalidActionException(error.message + self._suggestions(input)) from error
        own, extras = self._split(input)
        faults = self._extra_faults(extras)
        if self.model.input_shape is not None:
            tokens = dict.fromkeys(self.model.idempotent_members, "x" * 64)
            faults += faults_of({**tokens, **own}, self.model.input_shape)
        if faults:
            raise InvalidActionException(
                f"Invalid input [name={self.name}, class={_IMPLEMENTATION}]: {'; '.join(faults)}"
            )

    def check_values(self, _input: JsonObject) -> None:
        """Nothing more than ``check`` finds."""

    def is_pure(self, _input: JsonObject) -> bool:
        """A call to AWS never is."""
        return False

    def duration_sec(self, _input: JsonObject) -> float:
        """Nothing is known beforehand."""
        return 0.0

    def run(self, input: JsonObject, context: ActionContext) -> Result:
        """Call AWS. Raises ``ActionException`` with AWS's error code and message."""
        own, extras = self._split(input)
        try:
            client = self.clients.client(
                self.service,
                region=extras.get("region") or context.aws.region,
                endpoint_url=context.aws.endpoint_url,
                deadline_sec=context.deadline_sec,
            )
            shape = self.model.input_shape
            arguments = {} if shape is None else to_aws({**self._tokens(context), **own}, shape)
            if extras.get("paginate"):
                answer = _all_pages(client.get_paginator(self.operation), arguments, context.deadline_sec)
            else:
                answer = getattr(client, self.operation)(**arguments)
            value = to_json({name: item for name, item in answer.items() if name != "ResponseMetadata"})
            query = extras.get("query")
            return Result(data=jmespath.search(query, value) if query else value)
        except ClientError as error:
            fault = error.response.get("Error", {})
            raise ActionException(
                f"{self.name} failed: [{fault.get('Code', 'Unknown')}] {fault.get('Message', '')}"
            ) from error
        except (BotoCoreError, JMESPathError, ActionException) as error:
            raise ActionException(f"{self.name} failed: {error}") from error

    @property
    def _members(self) -> dict[str, Shape]:
        return {} if self.model.input_shape is None else dict(self.model.input_shape.members)

    @property
    def _required(self) -> set[str]:
        shape = self.model.input_shape
        return set() if shape is None else set(shape.required_members) - set(self.model.idempotent_members)

    @property
    def _extras(self) -> tuple[Parameter, ...]:
        members = self._members
        return tuple(
            Parameter(f"aws_{p.name}", p.required, p.default, p.type, p.description) if p.name in members else p
            for p in _EXTRAS
        )

    def _split(self, input: JsonObject) -> tuple[JsonObject, JsonObject]:
        """The operation's own parameters, and the extras under their plain names. A null is as good as nothing."""
        names = {shown.name: plain.name for shown, plain in zip(self._extras, _EXTRAS, strict=True)}
        own = {name: value for name, value in input.items() if name not in names and value is not None}
        return own, {names[name]: value for name, value in input.items() if name in names}

    def _tokens(self, context: ActionContext) -> dict[str, str]:
        """Idempotency tokens that a second run of the same action execution repeats, so that AWS acts once."""
        if context.action_execution_id is None:
            return {}
        return {
            name: str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.name}/{name}/{context.action_execution_id}"))
            for name in self.model.idempotent_members
        }

    def _suggestions(self, input: JsonObject) -> str:
        known = {_bare(parameter.name): parameter.name for parameter in self.parameters}
        hints = [
            f"did you mean {known[near[0]]} instead of {name}?"
            for name in input
            if name not in known.values() and (near := difflib.get_close_matches(_bare(name), known, n=1))
        ]
        return f": {' '.join(hints)}" if hints else ""

    def _extra_faults(self, extras: JsonObject) -> list[str]:
        faults = []
        query, paginate, region = extras.get("query"), extras.get("paginate"), extras.get("region")
        if region is not None and not isinstance(region, str):
            faults.append("region must be text")
        if isinstance(query, str) and not _is_expression(query):
            try:
                jmespath.compile(query)
            except JMESPathError as error:
                faults.append(f"query is not a JMESPath expression: {error}")
        elif query is not None and not isinstance(query, str):
            faults.append("query must be text")
        if paginate and not self.models.can_paginate(self.service, self.model.name):
            faults.append(f"paginate: {self.name} has no pages")
        if not (paginate is None or isinstance(paginate, bool) or _is_expression(paginate)):
            faults.append("paginate must be true or false")
        return faults


def _all_pages(paginator: Any, arguments: JsonObject, deadline_sec: float | None) -> JsonObject:
    """All pages merged, as botocore does it; beyond the bound of items the result carries ``NextToken``."""
    ends_at = None if deadline_sec is None else time.monotonic() + deadline_sec

    class BoundedPages(PageIterator):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            for number, page in enumerate(super().__iter__()):
                if number >= AWS_PAGES_MAX:
                    raise ActionException(f"more than {AWS_PAGES_MAX} pages; narrow the request down")
                if ends_at is not None and time.monotonic() > ends_at:
                    raise ActionException("the time of the action was over before the last page")
                yield page

    paginator.PAGE_ITERATOR_CLS = BoundedPages
    pages = paginator.paginate(**arguments, PaginationConfig={"MaxItems": AWS_PAGED_ITEMS_MAX})
    result: JsonObject = pages.build_full_result()
    return result


def _parameter(name: str, shape: Shape, *, required: bool) -> Parameter:
    kind = _JSON_TYPES.get(shape.type_name, "string")
    return Parameter(name, required, type=kind, description=_first_paragraph(shape.documentation))


def _first_paragraph(documentation: str | None) -> str:
    """AWS's HTML as one paragraph of text."""
    text = documentation or ""
    found = next((item for item in itertools.islice(_PARAGRAPH.findall(text), 5) if item.strip()), text)
    plain = " ".join(html.unescape(_TAG.sub("", found)).split())
    longest = ACTION_DESCRIPTION_CHARACTERS_MAX
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def _bare(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _is_expression(value: Json) -> bool:
    return isinstance(value, str) and ("<%" in value or "{{" in value)
