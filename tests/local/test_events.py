"""The event bus of this machine."""

import json
from typing import Any

import boto3
import pytest

from chalicelib.local import event as command
from chalicelib.local.events import DELIVERIES_MAX, ENTRIES_MAX, WAITING_MAX, EventEndpoint, EventFeed
from chalicelib.local.main import main
from tests.docs_service import bash, serving

ENTRY = {"Source": "nova", "DetailType": "notifications", "Detail": '{"event_type": "created", "payload": {"id": 7}}'}


class Door:
    """Fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.seen: list[Any] = []

    def __call__(self, event: Any, _context: Any) -> None:
        self.seen.append(event)
        if self.failures:
            self.failures -= 1
            raise OSError("the table is away")


class Hands:
    """A feed without its thread, and a clock for its patience."""

    def __init__(self, failures: int = 0) -> None:
        self.door = Door(failures)
        self.now_sec = 0.0
        self.feed = EventFeed(self.door, now=lambda: 1_700_000_000.0, monotonic=lambda: self.now_sec)

    def deliver(self) -> int:
        """Everything that is due."""
        count = 0
        while (delivery := self.feed.take()) is not None:
            self.feed.deliver(delivery)
            count += 1
        return count


def test_an_entry_becomes_an_event_of_eventbridge() -> None:
    hands = Hands()
    [result] = hands.feed.put([{**ENTRY, "Resources": ["arn"], "Time": 60}])
    assert hands.deliver() == 1
    [event] = hands.door.seen
    assert event["id"] == result["EventId"]
    assert (event["source"], event["detail-type"], event["resources"]) == ("nova", "notifications", ["arn"])
    assert event["time"] == "1970-01-01T00:01:00Z"
    assert event["detail"]["payload"] == {"id": 7}


def test_events_come_in_their_order() -> None:
    hands = Hands()
    ids = [result["EventId"] for result in hands.feed.put([ENTRY] * 5)]
    hands.deliver()
    assert [event["id"] for event in hands.door.seen] == ids


def test_an_event_that_fails_comes_again_later_and_later(caplog: pytest.LogCaptureFixture) -> None:
    hands = Hands(failures=2)
    hands.feed.put([ENTRY])
    assert hands.deliver() == 1
    for now_sec, comes in ((0.9, 0), (1.0, 1), (2.9, 0), (3.0, 1), (1000.0, 0)):
        hands.now_sec = now_sec
        assert hands.deliver() == comes
    assert len({event["id"] for event in hands.door.seen}) == 1
    assert "comes again" in caplog.text


def test_an_event_that_always_fails_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    hands = Hands(failures=1000)
    hands.feed.put([ENTRY])
    for _ in range(100):
        hands.deliver()
        hands.now_sec += 100
    assert len(hands.door.seen) == DELIVERIES_MAX
    assert "given up" in caplog.text


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Source": ""}, "InvalidArgument"),
        ({"DetailType": None}, "InvalidArgument"),
        ({"Detail": "{"}, "MalformedDetail"),
        ({"Detail": "[1]"}, "MalformedDetail"),
        ({"Detail": json.dumps({"x": "y" * 300_000})}, "InvalidArgument"),
    ],
)
def test_what_eventbridge_refuses_is_refused(changes: dict[str, Any], code: str) -> None:
    hands = Hands()
    [result] = hands.feed.put([{**ENTRY, **changes}])
    assert result["ErrorCode"] == code
    assert hands.deliver() == 0


def test_nothing_listens_to_another_bus() -> None:
    hands = Hands()
    arn = "arn:aws:events:us-east-1:123456789012:event-bus/default"
    hands.feed.put([{**ENTRY, "EventBusName": "other"}, {**ENTRY, "EventBusName": arn}])
    assert hands.deliver() == 1


def test_more_events_than_can_wait_are_refused() -> None:
    hands = Hands()
    hands.feed.put([ENTRY] * WAITING_MAX)
    [result] = hands.feed.put([ENTRY])
    assert result["ErrorCode"] == "ThrottlingException"


# -- the command and the endpoint, on a service that runs

DEFINITION = """
version: '2.0'
on_event:
  input: [{vm: none}]
  output: {vm: <% $.vm %>}
  tasks: {t: {action: std.noop}}
