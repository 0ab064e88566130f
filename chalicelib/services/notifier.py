"""The notifier: tells publishers what became of executions, from a queue of its own.

The law: an execution's notices are told to each of its publishers in their order, each at least once or until it was
tried ``NOTICE_TRIES_MAX`` times; no publisher waits for another, and no workflow for any.

A message says only that there are notices for a publisher of an execution. Whoever takes it holds a lease on that
publisher, an item of its own with the number up to which it was told. Whoever finds the lease taken changes the item's
revision: so the holder, who wants to give it back, sees that there may be more, and looks again. What is lost on the
way is found again by the execution's alarm, which rings until all was told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b
from typing import Any, Final, Protocol

from chalicelib.actions.publishers import Announcement, NotDelivered, PublisherRefused
from chalicelib.data import dataclass, replace
from chalicelib.engine.events import NoticesTold
from chalicelib.engine.notices import PUBLISHER_TYPES, event_data, is_publisher, wants
from chalicelib.engine.records import Notice, Subscription, WorkflowExecution
from chalicelib.errors import ConflictException, MistralError
from chalicelib.limits import NOTICE_PAUSE_MAX_SEC, NOTICE_PAUSE_SEC, NOTICE_TRIES_MAX, TELLING_MAX_SEC
from chalicelib.services import messages
from chalicelib.services.alerts import announcement_of
from chalicelib.services.engine import EngineService
from chalicelib.services.ports import Clock, Delete, Item, Put, Queue
from chalicelib.services.telemetry import Metric
from chalicelib.vocabulary import JsonObject

_LOG: Final = logging.getLogger("mistral.notifications")
_LEASE_PREFIX: Final = "notified#"
_LEASE_ATTEMPTS_MAX: Final = 20
# Time that is kept for what follows the last telling.
_RESERVE_SEC: Final = 5.0
_TOLD_BETWEEN_SAVES: Final = 25


class Teller(Protocol):
    """What tells a publisher: ``Publishers``, or a test's own."""

    def publish(self, publisher: Mapping[str, Any], announcement: Announcement) -> None:
        """Tell it, within ``TELLING_MAX_SEC``.

        Raises PublisherRefused where it is of no use to try again, anything else where it may be.
        """


class TakenByOther(Exception):
    """The lease is not ours any more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """How far a publisher was told, and who is at it until when.

    ``failures`` counts how often the next notice was tried in vain; after one that was given up, the following ones
    are tried once (``is_hopeless``) until one arrives.
    """

    told: int = 0
    holder: str = ""
    until: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    is_hopeless: bool = False


class Notifier:
    """Handles messages of the queue of notifications. ``defaults`` are the service's own publishers, by name."""

    def __init__(
        self,
        engine: EngineService,
        teller: Teller,
        queue: Queue,
        clock: Clock,
        defaults: Mapping[str, JsonObject],
    ) -> None:
        self.engine = engine
        self._teller = teller
        self.queue = queue
        self.clock = clock
        self.defaults = dict(defaults)

    def handle_batch(self, records: Sequence[Mapping[str, Any]], remaining_sec: float) -> list[str]:
        """Work on the records of an SQS event; the ids of the messages that are to come again."""
        deadline = self.clock.now() + remaining_sec
        failed = []
        for record in records:
            try:
                self.handle(json.loads(record["body"]), str(record["messageId"]), deadline)
            except Exception:  # noqa: BLE001 - a door: one message that fails does not take its neighbours along
                self.engine.turns.telemetry.count(Metric.MESSAGES_FAILED)
                _LOG.exception("message failed", extra={"mistral": {"info": str(record["messageId"])}})
                failed.append(str(record["messageId"]))
        return failed

    def handle(self, body: JsonObject, message_id: str, deadline: float) -> None:
        """Work on one message until ``deadline`` at most. Raises ConflictException if others are always faster."""
        match body["kind"]:
            case messages.NOTICES:
                _Courier(self, body["x"], body["p"], message_id, deadline).go()
            case messages.ALERT:
                self._alert(body)
            case kind:
                raise ValueError(f"unknown kind of message: {kind!r}")

    def _alert(self, body: JsonObject) -> None:
        publisher = self.defaults.get(body["p"])
        if publisher is None:
            return
        try:
            self.tell(publisher, announcement_of(body["facts"]))
        except PublisherRefused as error:
            _LOG.error("alert refused: %s", error)
        except NotDelivered as error:
            tries = body["n"] + 1
            if tries >= NOTICE_TRIES_MAX:
                self.lost()
                _LOG.error("alert given up after %d tries: %s", tries, error)
                return
            self.queue.send([messages.alert_message(body["p"], body["facts"], tries, pause_sec(tries))])

    def tell(self, publisher: Mapping[str, Any], announcement: Announcement) -> None:
        """Tell a publisher. Raises PublisherRefused or NotDelivered."""
        try:
            self._teller.publish(publisher, announcement)
            self.engine.turns.telemetry.count(Metric.NOTIFICATIONS_TOLD)
        except PublisherRefused:
            self.lost()
            raise
        except Exception as error:
            raise NotDelivered(str(error) or type(error).__name__) from error

    def lost(self) -> None:
        """Count an event or alert that a publisher will never be told of."""
        self.engine.turns.telemetry.count(Metric.NOTIFICATIONS_FAILED)


