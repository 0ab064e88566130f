"""Notifications: what publishers are told of executions, in which order, and what happens when they do not listen."""

import json
from dataclasses import replace

import pytest

from chalicelib.actions.publishers import NotDelivered, PublisherRefused
from chalicelib.engine import codec
from chalicelib.errors import InputException, MistralError
from chalicelib.limits import NOTICE_TRIES_MAX, PUBLISHERS_MAX
from chalicelib.services import notifier
from chalicelib.services.alerts import Alerts
from chalicelib.services.engine import StartRequest
from chalicelib.services.messages import NOTIFICATIONS, notices_message
from chalicelib.services.notifier import Notifier, publishers_from
from chalicelib.services.ports import Item, Put
from tests.in_memory import PROJECT, World

ALL = {"type": "webhook", "url": "http://receiver/all"}
SIMPLE = """
version: '2.0'
simple:
  tasks:
    a: {action: std.noop, on-success: b}
    b: {action: std.echo output=1}
"""


class Receiver:
    """Publishers that remember what they heard, by their URL; each does as it is told first."""

    def __init__(self):
        self.heard = {}
        self.moods = {}

    def publish(self, publisher, announcement):
        address = publisher.get("url", publisher["type"])
        mood = self.moods.get(address)
        if mood is not None:
            mood(announcement)
        self.heard.setdefault(address, []).append(announcement)

    def events(self, address=ALL["url"]):
        return [(each.data["name"], each.data["event"], each.data["state"]) for each in self.heard.get(address, ())]


class Stage(World):
    """The world with a notifier whose publishers are a receiver."""

    def __init__(self, defaults=None):
        super().__init__(publishers=defaults or {})
        self.receiver = Receiver()
        self.notifier = Notifier(self.container.engine, self.receiver, self.queue, self.clock, defaults or {})
        self.upload(SIMPLE)

    def start(self, workflow="simple", notify=(ALL,)):
        return self.run(workflow, params={"notify": list(notify)})

    def deliver(self, messages_max=200):
        """Hand out messages until there are none, time passing; how many there were."""
        for count in range(messages_max):
            at = self.queue.next_visible_at(NOTIFICATIONS)
            if at is None:
                return count
            self.clock.set(max(at, self.clock.now()))
            self.deliver_one()
        raise AssertionError("The notifier does not come to an end")

    def deliver_one(self):
        for received in self.queue.receive(NOTIFICATIONS, messages_max=1):
            record = {"messageId": received.message_id, "body": json.dumps(received.body)}
            assert self.notifier.handle_batch([record], 60.0) == []
            self.queue.delete(received)

    def header(self, execution_id):
        return self.container.executions.header(execution_id)


def refuse(times, error=NotDelivered):
    """A mood: fail so often, then listen."""
    left = [times]

    def mood(_announcement):
        if left[0]:
            left[0] -= 1
            raise error("not now")

    return mood


# What OpenStack Mistral 23 told a webhook about the same workflows, in the order of the changes.
RECORDED = {
    "simple": (
        "a: {action: std.noop, on-success: b}\n    b: {action: std.echo output=1}",
        ["WORKFLOW_LAUNCHED", "a LAUNCHED", "a SUCCEEDED", "b LAUNCHED", "b SUCCEEDED", "WORKFLOW_SUCCEEDED"],
    ),
    "failing": (
        "a: {action: std.fail, on-error: b}\n    b: {action: std.fail}",
        ["WORKFLOW_LAUNCHED", "a LAUNCHED", "a FAILED", "b LAUNCHED", "b FAILED", "WORKFLOW_FAILED"],
    ),
    "retried": (
        "a: {action: std.fail, retry: {count: 1, delay: 1}}",
        ["WORKFLOW_LAUNCHED", "a LAUNCHED", "a FAILED", "a None DELAYED", "a LAUNCHED", "a FAILED", "WORKFLOW_FAILED"],
    ),
    "waiting": (
        "a: {action: std.noop, wait-before: 1, wait-after: 1}",
        [
            "WORKFLOW_LAUNCHED",
            "a LAUNCHED",
            "a None DELAYED",
            "a LAUNCHED",
            "a SUCCEEDED",
            "a None DELAYED",
            "a SUCCEEDED",
            "WORKFLOW_SUCCEEDED",
        ],
    ),
    "joined": (
        "a: {action: std.noop, on-success: c}\n    c: {action: std.noop, join: all}",
        ["WORKFLOW_LAUNCHED", "a LAUNCHED", "a SUCCEEDED", "c RESUMED", "c SUCCEEDED", "WORKFLOW_SUCCEEDED"],
    ),
    "paused": (
        "a: {action: std.noop, pause-before: true}",
        ["WORKFLOW_LAUNCHED", "a LAUNCHED", "a None IDLE", "WORKFLOW_PAUSED"],
    ),
}


