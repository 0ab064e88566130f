"""``std.javascript`` runs scripts, and nothing but scripts."""

from __future__ import annotations

import time

import pytest

from chalicelib.actions import javascript
from chalicelib.actions.registry import ActionContext
from chalicelib.errors import ActionConstructionError
from tests.unit.actions.calling import HANGS_SEC, call, construct, signature


def js(script: str, **input):
    return call("std.javascript", script=script, **input)


@pytest.mark.parametrize("name", ["std.javascript", "std.js"])
def test_a_script_sees_its_context_and_returns_its_result(name):
    result = call(name, script="return {sum: $.a + $.b, names: $.names.map(n => n.toUpperCase())}", context={
        "a": 1, "b": 2.5, "names": ["ä", "x"],
    })  # fmt: skip
    assert result.data == {"sum": 3.5, "names": ["Ä", "X"]}
    assert signature(name) == "script, context=null"


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ("return 1 + 1", 2),
        ("return 'text'", "text"),
        ("return [true, null]", [True, None]),
        ("1 + 1", None),
        ("return undefined", None),
        ("return () => 1", None),
        ("return NaN", None),
        ("return new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("return $ // the context", None),
        ("return (async () => await Promise.resolve(7))()", 7),
        ("function f() { return $ } return f() === null", True),
    ],
)
def test_what_a_script_returns_is_the_result_as_json(script, value):
    result = js(script)
    assert (result.data, result.error) == (value, None)


@pytest.mark.parametrize("context", [None, 5, "text", [1], {"$": "<% not evaluated %>", "quote": "'\"\u2028"}])
def test_a_context_may_be_any_value(context):
    assert js("return $", context=context).data == context


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("throw new Error('no luck')", "Error: no luck"),
        ("return missing", "ReferenceError: missing is not defined"),
        ("return (", "SyntaxError"),
        ("return new Promise(() => {})", "never fulfilled"),
        ("return Promise.reject(new TypeError('no'))", "TypeError: no"),
        ("const a = {}; a.a = a; return a", "TypeError"),
        ("function f() { f() } f()", "Maximum call stack size exceeded"),
        ("return 10n", "BigInt"),
    ],
)
def test_a_script_that_fails_says_why(script, reason):
    error = js(script).error
    assert "JavaScriptAction failed: " in error
    assert reason in error


@pytest.mark.parametrize(
    "script",
    [
        "while (true) {}",
        "const go = () => Promise.resolve().then(go); return go()",
        "/(a+)+$/.test('a'.repeat(50) + 'b')",
        "[].indexOf.call({length: 2**53 - 1}, 1)",
    ],
)
def test_a_script_without_an_end_is_ended(script):
    before = time.monotonic()
    error = call("std.js", ActionContext(deadline_sec=0.3), script=script).error
    assert "interrupted: a script may run for 0.3 seconds" in error
    assert time.monotonic() - before < HANGS_SEC


@pytest.mark.parametrize(
    "script",
    [
        "return 'a'.repeat(1e9)",
        "const all = []; while (true) all.push(new Array(1000).fill(0))",
        "return new ArrayBuffer(2 ** 31)",
        "let s = 'x'; while (true) s += s",
    ],
)
def test_a_script_may_not_take_all_memory(script):
    error = js(script).error
    assert "JavaScriptAction failed: " in error
    assert "out of memory" in error or "too long" in error or "invalid" in error


def test_an_engine_that_hangs_is_ended_from_outside(monkeypatch, tmp_path):
    hanging = tmp_path / "hang.py"
    hanging.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(javascript, "_PROCESS", hanging)
    monkeypatch.setattr(javascript, "_START_SEC", 0.1)
    assert "no end after 0.3 seconds" in call("std.js", ActionContext(deadline_sec=0.2), script="").error


def test_an_engine_that_dies_is_an_error(monkeypatch, tmp_path):
    dying = tmp_path / "die.py"
    dying.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(javascript, "_PROCESS", dying)
    assert "the engine ended with status -6" in js("return 1").error


def test_a_script_has_neither_files_nor_network_nor_the_environment():
    names = ["require", "process", "std", "os", "fetch", "XMLHttpRequest", "setTimeout", "Deno", "scriptArgs"]
    assert js(f"return {names}.filter(name => name in globalThis)").data == []
    assert js("return import('os').then(() => 'here', () => 'refused')").data == "refused"


def test_the_process_of_a_script_has_no_environment(monkeypatch, tmp_path):
    telling = tmp_path / "tell.py"
    telling.write_text("import json, os\nprint(json.dumps({'value': sorted(os.environ)}))\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for scripts")
    monkeypatch.setattr(javascript, "_PROCESS", telling)
    assert [name for name in js("").data if name.startswith("AWS")] == []


def test_a_result_that_is_too_large_is_refused():
    assert "the result exceeds 5242880 bytes" in js("return 'a'.repeat(6e6)").error


def test_a_script_that_is_no_text_cannot_be_constructed():
    with pytest.raises(ActionConstructionError, match="script must be text, not list"):
        construct("std.js", script=["return 1"])


def test_without_the_extra_the_action_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    error = js("return 1").error
    assert "JavaScriptAction failed: quickjs-ng is not installed here" in error
    assert "mistral-serverless[javascript]" in error