puts:
  tasks:
    t:
      action: aws.events.put_events
      input:
        Entries:
          - {Source: nova, DetailType: notifications, Detail: '{"event_type": "created", "payload": {"id": "action"}}'}
"""
SCRIPT = """
printf '%s' "$DEFINITION" > "$TMP/w.yaml"
mistral workflow-create "$TMP/w.yaml" -f value -c Name > /dev/null
id=$(mistral workflow-get on_event -f value -c ID)
mistral event-trigger-create e "$id" nova notifications created '{}' \\
  --params '{"event_input": {"vm": "<% $.payload.id %>"}}' -f value -c ID > /dev/null
for way in delivered put; do
  if [ $way = put ]; then names='"Source" "DetailType" "Detail"'; else names='"source" "detail-type" "detail"'; fi
  set -- $names
  detail="{\\"event_type\\": \\"created\\", \\"payload\\": {\\"id\\": \\"$way\\"}}"
  echo "{$1: \\"nova\\", $2: \\"notifications\\", $3: $detail}"
done | mistral-local event - --url "$OS_MISTRAL_URL" > "$TMP/ids"
test "$(wc -l < "$TMP/ids")" = 2
EXTRA
for attempt in $(seq 100); do
  test "$(mistral execution-list --filter workflow_name=on_event -f value -c ID | wc -l)" = COUNT && break
done
for id in $(mistral execution-list --filter workflow_name=on_event -f value -c ID); do
  mistral execution-get-output "$id"
done
"""


@pytest.mark.parametrize(
    ("storage", "extra", "expected"),
    [
        ("memory", ":", {"delivered", "put"}),
        ("moto", "mistral execution-create puts -f value -c ID > /dev/null", {"delivered", "put", "action"}),
    ],
)
def test_whatever_is_put_on_the_bus_starts_its_workflow(
    tmp_path: Any, storage: str, extra: str, expected: set[str]
) -> None:
    script = SCRIPT.replace("EXTRA", extra).replace("COUNT", str(len(expected)))
    with serving("--storage", storage) as url:
        ended = bash(f"TMP={tmp_path}\nDEFINITION=$(cat <<'END'{DEFINITION}END\n)\n{script}", url=url)
        assert ended.status == 0, ended.errors
        client = boto3.client(
            "events",
            endpoint_url=url.removesuffix("/v2"),
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        answer = client.put_events(Entries=[ENTRY, {**ENTRY, "Detail": "{"}])
        assert (answer["FailedEntryCount"], len(answer["Entries"])) == (1, 2)
        with pytest.raises(client.exceptions.ClientError, match="Entries is a list"):
            client.put_events(Entries=[ENTRY] * (ENTRIES_MAX + 1))
    assert {value for value in expected if f'"vm": "{value}"' in ended.output} == expected


def test_other_requests_pass_the_endpoint() -> None:
    passed: list[Any] = []

    def following(environ: Any, _start_response: Any) -> list[bytes]:
        passed.append(environ)
        return []

    endpoint = EventEndpoint(Hands().feed, following)
    for environ in ({"REQUEST_METHOD": "GET"}, {"REQUEST_METHOD": "POST", "HTTP_X_AMZ_TARGET": "Other.Thing"}):
        endpoint(environ, lambda *_: None)
    assert len(passed) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "neither JSON"), ("[1]", "an event is a JSON object"), ('{"source": "x"}\n5', "an event is a JSON object")],
)
def test_what_is_no_event_is_explained(tmp_path: Any, text: str, words: str, capsys: Any) -> None:
    path = tmp_path / "events.json"
    path.write_text(text, "utf-8")
    assert main(["event", str(path)]) == command.REFUSED
    assert words in capsys.readouterr().err


def test_a_service_that_is_not_there_is_explained(tmp_path: Any, capsys: Any) -> None:
    path = tmp_path / "events.json"
    path.write_text(json.dumps(ENTRY), "utf-8")
    assert main(["event", str(path), "--url", "http://127.0.0.1:9/v2"]) == command.REFUSED
    assert "mistral-local serve" in capsys.readouterr().err