@pytest.mark.parametrize("title", RECORDED)
def test_a_publisher_hears_what_openstack_mistral_tells(title):
    stage = Stage()
    tasks, expected = RECORDED[title]
    stage.upload(f"version: '2.0'\n{title}_told:\n  tasks:\n    {tasks}\n")

    stage.run(f"{title}_told", params={"notify": [ALL]}, until=lambda h: h.state.is_completed or h.state == "PAUSED")
    stage.deliver()

    told = [
        event
        if event and event.startswith("WORKFLOW")
        else f"{name} {(event or f'None {state}').removeprefix('TASK_')}"
        for name, event, state in stage.receiver.events()
    ]
    assert told == expected


def test_an_event_has_the_members_that_openstack_mistral_gives_it():
    stage = Stage()
    finished = stage.start()
    stage.deliver()

    launched, task = (each.data for each in stage.receiver.heard[ALL["url"]][:2])
    assert " ".join(launched) == (
        "id name workflow_name workflow_namespace workflow_id state state_info project_id task_execution_id "
        "root_execution_id created_at updated_at event"
    )
    assert (launched["id"], launched["state"], launched["event"]) == (
        finished.header.id,
        "RUNNING",
        "WORKFLOW_LAUNCHED",
    )
    assert " ".join(task) == (
        "id name workflow_execution_id workflow_name workflow_namespace workflow_id state state_info type project_id "
        "created_at updated_at started_at finished_at event"
    )
    assert (task["workflow_execution_id"], task["type"], task["finished_at"]) == (finished.header.id, "ACTION", None)


def test_a_sub_workflow_inherits_the_publishers():
    stage = Stage()
    stage.upload("version: '2.0'\nparent:\n  tasks:\n    sub: {workflow: simple}\n")
    finished = stage.start("parent")
    stage.deliver()

    [child] = [each.data for each in stage.receiver.heard[ALL["url"]] if each.data["name"] == "simple"][:1]
    assert child["root_execution_id"] == finished.header.id
    assert child["task_execution_id"] is not None
    assert ("simple", "WORKFLOW_SUCCEEDED", "SUCCESS") in stage.receiver.events()


def test_a_publisher_hears_only_the_events_that_it_asks_for():
    stage = Stage()
    stage.start(notify=[{**ALL, "event_types": ["WORKFLOW_SUCCEEDED", "nonsense"]}])
    stage.deliver()

    assert [event for _, event, _ in stage.receiver.events()] == ["WORKFLOW_SUCCEEDED"]


def test_an_execution_that_nobody_asks_about_stores_and_sends_nothing_for_it():
    stage = Stage()
    finished = stage.run("simple")

    keys = [item.key for item in stage.container.ports.executions.query(finished.header.id)]
    assert not [key for key in keys if key.startswith(("notice#", "notified#"))]
    assert stage.queue.size(NOTIFICATIONS) == 0
    assert finished.header.wake_at is None


def test_an_execution_that_has_told_everything_rings_no_alarm_and_was_not_updated_by_it():
    stage = Stage()
    finished = stage.start()
    assert finished.header.wake_at is not None

    stage.clock.advance(100)
    stage.deliver()

    after = stage.header(finished.header.id)
    assert after.wake_at is None
    assert after.updated_at == finished.header.updated_at


@pytest.mark.parametrize("notify", ["abc", {}, {"a": 1}, [], [5, "x", None], [{}], [{"type": "nope"}], None, False])
def test_what_is_no_publisher_is_passed_over(notify):
    stage = Stage()

    assert stage.run("simple", params={"notify": notify}).state == "SUCCESS"
    assert stage.deliver() == 0


@pytest.mark.parametrize(
    "notify", [5, True, [{**ALL, "event_types": 5}], [ALL] * (PUBLISHERS_MAX + 1)], ids=["5", "true", "types", "many"]
)
def test_what_cannot_be_meant_is_refused_when_the_execution_is_started(notify):
    stage = Stage()

    with pytest.raises(InputException, match=r"params\.notify"):
        stage.container.engine.start(StartRequest(PROJECT, "simple", params={"notify": notify}))


@pytest.mark.parametrize("types", ["WORKFLOW_SUCCEEDED", {"WORKFLOW_SUCCEEDED": 1}, ["WORKFLOW_SUCCEEDED"]])
def test_event_types_may_be_whatever_a_name_can_be_in(types):
    stage = Stage()
    stage.start(notify=[{**ALL, "event_types": types}])
    stage.deliver()

    assert [event for _, event, _ in stage.receiver.events()] == ["WORKFLOW_SUCCEEDED"]


# -- who does not listen


