"""A stand-in for the deployed program: the same doors, and workflows that do what their input says."""

import json
from types import ModuleType, SimpleNamespace
from typing import Any

from chalice.app import Chalice, Response

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.clock import SystemClock
from chalicelib.adapters.memory import MemoryPayloads, MemoryQueue
from chalicelib.services.ports import Message


class StandIn:
    """Each execution has one task, which ends in ``input["end"]`` when its message arrives."""

    def __init__(self, aws: Aws | None) -> None:
        self.executions: dict[str, dict[str, Any]] = {}
        self.rings = 0
        self.seen_events: list[Any] = []
        self.queue = MemoryQueue(SystemClock())
        self._aws = aws

    def send(self, identity: str) -> None:
        if self._aws is None:
            self.queue.send([Message({"id": identity})])
            return
        client = self._aws.client("sqs")
        url = client.get_queue_url(QueueName="mistral-tasks")["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody=json.dumps({"id": identity}))

    def modules(self) -> dict[str, ModuleType]:
        doors, wiring = ModuleType("app"), ModuleType("chalicelib.wiring")
        doors.__dict__.update(app=self._app(), executor=self.executor, clock=self.clock, events=self.events)
        ports = SimpleNamespace(payloads=MemoryPayloads())
        wiring.__dict__.update(container=lambda: SimpleNamespace(queue=self.queue, ports=ports))
        return {"app": doors, "chalicelib.wiring": wiring}

    def executor(self, event: Any, _context: Any) -> Any:
        for record in event["Records"]:
            self.executions[json.loads(record["body"])["id"]].update(self._ended(json.loads(record["body"])["id"]))
        return {"batchItemFailures": []}

    def events(self, event: Any, _context: Any) -> None:
        """Remember it."""
        self.seen_events.append(event)

    def clock(self, _event: Any, _context: Any) -> None:
        self.rings += 1

    def _ended(self, identity: str) -> dict[str, Any]:
        end = self.executions[identity]["input"]["end"]
        return {"state": end, "output": json.dumps({"result": end}), "state_info": None if end == "SUCCESS" else "why"}

    def _app(self) -> Any:
        app: Any = Chalice("stand-in")

        @app.route("/v2/workflows", methods=["POST"], content_types=["text/plain"])
        def upload():
            text = app.current_request.raw_body.decode()
            if "broken" in text:
                return Response(
                    {"faultstring": "bad task [line 3, column 5]; worse [line 4, column 1]"}, status_code=400
                )
            names = [line.rstrip(":") for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
            return Response({"workflows": [{"name": name} for name in names]}, status_code=201)

        @app.route("/v2/workbooks", methods=["POST"], content_types=["text/plain"])
        def upload_book():
            return Response({"name": "book"}, status_code=201)

        @app.route("/v2/executions", methods=["POST"])
        def start():
            request = app.current_request.json_body
            if request["input"].get("refuse"):
                return Response({"faultstring": "Invalid input"}, status_code=400)
            identity = f"execution-{len(self.executions)}"
            self.executions[identity] = {"id": identity, "state": "RUNNING", "output": "{}", **request}
            if "end" in request["input"]:
                self.send(identity)
            return Response(self.executions[identity], status_code=201)

        @app.route("/v2/executions/{identity}", methods=["GET", "PUT"])
        def one(identity):
            if app.current_request.method == "PUT":
                self.executions[identity]["state"] = app.current_request.json_body["state"]
            return self.executions[identity]

        @app.route("/v2/executions/{identity}/tasks", methods=["GET"])
        def tasks(identity):
            task = {"id": "t", "name": "only", "published": '{"a": 1}'}
            return {"tasks": [{**task, "state": self.executions[identity]["state"]}]}

        return app
