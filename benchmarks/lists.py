"""What one page of a list reads, counted, in projects of different sizes.

The executions are stored as they would lie after having run; the lists are asked of the endpoints themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

import app
from benchmarks.workloads import chain, items
from chalicelib.adapters.aws import Aws
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.adapters.tables import DynamoTable, create_tables
from chalicelib.api.caller import Caller
from chalicelib.api.http import ApiSettings, Call
from chalicelib.api.services import Services
from chalicelib.engine import codec
from chalicelib.engine.identity import child_execution_id, execution_id_from, task_id
from chalicelib.engine.records import Parent, WorkflowExecution
from chalicelib.engine.sealing import HEADER_KEY
from chalicelib.local.emulator import safe_moto
from chalicelib.local.meter import Counts, Meter, MeteredPayloads, MeteredQueue, MeteredTable
from chalicelib.services.definition_records import Kind, address_item, encode
from chalicelib.services.definitions import Access, Placement
from chalicelib.services.engine import StartRequest
from chalicelib.services.execution_places import places_of
from chalicelib.services.ports import Item, Table
from chalicelib.services.triggers import CronRequest
from chalicelib.settings import Settings
from chalicelib.vocabulary import JsonObject, State
from chalicelib.wiring import Ports, assemble

PROJECT: Final = "bench"
PAGE: Final = 20
_MOMENT: Final = 1_800_000_000.0
_TASKS_MAX: Final = 5000
_OUTER: Final = "version: '2.0'\nouter:\n  tasks:\n    each: {with-items: i in <% range(1) %>, workflow: rare}\n"


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that clients ask for; ``{root}``, ``{task}`` … stand for ids of the stage.

    ``is_flat``: a page costs the same whatever the size; else there is a bound that is named in the documentation.
    """

    name: str
    path: str
    query: str = ""
    is_admin: bool = False
    is_flat: bool = True


EXECUTIONS: Final = "/v2/executions"
LISTINGS: Final = (
    Listing("executions, oldest first", EXECUTIONS),
    Listing("executions, newest first", EXECUTIONS, "sort_dirs=desc"),
    Listing("executions, from a marker", EXECUTIONS, "marker={middle}"),
    Listing("executions sort_keys=created_at,name", EXECUTIONS, "sort_keys=created_at,name&sort_dirs=desc"),
    Listing("executions state=ERROR", EXECUTIONS, "state=ERROR"),
    Listing("executions workflow_name=", EXECUTIONS, "workflow_name=rare"),
    Listing("executions workflow_id=", EXECUTIONS, "workflow_id={rare}"),
    Listing("executions workflow_name=, state=", EXECUTIONS, "workflow_name=rare&state=SUCCESS"),
    Listing("executions root_execution_id=", EXECUTIONS, "root_execution_id={root}"),
    Listing("executions task_execution_id=", EXECUTIONS, "task_execution_id={outer_task}"),
    Listing("executions nulls=root_execution_id", EXECUTIONS, "nulls=root_execution_id"),
    Listing("executions of all projects", EXECUTIONS, "all_projects=true", is_admin=True),
    Listing("executions of all projects, state=ERROR", EXECUTIONS, "all_projects=true&state=ERROR", is_admin=True),
    Listing("executions project_id= of an admin", EXECUTIONS, "project_id=other", is_admin=True),
    Listing("tasks of an execution", "/v2/executions/{chain}/tasks"),
    Listing("tasks of an execution, newest first", "/v2/executions/{chain}/tasks", "sort_dirs=desc"),
    Listing("tasks of an execution, from a marker", "/v2/executions/{chain}/tasks", "marker={chain_task}"),
    Listing("action executions of a task", "/v2/tasks/{items_task}/action_executions"),
    Listing("workflow executions of a task", "/v2/tasks/{outer_task}/workflow_executions"),
    Listing("workflows, oldest first", "/v2/workflows"),
    Listing("workflows sort_keys=name", "/v2/workflows", "sort_keys=name"),
    Listing("cron triggers", "/v2/cron_triggers"),
    Listing("cron triggers, newest first", "/v2/cron_triggers", "sort_dirs=desc"),
    Listing("executions sort_keys=name", EXECUTIONS, "sort_keys=name", is_flat=False),
    Listing("executions sort_keys=state,name", EXECUTIONS, "sort_keys=state,name", is_flat=False),
    Listing(
        "executions workflow_name=, state=CANCELLED", EXECUTIONS, "workflow_name=rare&state=CANCELLED", is_flat=False
    ),
    Listing("executions description=has:", EXECUTIONS, "description=has:needle", is_flat=False),
    Listing("executions of all projects, state=RUNNING", EXECUTIONS, "all_projects=true&state=RUNNING", True, False),
    Listing("tasks of the project", "/v2/tasks", is_flat=False),
)