def test_what_is_not_taken_is_told_again_later_and_in_order():
    stage = Stage()
    stage.receiver.moods[ALL["url"]] = refuse(3)
    began = stage.clock.now()
    stage.start()
    stage.deliver()

    numbers = [int(each.id.rpartition(".")[2]) for each in stage.receiver.heard[ALL["url"]]]
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert stage.clock.now() - began == pytest.approx(2 + 8 + 32, abs=1)


def test_a_dead_endpoint_delays_nobody_else_and_is_given_up(caplog):
    stage = Stage()
    dead = {"type": "webhook", "url": "http://dead"}
    stage.receiver.moods["http://dead"] = refuse(1000)
    finished = stage.start(notify=[dead, ALL])

    stage.deliver_one()
    stage.deliver_one()
    assert len(stage.receiver.events()) == 6

    tries = stage.deliver()
    # The first event is tried often, the others once: nobody is there.
    assert tries <= NOTICE_TRIES_MAX + 2
    assert caplog.text.count("given up") == 6
    assert stage.header(finished.header.id).wake_at is None


def test_an_endpoint_that_comes_back_is_trusted_again():
    stage = Stage()
    stage.receiver.moods[ALL["url"]] = refuse(NOTICE_TRIES_MAX)
    stage.start()
    stage.deliver()

    # The first event was given up.
    assert stage.receiver.events()[0][1] == "TASK_LAUNCHED"
    assert len(stage.receiver.events()) == 5


def test_a_publisher_that_is_wrongly_described_is_not_tried_again(caplog):
    stage = Stage()
    stage.receiver.moods[ALL["url"]] = refuse(1000, PublisherRefused)
    stage.start()

    assert stage.deliver() <= 3
    assert "refused" in caplog.text


# -- crashes, repetitions, races


def test_a_lost_message_is_made_good_by_the_alarm():
    stage = Stage()
    finished = stage.start()
    for received in stage.queue.receive(NOTIFICATIONS, messages_max=10):
        stage.queue.delete(received)
    assert stage.queue.size(NOTIFICATIONS) == 0

    stage.clock.set(finished.header.wake_at)
    stage.container.clock_door.tick()
    stage.go_on(finished.header.id, lambda _: stage.queue.size("tasks") == 0)
    stage.deliver()

    assert len(stage.receiver.events()) == 6


def test_a_message_that_comes_again_tells_nothing_twice():
    stage = Stage()
    finished = stage.start()
    stage.deliver()
    stage.queue.send([notices_message(finished.header.id, 0)] * 3)
    stage.deliver()

    assert len(stage.receiver.events()) == 6


class Died(BaseException):
    pass


def test_what_a_dead_process_did_not_confirm_is_told_again_under_the_same_id():
    stage = Stage()
    finished = stage.start()

    def die(announcement):
        if announcement.event == "TASK_SUCCEEDED":
            raise Died

    stage.receiver.moods[ALL["url"]] = die
    with pytest.raises(Died):
        stage.notifier.handle(notices_message(finished.header.id, 0).body, "m", stage.clock.now() + 60)
    stage.receiver.moods.clear()
    # While the dead process might still live, nobody takes its place.
    stage.notifier.handle(notices_message(finished.header.id, 0).body, "n", stage.clock.now() + 60)
    assert len(stage.receiver.events()) == 2
    stage.clock.advance(61)
    stage.notifier.handle(notices_message(finished.header.id, 0).body, "m", stage.clock.now() + 60)

    ids = [each.id for each in stage.receiver.heard[ALL["url"]]]
    assert len(ids) == 8
    assert len(set(ids)) == 6
    assert ids[:2] == ids[2:4]


def test_an_event_that_kills_whoever_tells_it_is_given_up(caplog):
    stage = Stage()
    finished = stage.start()

    def die(announcement):
        if announcement.event == "TASK_SUCCEEDED" and announcement.data["name"] == "a":
            raise Died

    stage.receiver.moods[ALL["url"]] = die
    deaths = 0
    while deaths < 2 * NOTICE_TRIES_MAX:
        try:
            stage.notifier.handle(notices_message(finished.header.id, 0).body, "m", stage.clock.now() + 60)
            break
        except Died:
            deaths += 1
            stage.clock.advance(61)

    assert deaths <= NOTICE_TRIES_MAX + 1
    assert [event for _, event, _ in stage.receiver.events()].count("TASK_SUCCEEDED") == 1
    assert "given up" in caplog.text
    assert stage.receiver.events()[-1][1] == "WORKFLOW_SUCCEEDED"


