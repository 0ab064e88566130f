"""What a Python text says of an action class in it: read from its syntax tree, nothing of it is run.

So the API can show the parameters of a dynamic action, and an engine can check them, without running code that a user
has uploaded; that happens in the executor only, see ``python_runner``.
"""

from __future__ import annotations

import ast
import inspect
import json
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from chalicelib.actions.action import Parameter
from chalicelib.data import dataclass
from chalicelib.errors import ActionException
from chalicelib.limits import CODE_SOURCES_READ_MAX
from chalicelib.vocabulary import Json

_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_ROOTS: Final = frozenset({"object", "Action"})


@dataclass(frozen=True, slots=True)
class PythonSource:
    """A code source: its text, and the digest of that, under which what was made of it is kept."""

    id: str
    name: str
    text: str
    digest: str


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """What is known of a class without running it.

    ``accepts_any``: its constructor takes names that cannot be told. ``is_sync`` is ``None`` where only a run tells.
    """

    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    accepts_any: bool = False
    is_sync: bool | None = True


_UNKNOWN: Final = ClassFacts(accepts_any=True, is_sync=None)


@dataclass(frozen=True, slots=True)
class _Names:
    """What a module binds at its top level: its classes, and everything else that may turn out to be one."""

    classes: dict[str, ast.ClassDef]
    others: frozenset[str]


def class_facts(source: PythonSource, class_name: str) -> ClassFacts:
    """What the text says of a class. Raises ActionException when there is no such class, or no readable text."""
    names = _names(source)
    if class_name in names.classes:
        return _facts(names, names.classes[class_name])
    if class_name in names.others or "*" in names.others:
        return _UNKNOWN
    known = ", ".join(names.classes) or "none"
    raise ActionException(f"Code source '{source.name}' has no class '{class_name}'; its classes are: {known}.")


def syntax_fault(source: PythonSource, error: Exception) -> str:
    """Why a text is not Python, with the line where that shows."""
    line = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
    reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
    return f"Code source '{source.name}' cannot be compiled: {reason}{line}"


def _names(source: PythonSource) -> _Names:
    found = _names_of(source.digest, source.text)
    if isinstance(found, Exception):
        raise ActionException(syntax_fault(source, found))
    return found


@lru_cache(maxsize=CODE_SOURCES_READ_MAX)
def _names_of(_digest: str, text: str) -> _Names | Exception:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return error.with_traceback(None)
    classes: dict[str, ast.ClassDef] = {}
    others: set[str] = set()
    for statement in _top_level(tree.body):
        match statement:
            case ast.ClassDef():
                classes[statement.name] = statement
                others.discard(statement.name)
            case ast.Import() | ast.ImportFrom():
                others.update((alias.asname or alias.name).partition(".")[0] for alias in statement.names)
            case ast.Assign() | ast.AnnAssign() | ast.FunctionDef():
                others.update(_bound(statement))
            case _:
                pass
    return _Names({name: node for name, node in classes.items() if name not in others}, frozenset(others))


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that bind names of the module: also those inside ``if`` and ``try``."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            nested = [*statement.body]
            nested += [] if isinstance(statement, ast.With) else statement.orelse
            if isinstance(statement, ast.Try):
                nested += [inner for handler in statement.handlers for inner in handler.body] + statement.finalbody
            yield from _top_level(nested)


def _bound(statement: ast.Assign | ast.AnnAssign | ast.FunctionDef) -> set[str]:
    if isinstance(statement, ast.FunctionDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def _facts(names: _Names, node: ast.ClassDef) -> ClassFacts:
    line, is_closed = _line_of_descent(names, node)
    constructor = next((found for one in line if (found := _method(one, "__init__")) is not None), None)
    parameters, accepts_any = _parameters(constructor) if constructor is not None else ((), not is_closed)
    if any(one.decorator_list for one in line):
        # A decorator may give a class another constructor, as that of dataclasses does.
        parameters, accepts_any = ((), True) if constructor is None else (parameters, accepts_any)
    return ClassFacts(inspect.cleandoc(ast.get_docstring(node) or ""), parameters, accepts_any, _sync(line, is_closed))


def _line_of_descent(names: _Names, node: ast.ClassDef) -> tuple[list[ast.ClassDef], bool]:
    """A class and its bases as far as the text has them, and whether it has all but Mistral's own."""
    line: list[ast.ClassDef] = []
    waiting, is_closed = [node], True
    while waiting:
        one = waiting.pop(0)
        if one in line:
            continue
        line.append(one)
        for base in one.bases:
            name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
            if isinstance(base, ast.Name) and name in names.classes:
                waiting.append(names.classes[name])
            elif name not in _ROOTS:
                is_closed = False
    return line, is_closed


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    return next((one for one in node.body if isinstance(one, _FUNCTIONS) and one.name == name), None)


def _sync(line: list[ast.ClassDef], is_closed: bool) -> bool | None:
    """What ``is_sync`` returns, where that is written there."""
    method = next((found for one in line if (found := _method(one, "is_sync")) is not None), None)
    if method is None:
        return True if is_closed else None
    statements = [one for one in method.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    match statements:
        case [ast.Return(value=ast.Constant(value=bool() as answer))]:
            return answer
        case _:
            return None


def _parameters(constructor: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[tuple[Parameter, ...], bool]:
    given = constructor.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    pairs = [*zip(positional, defaults, strict=True)][1:]
    pairs += zip(given.kwonlyargs, given.kw_defaults, strict=True)
    return tuple(_parameter(argument, default) for argument, default in pairs), given.kwarg is not None


def _parameter(argument: ast.arg, default: ast.expr | None) -> Parameter:
    if default is None:
        return Parameter(argument.arg, required=True)
    return Parameter(argument.arg, required=False, default=_constant(default))


def _constant(node: ast.expr) -> Json:
    """A default as JSON; ``None`` for one that only running the text would tell."""
    try:
        return json.loads(json.dumps(ast.literal_eval(node)))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
