"""Publishers: how an event reaches whoever asked for it with Mistral's ``notify``, one call for one event.

``webhook`` posts Mistral's JSON; ``eventbridge`` and ``sns`` carry it in an envelope as CloudEvents 1.0 describes it;
``noop`` writes a line to the log. What can never succeed is ``PublisherRefused``; anything else that goes wrong may go
well at another time.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import UTC, datetime
from typing import Any, Final

from chalicelib.actions.action import AwsSettings
from chalicelib.actions.egress import EgressPolicy
from chalicelib.data import dataclass
from chalicelib.errors import MistralError, UrlNotAllowedException
from chalicelib.limits import TELLING_MAX_SEC, WEBHOOK_CONNECT_TIMEOUT_SEC, WEBHOOK_READ_TIMEOUT_SEC
from chalicelib.vocabulary import Json, JsonObject

_LOG: Final = logging.getLogger("mistral.notifications")
_SOURCE: Final = "mistral.serverless"
_TYPE_PREFIX: Final = "org.openstack.mistral."
_NAMELESS: Final = "STATE_CHANGED"
_ID_HEADER: Final = "Mistral-Event-Id"
_SUCCESS: Final = range(200, 300)
_FAULTS_OF_THE_SENDER: Final = frozenset(
    {"AuthorizationError", "InvalidParameter", "InvalidParameterValue", "NotFound", "ValidationException"}
    | {"AccessDeniedException", "ResourceNotFoundException"}
)


class PublisherRefused(MistralError):
    """This publisher can never be told: what it is described by is wrong, or not allowed."""


class NotDelivered(MistralError):
    """The publisher did not take an event; it may do so later."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event on its way. ``id`` is the same whenever it is told again; ``group`` is what it is in order within."""

    id: str
    event: str | None
    at: float
    group: str
    data: JsonObject

    @property
    def type(self) -> str:
        """The event's name; a change of state that has none is called by what it is."""
        return self.event or _NAMELESS

    def cloud_event(self) -> JsonObject:
        """The event in its envelope."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/v2/executions/{self.group}",
            "type": _TYPE_PREFIX + self.type.lower(),
            "subject": str(self.data.get("id", self.group)),
            "time": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": self.data,
        }


class Publishers:
    """All kinds of publishers; safe between threads."""

    def __init__(self, egress: EgressPolicy, aws: AwsSettings) -> None:
        self._egress = egress
        self._aws = aws
        self._clients: Any = None

    def publish(self, publisher: Mapping[str, Json], announcement: Announcement) -> None:
        """Tell one publisher of one event, within TELLING_MAX_SEC.

        Raises PublisherRefused where it is of no use to try again, and anything else where it may be.
        """
        pool = ThreadPoolExecutor(max_workers=1)
        try:
            # An endpoint that answers byte by byte keeps every time limit of its connection, but not this one.
            pool.submit(self._tell, publisher, announcement).result(timeout=TELLING_MAX_SEC)
        except FutureTimeoutError as error:
            raise NotDelivered(f"No answer within {TELLING_MAX_SEC:g} s.") from error
        finally:
            pool.shutdown(wait=False)

    def _tell(self, publisher: Mapping[str, Json], announcement: Announcement) -> None:
        match publisher.get("type"):
            case "webhook":
                self._post(publisher, announcement)
            case "eventbridge":
                self._put_event(publisher, announcement)
            case "sns":
                self._publish_to_topic(publisher, announcement)
            case "noop":
                _LOG.info("event %s of %s", announcement.type, announcement.group)
            case other:
                raise PublisherRefused(f"There is no publisher of type {other!r}.")

    # -- HTTP

    def _post(self, publisher: Mapping[str, Json], announcement: Announcement) -> None:
        import requests
        from urllib3.exceptions import HTTPError

        from chalicelib.actions import http_transport

        headers = {"Content-Type": "application/json", **_headers(publisher), _ID_HEADER: announcement.id}
        url = _text(publisher, "url")
        try:
            response = http_transport.send(
                policy=self._egress,
                deadline_sec=WEBHOOK_CONNECT_TIMEOUT_SEC + WEBHOOK_READ_TIMEOUT_SEC,
                allow_redirects=False,
                method="POST",
                url=url,
                data=json.dumps(announcement.data),
                headers=headers,
                timeout=(WEBHOOK_CONNECT_TIMEOUT_SEC, WEBHOOK_READ_TIMEOUT_SEC),
            )
        except UrlNotAllowedException as error:
            raise PublisherRefused(str(error)) from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader) as error:
            # The library's words would bring URL and headers, which may be secret, into the log.
            raise PublisherRefused(f"The URL or a header of the webhook is wrong ({type(error).__name__}).") from None
        except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:
            raise NotDelivered(f"The webhook cannot be reached ({type(error).__name__}).") from None
        if response.status_code not in _SUCCESS:
            raise NotDelivered(f"The webhook answered {response.status_code} {response.reason or ''}".rstrip())

    # -- AWS

    def _put_event(self, publisher: Mapping[str, Json], announcement: Announcement) -> None:
        bus = _text(publisher, "bus", "default")
        entry = {
            "Source": _SOURCE,
            "DetailType": announcement.type,
            "Detail": json.dumps(announcement.cloud_event()),
            "Time": datetime.fromtimestamp(announcement.at, UTC),
            "EventBusName": bus,
        }
        answer = self._call("events", publisher, bus, "put_events", Entries=[entry])
        failed = [each for each in answer.get("Entries", ()) if each.get("ErrorCode")]
        if failed:
            raise NotDelivered(f"EventBridge: {failed[0]['ErrorCode']}: {failed[0].get('ErrorMessage', '')}")

    def _publish_to_topic(self, publisher: Mapping[str, Json], announcement: Announcement) -> None:
        topic = _text(publisher, "topic_arn")
        request: dict[str, Any] = {
            "TopicArn": topic,
            "Message": json.dumps(announcement.cloud_event()),
            "MessageAttributes": {"event": {"DataType": "String", "StringValue": announcement.type}},
        }
        if topic.endswith(".fifo"):
            request |= {"MessageGroupId": announcement.group, "MessageDeduplicationId": announcement.id}
        self._call("sns", publisher, topic, "publish", **request)

    def _call(self, service: str, publisher: Mapping[str, Json], target: str, operation: str, **request: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

        client = self._client(service, _region_of(target) or publisher.get("region") or self._aws.region)
        try:
            return getattr(client, operation)(**request)
        except ParamValidationError as error:
            raise PublisherRefused(str(error)) from error
        except ClientError as error:
            kind = PublisherRefused if error.response["Error"]["Code"] in _FAULTS_OF_THE_SENDER else NotDelivered
            raise kind(str(error)) from error
        except BotoCoreError as error:
            raise NotDelivered(str(error)) from error

    def _client(self, service: str, region: str | None) -> Any:
        if self._clients is None:
            from chalicelib.actions.aws_clients import AwsClients
            from chalicelib.actions.aws_models import AwsModels

            self._clients = AwsClients(AwsModels())
        return self._clients.client(
            service, region=region, endpoint_url=self._aws.endpoint_url, deadline_sec=WEBHOOK_READ_TIMEOUT_SEC
        )


def _headers(publisher: Mapping[str, Json]) -> dict[str, str]:
    """A webhook's own headers. Raises PublisherRefused."""
    headers = publisher.get("headers") or {}
    if not isinstance(headers, dict):
        raise PublisherRefused("The headers of a webhook must be an object of texts.")
    return {str(name): str(value) for name, value in headers.items()}


def _text(publisher: Mapping[str, Json], name: str, default: str | None = None) -> str:
    value = publisher.get(name) or default
    if not isinstance(value, str):
        raise PublisherRefused(f"A publisher of type {publisher.get('type')} needs '{name}', which is text.")
    return value


def _region_of(target: str) -> str | None:
    """The region that an ARN names."""
    parts = target.split(":")
    return parts[3] or None if parts[0] == "arn" and len(parts) > 3 else None
