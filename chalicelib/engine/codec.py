"""Records as bytes: compact JSON with short keys, defaults left out, compressed where that pays.

The tables below are the stored format. A key, once stored, keeps its meaning for ever; a new field gets a new key and a
default, so that records of an older version read well and older code ignores what it does not know.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Final, Generic, TypeVar

from chalicelib.engine import records as r
from chalicelib.errors import UnknownFormatError
from chalicelib.vocabulary import Json, Result, State

FORMAT_VERSION: Final = 1
_COMPRESS_FROM_BYTES: Final = 600

T = TypeVar("T")
_Convert = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


class _Table(Generic[T]):
    """How one record class is written: a short key for each field, and a converter where JSON has no such type."""

    def __init__(self, record_class: type[T], keys: str, /, **converters: tuple[_Convert, _Convert]) -> None:
        self._class = record_class
        names = dict(pair.split("=") for pair in keys.split())
        assert len(set(names.values())) == len(names), f"a key of {record_class.__name__} stands for two fields"
        self._rows: list[tuple[str, str, Any, _Convert, _Convert]] = []
        for field in fields(record_class):  # type: ignore[arg-type]
            default = field.default_factory() if field.default_factory is not MISSING else field.default
            encode, decode = converters.get(field.name, (_same, _same))
            self._rows.append((field.name, names.pop(field.name), default, encode, decode))
        self._readers = {key: (name, decode) for name, key, _, _, decode in self._rows}
        assert not names, f"unknown fields of {record_class.__name__}: {names}"

    def encode(self, record: T) -> dict[str, Any]:
        """The record as plain data without its defaults."""
        data = {}
        for name, key, default, encode, _ in self._rows:
            value = getattr(record, name)
            if value is not default and value != default:
                data[key] = encode(value)
        return data

    def decode(self, data: Mapping[str, Any]) -> T:
        """The record that such data stands for."""
        given = {}
        for key, value in data.items():
            # A key of a newer version is passed over.
            if (row := self._readers.get(key)) is not None:
                name, decode = row
                given[name] = decode(value)
        return self._class(**given)


# -- values that may live elsewhere


def encode_value(value: Json) -> Json:
    """A value, or the reference that stands for it; data that looks like a reference is marked as data."""
    if isinstance(value, r.PayloadRef):
        return {"~": ["p", value.digest, value.size]}
    if isinstance(value, r.ValueRef):
        return {"~": ["v", value.key]}
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("~", "~~"):
        return {"~~": value}
    return value


def decode_value(value: Json) -> Json:
    """The inverse of ``encode_value``."""
    if isinstance(value, dict) and len(value) == 1:
        if "~" in value:
            kind, *rest = value["~"]
            return r.PayloadRef(rest[0], rest[1]) if kind == "p" else r.ValueRef(rest[0])
        if "~~" in value:
            return value["~~"]
    return value


def encode_members(value: Json) -> Json:
    """An object whose members may be references, or a reference to the whole."""
    if not isinstance(value, dict):
        return encode_value(value)
    if len(value) == 1 and next(iter(value)) in ("~", "~~"):
        return {"~~": {key: encode_value(member) for key, member in value.items()}}
    return {key: encode_value(member) for key, member in value.items()}


def decode_members(value: Json) -> Json:
    """The inverse of ``encode_members``."""
    data = decode_value(value)
    if isinstance(data, dict):
        return {key: decode_value(member) for key, member in data.items()}
    return data


def encode_result(result: Result) -> Json:
    """A result, of which the value may be a reference."""
    kind = "c" if result.cancel else ("d" if result.error is None else "e")
    return {kind: encode_value(result.data if kind == "d" else result.error)}


def decode_result(data: Json) -> Result:
    """The inverse of ``encode_result``."""
    ((kind, value),) = data.items()
    value = decode_value(value)
    return Result(data=value) if kind == "d" else Result(error=value, cancel=kind == "c")


def _optional(convert: _Convert) -> _Convert:
    return lambda value: None if value is None else convert(value)


def _sequence(table: _Table[Any]) -> tuple[_Convert, _Convert]:
    return (lambda values: [table.encode(v) for v in values], lambda values: tuple(table.decode(v) for v in values))


def _nested(table: _Table[Any]) -> tuple[_Convert, _Convert]:
    return _optional(table.encode), _optional(table.decode)


def _deltas(numbers: Any) -> list[int]:
    """Numbers as differences: a run of neighbours compresses to nothing."""
    previous = 0
    differences = []
    for number in numbers:
        differences.append(number - previous)
        previous = number
    return differences


def _undeltas(differences: list[int]) -> tuple[int, ...]:
    total = 0
    numbers = []
    for difference in differences:
        total += difference
        numbers.append(total)
    return tuple(numbers)


_STATE: Final = (str, State)
_TUPLE: Final = (list, tuple)
_BITS: Final = (lambda bits: f"{bits:x}", lambda text: int(text, 16))
_MEMBERS: Final = (encode_members, decode_members)
_VALUE: Final = (encode_value, decode_value)
_ORDINALS: Final = (_deltas, _undeltas)

_POLL: Final = _Table(r.Poll, "number=# due_at=d memo=m", memo=(encode_value, decode_value))
_CLAIM: Final = _Table(r.Claim, "claimer=c deadline=d poll=p", poll=_nested(_POLL))
_INVOCATION: Final = _Table(r.Invocation, "name=n input=i", input=_MEMBERS)
_ACTION: Final = _Table(
    r.ActionExecution,
    "number=# name=n state=s created_at=c updated_at=u input=i result=r accepted=a index=x is_sync=y "
    "is_pure=p base=b target=t timeout_sec=o safe_rerun=f claim=l execution_id=e revision=v heard=h",
    state=_STATE,
    input=_MEMBERS,
    result=(encode_result, decode_result),
    base=_nested(_INVOCATION),
    claim=_nested(_CLAIM),
)
_TIMER: Final = _Table(r.Timer, "kind=k stamp=s due_at=d delay_sec=y", kind=(str, r.TimerKind))
_ITEMS: Final = _Table(
    r.ItemsProgress,
    "count=n concurrency=c started=s finished=f failed=e cancelled=x tolerated_percentage=t repeated=r first_number=m",
    started=_BITS,
    finished=_BITS,
    failed=_BITS,
    cancelled=_BITS,
    repeated=_BITS,
)
_CONTEXT: Final = _Table(r.ContextNode, "base=b variables=v versions=n", variables=_MEMBERS)
_TRIGGER: Final = (
    lambda triggers: [[t.ordinal, t.event] for t in triggers],
    lambda triggers: tuple(r.TriggeredBy(ordinal, event) for ordinal, event in triggers),
)
_AFTER_WAIT: Final = (
    lambda pair: [str(pair[0]), pair[1]],
    lambda pair: (State(pair[0]), pair[1]),
)
_NEXT: Final = (
    lambda links: None if links is None else [list(link) for link in links],
    lambda links: None if links is None else tuple((name, event) for name, event in links),
)
_TASK: Final = _Table(
    r.TaskExecution,
    "ordinal=# name=n type=t state=s created_at=c state_info=I updated_at=u started_at=b finished_at=f "
    "in_context=x triggered_by=g published=P context=C processed=p next_tasks=N error_handled=h actions=A "
    "next_number=m has_items=w item_values=V concurrency=k items=W stamp=z timers=T timeout_sec=o retry_no=r "
    "waited_before=B waited_after=F result_after_wait=R results_dropped=d dropped_below=D accepted_from=Z "
    "cut_off_from=q went_on=y out_context=X page=G",
    type=(str, r.TaskType),
    state=_STATE,
    triggered_by=_TRIGGER,
    published=_MEMBERS,
    item_values=_MEMBERS,
    context=_nested(_CONTEXT),
    next_tasks=_NEXT,
    actions=_sequence(_ACTION),
    items=_nested(_ITEMS),
    timers=_sequence(_TIMER),
    result_after_wait=_AFTER_WAIT,
)


def _encode_arrivals(arrivals: tuple[r.Arrival, ...]) -> Json:
    return [
        _deltas([a.ordinal for a in arrivals]),
        [a.event for a in arrivals],
        _deltas([a.context for a in arrivals]),
        _deltas([a.edge for a in arrivals]),
    ]


def _decode_arrivals(data: Json) -> tuple[r.Arrival, ...]:
    ordinals, events, contexts, edges = data
    return tuple(map(r.Arrival, _undeltas(ordinals), events, _undeltas(contexts), _undeltas(edges)))


_JOIN: Final = _Table(r.JoinProgress, "ordinal=# arrivals=a", arrivals=(_encode_arrivals, _decode_arrivals))
_BACKLOG: Final = _Table(r.BackloggedCommand, "name=n ordinal=# event=e params=p context=x is_command=c")
_PARENT: Final = _Table(r.Parent, "execution_id=e ordinal=# number=n index=i")
_SUBSCRIPTION: Final = _Table(r.Subscription, "source=s events=e last=l told=t", events=_BITS)
_NOTICE: Final = _Table(
    r.Notice,
    "number=# event=e state=s name=n created_at=c updated_at=u state_info=I ordinal=o type=t started_at=b "
    "finished_at=f",
    state=_STATE,
    type=(str, r.TaskType),
)
_ENDS: Final = (
    lambda ends: [_deltas(ends), _deltas(ends.values())],
    lambda data: dict(zip(_undeltas(data[0]), _undeltas(data[1]), strict=True)),
)
_FRONTIER: Final = (
    lambda frontier: [_TASK.encode(task) for task in frontier.values()],
    lambda data: {task.ordinal: task for task in map(_TASK.decode, data)},
)
_JOINS: Final = (
    lambda joins: {name: _JOIN.encode(join) for name, join in joins.items()},
    lambda data: {name: _JOIN.decode(join) for name, join in data.items()},
)
_HEADER: Final = _Table(
    r.WorkflowExecution,
    "id=# project_id=p workflow_name=n workflow_id=w definition_hash=h state=s created_at=c updated_at=u public_id=q "
    "workflow_namespace=N workbook_name=k revision=v state_info=I description=D tags=t root_execution_id=r parent=P "
    "depth=d input=i params=a output=o variables=V next_ordinal=O frontier=F tail=l fronts=g front_tasks=G seen=S "
    "fired=f joins=J named=M ends=E failures=L cancellations=C unprocessed=U backlog=B timers=T stamp=z heard=e "
    "wake_at=W reverse_target=R subscriptions=Y noticed=y turns=H turns_paged=x findings=j kept=K",
    state=_STATE,
    tags=_TUPLE,
    parent=_nested(_PARENT),
    input=_MEMBERS,
    params=_MEMBERS,
    output=_MEMBERS,
    variables=_MEMBERS,
    frontier=_FRONTIER,
    fronts=_ORDINALS,
    tail=_FRONTIER,
    seen=_BITS,
    fired=_BITS,
    joins=_JOINS,
    ends=_ENDS,
    failures=_ORDINALS,
    cancellations=_ORDINALS,
    unprocessed=_ORDINALS,
    backlog=_sequence(_BACKLOG),
    timers=_sequence(_TIMER),
    subscriptions=_sequence(_SUBSCRIPTION),
    turns=_TUPLE,
)


def _pack(data: Json) -> bytes:
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
    return zlib.compress(text, 6) if len(text) >= _COMPRESS_FROM_BYTES else text


def _unpack(body: bytes) -> Json:
    # JSON of an object or array starts with a bracket, a zlib stream never does.
    text = body if body[:1] in (b"{", b"[") else zlib.decompress(body)
    return json.loads(text.decode("utf-8", "surrogatepass"))


def pack_json(data: Json) -> bytes:
    """Plain JSON, an object or an array, as bytes."""
    return _pack(data)


def unpack_json(body: bytes) -> Json:
    """The inverse of ``pack_json``."""
    return _unpack(body)


def pack_header(header: r.WorkflowExecution) -> bytes:
    """The header as bytes."""
    return _pack({"@": FORMAT_VERSION, **_HEADER.encode(header)})


def unpack_header(body: bytes) -> r.WorkflowExecution:
    """The header that these bytes stand for. Raises UnknownFormatError for a format that this version does not know."""
    data = _unpack(body)
    if data.get("@", FORMAT_VERSION) > FORMAT_VERSION:
        raise UnknownFormatError(
            f"This execution was stored by a newer version (format {data['@']}, known: {FORMAT_VERSION})."
        )
    return _HEADER.decode(data)


def pack_tasks(tasks: list[r.TaskExecution]) -> bytes:
    """A page of finished tasks as bytes."""
    return _pack([_TASK.encode(task) for task in tasks])


def unpack_tasks(body: bytes) -> list[r.TaskExecution]:
    """The tasks of a page."""
    return [_TASK.decode(data) for data in _unpack(body)]


def pack_action(action: r.ActionExecution) -> bytes:
    """One action execution as bytes."""
    return _pack(_ACTION.encode(action))


def unpack_action(body: bytes) -> r.ActionExecution:
    """The action execution that these bytes stand for."""
    return _ACTION.decode(_unpack(body))


def pack_context(node: r.ContextNode) -> bytes:
    """A merged context as bytes."""
    return _pack(_CONTEXT.encode(node))


def unpack_context(body: bytes) -> r.ContextNode:
    """The merged context that these bytes stand for."""
    return _CONTEXT.decode(_unpack(body))


def pack_value(value: Json) -> bytes:
    """A value in a record of its own, as bytes; its members may be references."""
    return _pack([encode_members(value)])


def unpack_value(body: bytes) -> Json:
    """The inverse of ``pack_value``."""
    return decode_members(_unpack(body)[0])


def pack_result(result: Result) -> bytes:
    """A parked result as bytes."""
    return _pack([encode_result(result)])


def unpack_result(body: bytes) -> Result:
    """The result that was parked."""
    return decode_result(_unpack(body)[0])


def pack_notices(notices: list[r.Notice]) -> bytes:
    """The notices of one turn as bytes."""
    return _pack([_NOTICE.encode(notice) for notice in notices])


def unpack_notices(body: bytes) -> list[r.Notice]:
    """The notices that these bytes stand for."""
    return [_NOTICE.decode(data) for data in _unpack(body)]
