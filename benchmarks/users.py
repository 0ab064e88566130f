"""What a month costs four typical users, by rehearsed runs at list prices: the tables of docs/cost.md."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.local import estimate
from chalicelib.local.answers import Script, answers_from
from chalicelib.local.estimate import Elsewhere, Line
from chalicelib.local.rehearsal import Played, Rehearsal, scripted
from chalicelib.vocabulary import State

ACTION_MS = 100.0
_HTTP = "std.http url='https://example.com'"
_REPORT = f"""version: '2.0'
report:
  tasks:
    fetch: {{action: {_HTTP}, on-success: store}}
    store: {{action: aws.s3.put_object Bucket='reports' Key='latest', on-success: tell}}
    tell: {{action: aws.sns.publish TopicArn='arn:aws:sns:us-east-1:123456789012:reports' Message='done'}}
"""
_CHECK = f"""version: '2.0'
check:
  tasks:
    each:
      with-items: i in <% range(1000) %>
      concurrency: 50
      action: {_HTTP}
      keep-result: false
"""
_APPROVAL = f"""version: '2.0'
approval:
  tasks:
    ask: {{action: {_HTTP}, on-success: decide}}
    decide: {{action: std.async_noop, on-success: act}}
    act: {{action: {_HTTP}}}
"""
_AFTER_90_DAYS = f"decide: {{data: {{approved: true}}, after_sec: {90 * 24 * 3600}}}"


@dataclass(frozen=True, slots=True)
class User:
    """What somebody runs, and how often in a month of thirty days."""

    name: str
    text: str
    runs: int
    answers: str = "nobody: {data: 1}"


USERS = (
    User("a report, 1,000 times a day", _REPORT, 30_000),
    User("1,000 URLs checked, once a day", _CHECK, 30),
    User("1,000 approvals that wait 90 days", _APPROVAL, 1_000, _AFTER_90_DAYS),
)


@dataclass(frozen=True, slots=True)
class Month:
    """What a user's month costs, the idle service not counted."""

    user: User
    played: Played
    lines: tuple[Line, ...]
    elsewhere: tuple[Elsewhere, ...]

    @property
    def own_dollars(self) -> float:
        """The service, without the time of the actions."""
        return estimate.total(self.lines, actions=False) * self.user.runs

    @property
    def actions_dollars(self) -> float:
        """The time of the actions."""
        return estimate.total(self.lines) * self.user.runs - self.own_dollars


def month_of(user: User) -> Month:
    """Rehearse one run. Raises AssertionError if it does not succeed."""
    rehearsal = scripted(lambda names: Script(answers_from("answers", user.answers), ACTION_MS, names))
    [name] = rehearsal.upload(user.text)
    played = rehearsal.play(name, {}, {})
    assert played.execution.state is State.SUCCESS, played.execution.state_info
    assert rehearsal.script is not None
    action_ms = rehearsal.script.action_ms
    return Month(user, played, estimate.bill(played, action_ms), estimate.elsewhere(played, action_ms))


def idle() -> tuple[Line, ...]:
    """A month in which nothing runs."""
    return estimate.idle_month(Rehearsal().idle_tick)


def table() -> str:
    """Both tables as text."""
    lines = [f"{'a month of 30 days in which nothing runs':<48}{'amount':>14} {'':<12}{'$':>8}"]
    nothing = idle()
    lines += [f"{line.what:<48}{line.amount:>14,.0f} {line.unit:<12}{line.dollars:>8.2f}" for line in nothing]
    lines += [f"{'all':<75}{estimate.total(nothing):>8.2f}", ""]
    head = ("runs", "here", "actions", "Standard", "Express", "durable")
    lines.append(f"{'on top of that, $ a month':<36}" + "".join(f"{name:>10}" for name in head))
    for month in map(month_of, USERS):
        others = "".join(_dollars(other.dollars, month.user.runs) for other in month.elsewhere)
        lines.append(
            f"{month.user.name:<36}{month.user.runs:>10,}"
            f"{month.own_dollars:>10.2f}{month.actions_dollars:>10.2f}{others}"
        )
    return "\n".join(lines)


def _dollars(dollars: float | None, runs: int) -> str:
    return f"{'-':>10}" if dollars is None else f"{dollars * runs:>10.2f}"