def publishers_from(text: str) -> dict[str, JsonObject]:
    """The service's own publishers by name, from a setting: a JSON list as of ``notify``.

    The name follows from what a publisher is. Raises MistralError.
    """
    try:
        listed = json.loads(text) if text.strip() else []
    except ValueError as error:
        raise MistralError(f"MISTRAL_NOTIFY is not JSON: {error}.") from None
    if not isinstance(listed, list):
        raise MistralError("MISTRAL_NOTIFY is a list of publishers.")
    for entry in listed:
        if not is_publisher(entry):
            raise MistralError(
                f"MISTRAL_NOTIFY: a publisher has a 'type', one of {', '.join(sorted(PUBLISHER_TYPES))}."
            )
    texts = (json.dumps(entry, sort_keys=True) for entry in listed)
    names = (f"s{blake2b(text.encode(), digest_size=6).hexdigest()}" for text in texts)
    return dict(zip(names, listed, strict=True))


def pause_sec(failures: int) -> int:
    """How long to wait after so many failures in a row."""
    return int(min(NOTICE_PAUSE_SEC * 4 ** (failures - 1), NOTICE_PAUSE_MAX_SEC))


class _Courier:
    """Tells one publisher of one execution all that there is to tell."""

    def __init__(self, world: Notifier, execution_id: str, number: int, holder: str, deadline: float) -> None:
        self._world = world
        self._store = world.engine.turns.store
        self._execution_id = execution_id
        self._number = number
        self._holder = holder
        self._deadline = deadline
        self._key = f"{_LEASE_PREFIX}{number:02d}"
        self._lease = Lease()
        self._revision = 0
        self._told_between_saves = _TOLD_BETWEEN_SAVES

    def go(self) -> None:
        """Take the lease, tell, give it back, until nothing has come meanwhile."""
        if not self._take():
            return
        try:
            while True:
                header = self._store.header(self._execution_id)
                if header is None or self._number >= len(header.subscriptions):
                    self._store.table.write([Delete(self._execution_id, self._key)])
                    return
                if not self._tell_all(header):
                    return
                if self._give_back():
                    self._report(header)
                    return
        except TakenByOther:
            return

    # -- telling

    def _tell_all(self, header: WorkflowExecution) -> bool:
        """Whether all that is stored was told; if not, the lease is given back and a message is under way."""
        subscription = header.subscriptions[self._number]
        publisher = self._publisher(header, subscription)
        unsaved = 0
        while notices := self._store.notices(self._execution_id, self._lease.told):
            for notice in notices:
                if publisher is not None and wants(subscription, notice.event):
                    if self._world.clock.now() + TELLING_MAX_SEC + _RESERVE_SEC > self._deadline:
                        self._pause(0)
                        return False
                    if not self._tell(publisher, header, notice):
                        return False
                    unsaved += 1
                self._lease = replace(self._lease, told=notice.number)
                if unsaved >= self._told_between_saves:
                    self._save()
                    unsaved = 0
        return True

    def _publisher(self, header: WorkflowExecution, subscription: Subscription) -> Mapping[str, Any] | None:
        """What the publisher is described by; ``None`` for one of the service's own that is there no longer."""
        if not subscription.source.isdecimal():
            return self._world.defaults.get(subscription.source)
        params = self._store.value(header.id, header.params) or {}
        publisher: Mapping[str, Any] = params["notify"][int(subscription.source)]
        return publisher

    def _tell(self, publisher: Mapping[str, Any], header: WorkflowExecution, notice: Notice) -> bool:
        """Whether to go on to the next notice: this one was told, or never will be."""
        tries_max = 1 if self._lease.is_hopeless else NOTICE_TRIES_MAX
        announcement = announcement_for(header, notice)
        reason = "whoever tried died"
        if self._lease.failures < tries_max:
            try:
                self._world.tell(publisher, announcement)
            except PublisherRefused as error:
                _LOG.warning("event %s refused: %s", announcement.id, error, extra=_facts(header))
            except NotDelivered as error:
                reason = str(error)
                self._lease = replace(self._lease, failures=self._lease.failures + 1)
                if self._lease.failures < tries_max:
                    _LOG.info("event %s not delivered yet: %s", announcement.id, error, extra=_facts(header))
                    self._pause(pause_sec(self._lease.failures))
                    return False
            else:
                self._lease = replace(self._lease, failures=0, is_hopeless=False)
                return True
        if self._lease.failures:
            self._world.lost()
            _LOG.error("event %s given up: %s", announcement.id, reason, extra=_facts(header))
            self._lease = replace(self._lease, failures=0, is_hopeless=True)
        return True

    def _report(self, header: WorkflowExecution | None) -> None:
        """Let an execution that has ended know that there is nothing more to tell: its alarm need not ring."""
        told = self._lease.told
        if header is not None and header.noticed < told:
            header = self._store.header(self._execution_id)
        if header is None or not header.state.is_completed:
            return
        subscription = header.subscriptions[self._number]
        if subscription.is_owed and told >= subscription.last:
            event = NoticesTold(self._number, told)
            self._world.engine.proceed(self._execution_id, event, until=self._deadline - _RESERVE_SEC)

    # -- the lease

    def _take(self) -> bool:
        """Whether the lease is ours now; if it is another's, that one will look again. Raises ConflictException."""
        for _ in range(_LEASE_ATTEMPTS_MAX):
            stored = self._stored()
            now = self._world.clock.now()
            try:
                if self._lease.holder and self._lease.until > now:
                    assert stored is not None
                    self._put(stored)
                    return False
                if self._lease.retry_at > now:
                    return False
                failures = self._lease.failures
                if self._lease.holder:
                    # Whoever held it has died with it, perhaps by what it had to tell: which one it is must show.
                    failures, self._told_between_saves = failures + 1, 1
                self._lease = replace(
                    self._lease, holder=self._holder, until=self._deadline, failures=failures, retry_at=0.0
                )
                self._put(self._lease)
            except ConflictException:
                continue
            return True
        raise ConflictException(f"The notices of execution {self._execution_id} are fought for; try again.")

    def _stored(self) -> Lease | None:
        item = self._store.table.get(self._execution_id, [self._key]).get(self._key)
        stored = None if item is None else Lease(**json.loads(item.body))
        self._lease, self._revision = stored or Lease(), item.revision if item is not None else 0
        return stored

    def _put(self, lease: Lease) -> None:
        body = json.dumps(asdict(lease), separators=(",", ":")).encode()
        item = Item(self._execution_id, self._key, body, revision=self._revision + 1)
        self._store.table.write([Put(item, expected=self._revision)])
        self._revision += 1

    def _save(self) -> None:
        """Store how far we are. Raises TakenByOther."""
        while True:
            try:
                self._put(self._lease)
                return
            except ConflictException:
                self._look()

    def _look(self) -> None:
        """Learn the revision that whoever found the lease taken has left. Raises TakenByOther."""
        mine = self._lease
        stored = self._stored()
        if stored is None or (stored.holder, stored.until) != (self._holder, self._deadline):
            raise TakenByOther
        self._lease = mine

    def _give_back(self) -> bool:
        """Whether it was given back; if not, there may be more to tell. Raises TakenByOther."""
        mine = self._lease
        self._lease = replace(mine, holder="", until=0.0)
        try:
            self._put(self._lease)
        except ConflictException:
            self._lease = mine
            self._look()
            return False
        return True

    def _pause(self, delay_sec: int) -> None:
        """Give the lease back, and go on by another message. Raises TakenByOther."""
        retry_at = self._world.clock.now() + delay_sec if delay_sec else 0.0
        self._lease = replace(self._lease, holder="", until=0.0, retry_at=retry_at)
        self._save()
        self._world.queue.send([messages.notices_message(self._execution_id, self._number, delay_sec)])


def announcement_for(header: WorkflowExecution, notice: Notice) -> Announcement:
    """A notice as it is told. Its id tells the execution from another one that has the same id later."""
    return Announcement(
        id=f"{header.id}.{round(header.created_at * 1000):x}.{notice.number}",
        event=notice.event,
        at=notice.updated_at,
        group=header.public,
        data=event_data(header, notice),
    )


def _facts(header: WorkflowExecution) -> dict[str, Any]:
    return {"mistral": {"workflow": header.workflow_name, "execution": header.public}}
