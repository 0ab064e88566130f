"""Regular expressions mean what Python means by them, and end."""

import re
import warnings
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chalicelib.errors import EvaluationException
from chalicelib.expressions import patterns
from chalicelib.expressions.budget import BudgetExceededError
from chalicelib.expressions.evaluator import evaluate
from chalicelib.expressions.patterns import Pattern
from tests.unit.expressions.worlds import SmallWorld

PIECES = (
    *("a", "b", "A", "_", " ", ".", ":", "\\d", "\\w", "\\s", "\\b", "^", "$", "\n", "é", "ß", "\\[:", "\\{"),
    *("[ab]", "[^a]", "[[:ab]", "[a-c:]", "[b{2}]", "|", "(", ")", "(?:", "(?P<n>", "\\1", "(?=", "(?!"),
    *("*", "+", "?", "*?", "+?", "{2}", "{1,2}", "{,2}", "{e}", "{", "}", "{a<=1}"),
)
FLAGS = st.sampled_from([re.NOFLAG, re.IGNORECASE, re.MULTILINE, re.DOTALL, re.IGNORECASE | re.MULTILINE])
ENDLESS = "(a|aa)+$"


@pytest.fixture
def _never_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pattern, "_is_quick", lambda *_: False)


def compiled(pattern: str, flags: int) -> re.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        try:
            return re.compile(pattern, flags)
        except (re.error, FutureWarning, OverflowError):
            assume(False)
            raise


def told(match: Any) -> Any:
    return None if match is None else (match.span(), match.groups(), match.groupdict())


@pytest.mark.usefixtures("_never_quick")
@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join), FLAGS, st.text("abA_ 1:{}e[]\néßS", max_size=12))
def test_what_can_be_stopped_means_the_same(pattern: str, flags: int, text: str):
    python = compiled(pattern, flags)
    ours = Pattern(python)

    assert told(ours.search(text)) == told(python.search(text))
    assert [told(match) for match in ours.finditer(text)] == [told(match) for match in python.finditer(text)]
    assert ours.split(text) == python.split(text)
    assert ours.sub("<\\g<0>>", text, 2) == python.sub("<\\g<0>>", text, 2)


@pytest.mark.parametrize(
    "expression",
    [
        "<% $.s.matches($.p) %>",
        "<% $.s =~ $.p %>",
        "<% $.s !~ $.p %>",
        "<% regex($.p).matches($.s) %>",
        "<% $.s =~ regex($.p) %>",
        "<% $.s !~ regex($.p) %>",
        "<% regex($.p).search($.s) %>",
        "<% regex($.p).search($.s, $.start) %>",
        "<% regex($.p).searchAll($.s) %>",
        "<% regex($.p).split($.s) %>",
        "<% $.s.split(regex($.p)) %>",
        "<% regex($.p).replace($.s, x) %>",
        "<% $.s.replace(regex($.p), x) %>",
        "<% regex($.p).replaceBy($.s, x) %>",
        "<% $.s.replaceBy(regex($.p), x) %>",
    ],
)
def test_an_expression_that_would_never_end_is_stopped(expression: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patterns, "_TIME_MAX_SEC", 0.05)

    with pytest.raises(EvaluationException, match="a regular expression takes longer than"):
        evaluate(expression, {"p": ENDLESS, "s": "a" * 5000 + "b"}, SmallWorld())


def test_a_single_star_over_a_long_text_is_stopped_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patterns, "_TIME_MAX_SEC", 0.05)

    with pytest.raises(BudgetExceededError):
        Pattern(re.compile("a*[bc]")).search("a" * 1_000_000)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("<% regex('(.)=(.*)').search('a=b', $2.value) %>", "a"),
        ("<% regex('[0-9]+|x+').searchAll('a1b22xx') %>", ["1", "22", "xx"]),
        ("<% 'a1b22c'.split(regex('[0-9]+|,+')) %>", ["a", "b", "c"]),
        ("<% 'a1b22c'.replace(regex('([0-9]+|,+)'), '<\\\\1>') %>", "a<1>b<22>c"),
        ("<% 'Ab' =~ '^(A|B)(a|b)$' and 'ab' !~ '^(A|B)(a|b)$' %>", True),
        ("<% regex('^(A|B)+$', ignoreCase => true).matches('abab') %>", True),
    ],
)
def test_whoever_matches_the_answer_is_the_same(expression: str, value: object):
    assert evaluate(expression, {"a": 1}, SmallWorld()) == value
