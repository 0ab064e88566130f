"""Runs action classes of code sources: in an executor, never in the API.

A text is compiled and run once in a module of its own, which is kept by the text's digest; what it imports is what the
deployment has, and ``mistral_lib``. It is not confined beyond that: who may upload code (admins) may do what the role
of the executor may. Whatever it does wrong ends as an ``ActionException`` with the reason and the line.
"""

from __future__ import annotations

import builtins
import copy
import json
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

from chalicelib.actions.action import ActionContext
from chalicelib.actions.mistral_lib import MODULES, ExecutionContext, SecurityContext
from chalicelib.actions.mistral_lib import ActionContext as GivenContext
from chalicelib.actions.python_source import PythonSource, syntax_fault
from chalicelib.errors import ActionException
from chalicelib.limits import CODE_SOURCES_LOADED_MAX, VALUE_DEPTH_MAX
from chalicelib.vocabulary import Json, JsonObject, Result

_RESULT_MEMBERS: Final = ("data", "error", "cancel")
# Pages of a traceback that nobody needs to see.
_REASON_CHARACTERS_MAX: Final = 2000


class _TimeIsUp(BaseException):
    """Ends code that has not ended by itself."""


class _Modules:
    """The modules of code sources that were loaded last; shared between threads."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[tuple[str, str], ModuleType] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, source: PythonSource) -> ModuleType:
        """The module of a source, loaded if need be. Raises what its text raises."""
        place = source.id, source.digest
        with self._lock:
            found = self._loaded.get(place)
            if found is not None:
                self._loaded.move_to_end(place)
                return found
        made = _load(source)
        with self._lock:
            # Of two threads that loaded it, one is first: both go on with the same module.
            module = self._loaded.setdefault(place, made)
            while len(self._loaded) > CODE_SOURCES_LOADED_MAX:
                self._loaded.popitem(last=False)
            return module


_MODULES: Final = _Modules()


def run_class(source: PythonSource, class_name: str, input: JsonObject, context: ActionContext) -> tuple[Result, bool]:
    """Make an action of a class and run it: its result, and whether that is one (it is not, of an asynchronous action).

    Raises ActionException for whatever goes wrong, and after ``context.deadline_sec``.
    """

    def act() -> tuple[Result, bool]:
        return _reported(source, lambda: _run(source, class_name, input, context))

    return _within(context.deadline_sec, act)


def _run(source: PythonSource, class_name: str, input: JsonObject, context: ActionContext) -> tuple[Result, bool]:
    module = _MODULES.get(source)
    made = getattr(module, class_name, None)
    if not isinstance(made, type):
        raise ActionException(f"Code source '{source.name}' has no class '{class_name}'.")
    if not callable(getattr(made, "run", None)):
        raise ActionException(
            f"Class '{class_name}' of code source '{source.name}' is no action: it has no method run(self, context); "
            "derive it from mistral_lib.actions.Action."
        )
    instance = made(**copy.deepcopy(input))
    is_sync = bool(instance.is_sync()) if callable(getattr(instance, "is_sync", None)) else True
    value = instance.run(_given(context))
    return _result(source, class_name, value), is_sync


def _given(context: ActionContext) -> GivenContext:
    return GivenContext(
        SecurityContext(project_id=context.project_id, region_name=context.aws.region),
        ExecutionContext(
            workflow_execution_id=context.workflow_execution_id,
            task_execution_id=context.task_execution_id,
            action_execution_id=context.action_execution_id,
            workflow_name=context.workflow_name,
            callback_url=context.callback_url,
        ),
    )


# -- loading


def _load(source: PythonSource) -> ModuleType:
    try:
        code = compile(source.text, _file_of(source), "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ActionException(syntax_fault(source, error)) from None
    module = ModuleType(f"code_source.{source.name}")
    vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
    # This is what code sources are for; docs/security.md says who may upload them and what they can reach.
    exec(code, vars(module))  # noqa: S102
    return module


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> ModuleType:
    """``import`` inside a code source: as ever, but for ``mistral_lib``."""
    if level == 0 and name.partition(".")[0] == "mistral_lib":
        if name not in MODULES:
            raise ModuleNotFoundError(f"of mistral_lib, code sources can import {', '.join(MODULES)}; not {name}")
        return MODULES[name if fromlist else "mistral_lib"]
    return builtins.__import__(name, globals, locals, fromlist, level)


def _file_of(source: PythonSource) -> str:
    return f"<code source {source.name}>"


# -- what comes of it


def _result(source: PythonSource, class_name: str, value: Any) -> Result:
    """What ``run`` returned, as plain JSON. Raises ActionException for what is none."""
    where = f"{class_name}.run of code source '{source.name}'"
    if type(value).__name__ == "Result" and all(hasattr(value, name) for name in _RESULT_MEMBERS):
        error = _plain(value.error, where)
        return Result(data=_plain(value.data, where), error=error, cancel=bool(value.cancel))
    return Result(data=_plain(value, where))


def _plain(value: Any, where: str) -> Json:
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ActionException(f"{where} returned what is not JSON: {error}") from None
    if _is_deep(plain):
        raise ActionException(f"{where} returned a value that is nested more than {VALUE_DEPTH_MAX} deep.")
    return plain


def _is_deep(value: Json) -> bool:
    level = [value]
    for _ in range(VALUE_DEPTH_MAX):
        level = [
            part
            for one in level
            if isinstance(one, (dict, list))
            for part in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _reported(source: PythonSource, act: Callable[[], tuple[Result, bool]]) -> tuple[Result, bool]:
    try:
        return act()
    except (ActionException, _TimeIsUp):
        raise
    except BaseException as error:  # noqa: BLE001 - also sys.exit and its like: it is the action that ends, not we
        reason = "".join(traceback.format_exception_only(type(error), error)).strip()[:_REASON_CHARACTERS_MAX]
        raise ActionException(f"{reason} (code source '{source.name}'{_line_of(source, error)})") from None


def _line_of(source: PythonSource, error: BaseException) -> str:
    """The last line of the text that took part in an error."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _file_of(source)]
    return f", line {frames[-1].lineno}" if frames else ""


# -- time


def _within(limit_sec: float | None, act: Callable[[], tuple[Result, bool]]) -> tuple[Result, bool]:
    """Let something take so long at most: then it is ended, unless it waits for something outside of Python."""
    if limit_sec is None:
        return act()
    outcome: list[tuple[Result, bool] | BaseException] = []

    def body() -> None:
        try:
            outcome.append(act())
        except BaseException as error:  # noqa: BLE001 - handed to the one who waits
            outcome.append(error)

    thread = threading.Thread(target=body, name="code-source", daemon=True)
    thread.start()
    thread.join(max(0.0, limit_sec))
    if thread.is_alive():
        import ctypes  # for this alone: it takes longer to import than all else here

        assert thread.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_TimeIsUp))
        raise ActionException(f"Timeout after {limit_sec:g} seconds")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
