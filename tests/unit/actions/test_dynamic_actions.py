"""Classes of code sources: what their text says, and what running them comes to, well or badly."""

import sys
import threading
from textwrap import dedent

import pytest

from chalicelib.actions.action import ActionContext, FinalResult, comes_later, perform
from chalicelib.actions.dynamic import DynamicAction
from chalicelib.actions.python_source import PythonSource
from chalicelib.errors import InvalidActionException
from chalicelib.limits import CODE_SOURCES_LOADED_MAX
from chalicelib.services.definition_records import digest_of
from chalicelib.vocabulary import Result, State

IN_EXECUTOR = ActionContext(
    action_execution_id="action-1",
    task_execution_id="task-1",
    workflow_execution_id="execution-1",
    workflow_name="flow",
    callback_url="/v2/action_executions/action-1",
    project_id="north",
    deadline_sec=10.0,
    is_executor=True,
)
HEAD = "from mistral_lib import actions\n"


def action(text, class_name="Greet", source_id="source-1"):
    written = dedent(text)
    return DynamicAction.of("greet", class_name, PythonSource(source_id, "lib", written, digest_of(written.encode())))


def body(code):
    """An action whose ``run`` is this code, from line 5 on."""
    lines = "\n".join(f"        {line}" for line in dedent(code).strip().splitlines())
    return action(f"{HEAD}\nclass Greet(actions.Action):\n    def run(self, context):\n{lines}\n")


def run(made, input=None, context=IN_EXECUTOR):
    return perform(made, input or {}, context)


def error_of(made, input=None, context=IN_EXECUTOR):
    result = run(made, input, context)
    assert result.state is State.ERROR
    return result.error


GREET = """
    from mistral_lib import actions

    class Greet(actions.Action):
        '''Greets somebody.

        More than once, if need be.
        '''

        def __init__(self, who, times=1, *, mark='!', options={'loud': [1, None]}, made=object()):
            self.who, self.times, self.mark = who, times, mark

        def run(self, context):
            return {'said': [f'Hello {self.who}{self.mark}'] * self.times}
"""


# -- what the text says


def test_parameters_and_description_are_read_from_the_constructor_and_the_docstring():
    made = action(GREET)
    assert made.signature_text == 'who, times=1, mark="!", options={"loud": [1, null]}, made=null'
    assert made.description == "Greets somebody.\n\nMore than once, if need be."
    assert made.is_sync
    assert not made.is_pure({})
    assert made.fault is None


def test_reading_a_text_runs_nothing_of_it():
    action("raise SystemExit('this was run')\n" + dedent(GREET))


def test_missing_and_unknown_parameters_are_refused_before_anything_runs():
    with pytest.raises(InvalidActionException, match=r"class=Greet, missing=\['who'\], unexpected=\['whom'\]"):
        action(GREET).check({"whom": "Ada"})


def test_a_constructor_may_be_inherited_from_a_class_of_the_text():
    made = action(GREET + "\n    class Shout(Greet):\n        pass\n", "Shout")
    assert made.signature_text.startswith("who, times=1")
    assert run(made, {"who": "Ada"}).data == {"said": ["Hello Ada!"]}


def test_a_class_without_a_constructor_takes_nothing():
    made = body("return 1")
    assert (made.signature_text, made.accepts_any) == ("", False)


@pytest.mark.parametrize(
    "text",
    [
        "class Greet:\n    def __init__(self, **given): self.__dict__ = given\n    def run(self, _): return self.who",
        "import functools\ndef made(): pass\nclass Base:\n    def __init__(self, who): self.who = who\n"
        "class Plain(getattr(functools, 'nothing', Base)):\n    def run(self, _): return self.who\nGreet = Plain",
        "import dataclasses\n@dataclasses.dataclass\nclass Greet:\n    who: str\n    def run(self, _): return self.who",
    ],
)
def test_where_the_text_cannot_tell_the_parameters_only_a_run_does(text):
    made = action(text)
    assert made.accepts_any
    made.check({"who": "Ada"})
    assert run(made, {"who": "Ada"}).data == "Ada"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("class Greet(:\n    pass", "Code source 'lib' cannot be compiled: invalid syntax (line 1)"),
        ("x = 1\n  y = 2", "Code source 'lib' cannot be compiled: unexpected indent (line 2)"),
        ("class Other: pass", "Code source 'lib' has no class 'Greet'; its classes are: Other."),
        ("\0", "Code source 'lib' cannot be compiled: source code string cannot contain null bytes"),
        ("(" * 5000, "Code source 'lib' cannot be compiled: "),
    ],
)
def test_a_text_that_cannot_be_used_is_a_fault_of_the_action_and_its_error_when_it_is_run(text, fault):
    made = action(text)
    assert made.fault.startswith(fault)
    assert fault in error_of(made)