class Stage:
    """A service with so many executions in one project, some in another, and lists of everything else.

    ``others``: how many tasks, workflows and triggers, at most; as many as executions where it is not said.
    """

    def __init__(self, size: int, make_table: Callable[[], Table] = MemoryTable, *, others: int | None = None) -> None:
        self.size = size
        self._others = size if others is None else others
        self.meter = Meter()
        self._tables = [make_table(), make_table()]
        clock = ManualClock(_MOMENT)
        ports = Ports(
            executions=MeteredTable(self._tables[0], self.meter),
            definitions=MeteredTable(self._tables[1], self.meter),
            queue=MeteredQueue(MemoryQueue(clock), self.meter),
            payloads=MeteredPayloads(MemoryPayloads(), self.meter),
            clock=clock,
            entropy=SeededEntropy(1),
        )
        self._ports = ports
        self.container = assemble(Settings(storage="memory"), ports)
        self._services: Services = app.services_of(self.container, ApiSettings(auth="authorizer"))
        self._handlers = {(r.method, r.path): r.handler for r in app.all_routes(lambda: self._services)}
        self.ids = self._filled()

    def ask(self, listing: Listing, limit: int = PAGE) -> tuple[JsonObject, Counts]:
        """One page, and what it cost."""
        path = listing.path.format(**self.ids)
        pattern, parameters = self._match(path)
        pairs = (pair.partition("=") for pair in listing.query.format(**self.ids).split("&") if pair)
        call = Call(
            method="GET",
            path=path,
            caller=Caller(PROJECT, roles=frozenset({"admin"} if listing.is_admin else ())),
            settings=self._services.api_settings,
            base_url="http://bench",
            request_id="",
            parameters=parameters,
            query={name: value for name, _, value in pairs} | {"limit": str(limit)},
        )
        with self.meter.measure() as counts:
            answer = self._handlers["GET", pattern](call)
        assert isinstance(answer.body, dict)
        return answer.body, counts

    def _match(self, path: str) -> tuple[str, dict[str, str]]:
        if ("GET", path) in self._handlers:
            return path, {}
        head, identifier, tail = path.rsplit("/", 2)
        return f"{head}/{{identifier}}/{tail}", {"identifier": identifier}

    # -- what it holds

    def _filled(self) -> dict[str, str]:
        ids = {"rare": self._define("version: '2.0'\nrare:\n  tasks:\n    t: {action: std.noop}\n")}
        tasks = min(self._others, _TASKS_MAX)
        self._define(chain(tasks, "std.noop"))
        self._define(items(tasks, "std.noop").replace("work:", "wide:"))
        self._define(_OUTER)
        ids["chain"] = self._run("work")
        ids["chain_task"] = task_id(ids["chain"], tasks // 2)
        ids["items_task"] = task_id(self._run("wide"), 1)
        outer = self._run("outer")
        ids["outer_task"] = task_id(outer, 1)
        ids["root"], ids["middle"] = self._store_executions(outer, ids["rare"])
        self._store_workflows(ids["rare"])
        self._store_triggers()
        return ids

    def _define(self, text: str) -> str:
        return self.container.definitions.create(Kind.WORKFLOW, Access(PROJECT), text.encode(), Placement())[0].id

    def _run(self, name: str) -> str:
        return self.container.engine.start(StartRequest(PROJECT, name)).id

    def _store_executions(self, outer: str, rare_id: str) -> tuple[str, str]:
        """Executions of many kinds, evenly spread; gives a root with many descendants, and one in the middle."""
        store, entropy = self.container.executions, self._ports.entropy
        model = store.header(self._run("rare"))
        parent = store.header(outer)
        assert model is not None
        assert parent is not None
        task = store.task(parent, 1)
        assert task is not None
        wide = replace(parent, tail={1: replace(task, next_number=self.size)}, frontier={})
        headers = [wide]
        middle = ""
        for at in range(self.size):
            header = _variant(model, execution_id_from(entropy.token()), at, rare_id)
            if at % 2:
                header = replace(header, root_execution_id=outer)
            if at % 10 == 1:
                number = at // 10
                header = replace(header, id=child_execution_id(outer, 1, number), parent=Parent(outer, 1, number))
            if at % 5 == 4:
                header = replace(header, project_id="other")
            elif at <= self.size // 2:
                middle = header.id
            headers.append(header)
        self._tables[0].write_bulk(_item_of(header) for header in headers)
        return outer, middle

    def _store_workflows(self, rare_id: str) -> None:
        definitions = self.container.definitions
        model = definitions.get(Kind.WORKFLOW, Access(PROJECT), rare_id)
        count = min(self._others, 10_000)
        records = [
            replace(model, id=str(uuid4()), name=f"w{at:06}", created_at=model.created_at + at) for at in range(count)
        ]
        self._tables[1].write_bulk(encode(record, self._ports.payloads) for record in records)
        self._tables[1].write_bulk(address_item(record) for record in records)

    def _store_triggers(self) -> None:
        for at in range(min(self._others, 2000)):
            request = CronRequest(
                name=f"c{at}", workflow="rare", workflow_input={}, workflow_params={"n": at}, pattern="0 0 1 1 *"
            )
            self.container.triggers.create_cron(Access(PROJECT), request)


def _variant(model: WorkflowExecution, identifier: str, at: int, rare_id: str) -> WorkflowExecution:
    states = {0: State.ERROR, 7: State.RUNNING}
    state = State.CANCELLED if at % 1000 == 500 else states.get(at % 50, State.SUCCESS)
    is_rare = at % 7 == 3
    return replace(
        model,
        id=identifier,
        state=state,
        workflow_name="rare" if is_rare else "common",
        workflow_id=rare_id if is_rare else identifier,
        created_at=_MOMENT + 1 + at,
        wake_at=_MOMENT + 3600 if state is State.RUNNING else None,
        revision=1,
    )


def _item_of(header: WorkflowExecution) -> Item:
    body = codec.pack_header(header)
    return Item(header.id, HEADER_KEY, body, revision=header.revision, indexes=places_of(header))


@contextmanager
def moto_tables() -> Iterator[Callable[[], Table]]:
    """A maker of tables on the emulated cloud."""
    with safe_moto():
        aws = Aws("us-east-1")

        def make() -> Table:
            name = f"lists-{uuid4()}"
            create_tables(aws, [name])
            return DynamoTable(aws, name)

        yield make


def table(sizes: tuple[int, ...] = (1000, 100_000), *, storage: str = "memory") -> str:
    """Read units and requests of one page at each size, as text."""
    if storage == "moto":
        with moto_tables() as make:
            stages = [Stage(size, make) for size in sizes]
            return _text(stages)
    return _text([Stage(size) for size in sizes])


def _text(stages: list[Stage]) -> str:
    head = f"{f'page of {PAGE}: read units (requests)':<48}" + "".join(f"{f'of {s.size:,}':>18}" for s in stages)
    return "\n".join([head, *(_row(listing, stages) for listing in LISTINGS)])


def _row(listing: Listing, stages: list[Stage]) -> str:
    cells = []
    for stage in stages:
        _, counts = stage.ask(listing)
        cells.append(f"{counts.read_units:>11.1f} ({sum(counts.requests.values()):>4})")
    return f"{listing.name:<48}" + "".join(cells)