def test_whoever_tells_looks_again_when_a_message_came_meanwhile():
    stage = Stage()
    stage.upload("version: '2.0'\nlong:\n  tasks:\n    a: {action: std.async_noop}\n")
    engine = stage.container.engine
    header = engine.start(StartRequest(PROJECT, "long", params={"notify": [ALL]}))

    def meanwhile(announcement):
        if announcement.event == "WORKFLOW_LAUNCHED":
            stage.notifier.handle(notices_message(header.id, 0).body, "other", stage.clock.now() + 60)
            # What was read before does not hold this notice yet.
            key = "notice#00000003"
            later = stage.container.executions.notices(header.id, 0)[1]
            body = codec.pack_notices([replace(later, number=3, event="TASK_PAUSED")])
            stage.container.ports.executions.write([Put(Item(header.id, key, body))])

    stage.receiver.moods[ALL["url"]] = meanwhile
    stage.deliver()

    assert [event for _, event, _ in stage.receiver.events()] == ["WORKFLOW_LAUNCHED", "TASK_LAUNCHED", "TASK_PAUSED"]


def test_who_runs_out_of_time_leaves_the_rest_to_another_message():
    stage = Stage()
    stage.receiver.moods[ALL["url"]] = lambda _: stage.clock.advance(9)
    stage.start()

    assert stage.deliver() >= 2
    assert len(stage.receiver.events()) == 6


def test_notices_of_a_deleted_execution_leave_nothing_behind():
    stage = Stage()
    finished = stage.start()
    stage.container.executions.delete(finished.header)
    stage.deliver()

    assert stage.container.ports.executions.query(finished.header.id) == []
    assert stage.receiver.heard == {}


def test_nonsense_stays_in_the_queue():
    stage = Stage()

    assert stage.notifier.handle_batch([{"messageId": "1", "body": '{"kind": "?"}'}], 60.0) == ["1"]


# -- the service's own publishers


def test_the_services_own_publishers_are_told_of_every_execution_and_not_shown_to_anybody():
    defaults = publishers_from('[{"type": "webhook", "url": "http://ours", "event_types": ["WORKFLOW_FAILED"]}]')
    stage = Stage(defaults)
    stage.upload("version: '2.0'\nfailing:\n  tasks:\n    a: {action: std.fail}\n")
    finished = stage.run("failing")
    stage.deliver()

    assert [event for _, event, _ in stage.receiver.events("http://ours")] == ["WORKFLOW_FAILED"]
    assert "notify" not in stage.container.executions.value(finished.header.id, finished.header.params)


def test_a_publisher_of_the_service_that_is_gone_is_not_told_and_holds_nobody_up():
    stage = Stage(publishers_from('[{"type": "webhook", "url": "http://ours"}]'))
    finished = stage.run("simple")
    stage.notifier.defaults.clear()
    stage.deliver()

    assert stage.receiver.heard == {}
    assert stage.header(finished.header.id).wake_at is None


@pytest.mark.parametrize("text", ["{", "5", "[5]", '[{"type": "pigeon"}]', '[{"url": "http://x"}]'])
def test_a_setting_that_names_no_publisher_is_refused(text):
    with pytest.raises(MistralError, match="MISTRAL_NOTIFY"):
        publishers_from(text)


# -- alerts


def test_an_alert_reaches_the_services_own_publishers_and_the_log(caplog):
    defaults = publishers_from('[{"type": "webhook", "url": "http://ours"}]')
    stage = Stage(defaults)
    stage.receiver.moods["http://ours"] = refuse(2)
    alerts = Alerts(defaults, stage.queue, stage.clock)

    alerts.alert("CRON_TRIGGER_LATE", "nightly did not start", project_id="p", subject="t-1", facts={"alert_id": "7"})
    stage.deliver()

    [told] = stage.receiver.heard["http://ours"]
    assert (told.id, told.event, told.group) == ("alert.7", "CRON_TRIGGER_LATE", "t-1")
    assert told.data["message"] == "nightly did not start"
    assert "nightly did not start" in caplog.text


def test_an_alert_that_nobody_takes_is_given_up(caplog):
    defaults = publishers_from('[{"type": "webhook", "url": "http://ours"}]')
    stage = Stage(defaults)
    stage.receiver.moods["http://ours"] = refuse(1000)
    Alerts(defaults, stage.queue, stage.clock).alert("A", "b", project_id="p", subject="s")

    assert stage.deliver() == NOTICE_TRIES_MAX
    assert "given up" in caplog.text


def test_an_alert_never_fails_whoever_sends_it(caplog):
    class Broken:
        def send(self, messages):
            raise OSError("no queue")

    Alerts(["x"], Broken(), Stage().clock).alert("A", "b", project_id="p", subject="s")

    assert "not sent" in caplog.text


def test_the_pauses_between_tries_grow_up_to_what_a_message_can_wait():
    assert [notifier.pause_sec(failures) for failures in range(1, 8)] == [2, 8, 32, 128, 512, 900, 900]