def test_an_action_whose_source_is_gone_says_so():
    assert "The code source of 'greet' is gone." in error_of(DynamicAction.of("greet", "Greet", None))


@pytest.mark.parametrize(
    ("method", "is_sync"),
    [("return False", False), ("return True", True), ("return self.now", False), ("'''Never.'''; return False", False)],
)
def test_whether_it_is_synchronous_is_read_where_it_is_written_and_counts_as_not_where_it_is_computed(method, is_sync):
    text = f"class Greet:\n    now = True\n    def is_sync(self):\n        {method}\n    def run(self, _): return 1"
    assert action(text).is_sync is is_sync


# -- what a run comes to


def test_what_run_returns_is_the_data():
    result = run(action(GREET), {"who": "Ada", "times": 2})
    assert (result.state, result.data) == (State.SUCCESS, {"said": ["Hello Ada!", "Hello Ada!"]})


def test_a_result_object_is_taken_apart():
    assert run(body("return actions.Result(data={'a': (1, 2)})")).data == {"a": [1, 2]}
    assert run(body("return actions.Result(error={'code': 7})")) == FinalResult(error={"code": 7})
    assert run(body("return actions.Result(error='no', cancel=True)")).state is State.CANCELLED


def test_the_context_has_the_fields_of_mistral():
    code = """
        e, s = context.execution, context.security
        return [e.workflow_execution_id, e.task_execution_id, e.action_execution_id, e.workflow_name, e.callback_url,
                e.with_items_index, s.project_id, context.project_id, context.auth_token, s.user_name]
    """
    assert run(body(code)).data == [
        "execution-1", "task-1", "action-1", "flow", "/v2/action_executions/action-1", 0, "north", "north", None, None
    ]  # fmt: skip


def test_the_usual_imports_of_mistral_lib_work_and_are_seen_by_code_sources_only():
    text = """
        import mistral_lib.actions
        from mistral_lib.actions import Result
        from mistral_lib.actions.base import Action
        from mistral_lib import exceptions as exc
        import json

        class Greet(Action):
            def run(self, context):
                assert issubclass(Greet, mistral_lib.actions.Action)
                return Result(data=json.loads('[1]'), error=None)
    """
    before = sys.modules.get("mistral_lib")
    assert run(action(text)).data == [1]
    assert sys.modules.get("mistral_lib") is before


def test_modules_are_loaded_once_for_each_text_and_each_source():
    text = f"{HEAD}calls = []\nclass Greet(actions.Action):\n    def run(self, _): calls.append(1); return len(calls)\n"
    assert [run(action(text, source_id="counted")).data for _ in range(3)] == [1, 2, 3]
    assert run(action(text + "\n", source_id="counted")).data == 1
    assert run(action(text, source_id="another")).data == 1
    for number in range(CODE_SOURCES_LOADED_MAX):
        run(action(text, source_id=f"filler-{number}"))
    assert run(action(text, source_id="counted")).data == 1, "the least used are forgotten"


def test_two_threads_share_a_module():
    text = f"{HEAD}import threading\nlock = threading.Lock()\ncalls = []\nclass Greet(actions.Action):\n" + (
        "    def run(self, _):\n        with lock: calls.append(1); return len(calls)\n"
    )
    made, seen = action(text, source_id="shared"), []
    threads = [threading.Thread(target=lambda: seen.append(run(made).data)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_input_that_is_stored_is_out_of_reach():
    text = "class Greet:\n    def __init__(self, who): who.append(1)\n    def run(self, _): pass\n"
    input: dict[str, list[int]] = {"who": []}
    assert run(action(text), input).state is State.SUCCESS
    assert input == {"who": []}


def test_an_asynchronous_action_has_started_when_it_returns():
    text = "class Greet:\n    def is_sync(self): return {}\n    def run(self, context): return 'dropped'"
    for answer, is_later in (("False", True), ("not 1", True), ("bool(1)", False)):
        made = action(text.format(answer))
        assert comes_later(made, run(made)) is is_later
    failing = action(text.format("False").replace("return 'dropped'", "raise ValueError(1)"))
    assert not comes_later(failing, run(failing))


# -- what goes wrong


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('no such host')", "ValueError: no such host (code source 'lib', line 5)"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module' (code source 'lib', line 5)"),
        ("from mistral_lib import secrets_", "ImportError: cannot import name 'secrets_'"),
        ("import mistral_lib.utils", "ModuleNotFoundError: of mistral_lib, code sources can import mistral_lib, "),
        ("def deeper(): deeper()\ndeeper()", "RecursionError: maximum recursion depth exceeded"),
        ("import sys\nsys.exit(3)", "SystemExit: 3 (code source 'lib', line 6)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (code source 'lib', line 5)"),
        ("return {1, 2}", "Greet.run of code source 'lib' returned what is not JSON: Object of type set is not JSON"),
        ("return object()", "returned what is not JSON: Object of type object"),
        ("return float('nan')", "returned what is not JSON: Out of range float values"),
        ("a = []\na.append(a)\nreturn a", "returned what is not JSON: Circular reference detected"),
        ("a = 1\nfor _ in range(300): a = [a]\nreturn a", "returned a value that is nested more than 200 deep"),
        ("return actions.Result(error=object())", "returned what is not JSON"),
    ],
)
def test_whatever_goes_wrong_is_the_error_of_the_action_with_reason_and_line(code, reason):
    text = error_of(body(code))
    assert reason in text
    assert text.startswith("The action raised an exception [action=greet, action_ex_id=action-1, msg='")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module\nclass Greet: pass", "No module named 'no_such_module' (code source 'lib', line 1)"),
        ("1 / 0\nclass Greet: pass", "ZeroDivisionError: division by zero (code source 'lib', line 1)"),
        ("raise SystemExit\nclass Greet: pass", "SystemExit (code source 'lib', line 1)"),
        ("class Greet: pass", "Class 'Greet' of code source 'lib' is no action: it has no method run(self, context)"),
        ("Greet = 5", "Code source 'lib' has no class 'Greet'."),
        ("if False:\n    class Greet: pass", "Code source 'lib' has no class 'Greet'."),
        (f"{HEAD}class Greet(actions.Action): pass", "NotImplementedError: Greet has no method run(self, context)"),
        ("class Greet:\n    def __init__(self): raise OSError(5)\n    def run(self, _): pass", "OSError: 5"),
        ("class Greet:\n    def run(self): pass", "TypeError: Greet.run() takes 1 positional argument but 2 were"),
    ],
)
def test_a_text_that_fails_when_it_is_loaded_or_a_class_that_is_no_action(text, reason):
    assert reason in error_of(action(text))


def test_a_constructor_that_the_input_does_not_fit_is_an_error_of_the_action():
    assert "TypeError: Greet.__init__() got an unexpected keyword argument 'x'" in error_of(action(GREET), {"x": 1})


def test_a_text_that_failed_to_load_is_loaded_anew_the_next_time(monkeypatch):
    text = "import os\nif 'CODE_SOURCE_READY' not in os.environ: raise RuntimeError('not ready')\n" + dedent(GREET)
    made = action(text)
    assert "not ready" in error_of(made, {"who": "Ada"})
    monkeypatch.setenv("CODE_SOURCE_READY", "yes")
    assert run(made, {"who": "Ada"}).state is State.SUCCESS


def test_code_that_does_not_end_is_ended_at_its_deadline():
    context = ActionContext(deadline_sec=0.05, is_executor=True)
    before = {thread.ident for thread in threading.enumerate()}
    assert "Timeout after 0.05 seconds" in error_of(body("while True: pass"), context=context)
    for thread in threading.enumerate():
        if thread.ident not in before:
            thread.join(10)
            assert not thread.is_alive(), "it goes on using the processor"


def test_outside_an_executor_nothing_is_run():
    made = body("import sys; sys._mistral_test_ran = True")
    assert "runs in an executor only" in error_of(made, context=ActionContext())
    assert not hasattr(sys, "_mistral_test_ran")


def test_is_sync_that_contradicts_what_is_written_is_an_error():
    text = f"{HEAD}class Greet(actions.Action):\n    def run(self, _): return 1\n"
    text += "setattr(Greet, 'is_sync', lambda self: False)\n"
    assert "is written to return True, but returned False" in error_of(action(text))


def test_a_successful_result_says_that_it_counts():
    assert isinstance(run(body("return 1")), FinalResult)
    assert isinstance(run(body("return 1")), Result)
