"""The gateway in front of a tiny Chalice app, called as a WSGI server calls it."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from chalice.app import Chalice, Response

from chalicelib import limits
from chalicelib.errors import NotFoundException
from chalicelib.local.gateway import Gateway, Match, Router, share_between_threads

THREADS = 8


def an_app() -> Any:
    app: Any = Chalice("tiny")
    app.api.binary_types = ["image/png"]
    together = Barrier(THREADS)

    @app.route("/v2", methods=["GET"])
    def root():
        return Response("", status_code=302, headers={"Location": app.current_request.context["path"] + "/"})

    @app.route("/v2/things/{identity}", methods=["GET", "PUT"], content_types=["application/json", "text/plain"])
    def thing(identity):
        request = app.current_request
        query = request.query_params
        return {
            "identity": identity,
            "method": request.method,
            "body": request.raw_body.decode(),
            "tags": query.getlist("tag") if query else None,
            "content_type": request.headers.get("content-type"),
        }

    @app.route("/v2/things/mine", methods=["GET"])
    def mine():
        return {"identity": "the fixed one"}

    @app.route("/v2/bytes", methods=["POST"], content_types=["application/octet-stream"])
    def raw():
        return {"length": len(app.current_request.raw_body)}

    @app.route("/v2/cookies", methods=["GET"])
    def cookies():
        return Response({}, headers={"Set-Cookie": ["a=1", "b=2"], "X-One": "1"})

    @app.route("/picture", methods=["GET"])
    def picture():
        return Response(b"\x89PNG\xff", headers={"Content-Type": "image/png"})

    @app.route("/v2/together/{identity}", methods=["GET"])
    def meet(identity):
        together.wait(timeout=30)  # all requests are inside now
        assert app.lambda_context is not None
        return {"mine": app.current_request.uri_params["identity"] == identity}

    return app


class Browser:
    def __init__(self) -> None:
        app = an_app()
        share_between_threads(app)
        self._gateway = Gateway(app, app.routes)

    def ask(
        self, method: str, target: str, body: bytes = b"", **environ: Any
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        path, _, query = target.partition("?")
        answers: list[tuple[str, list[tuple[str, str]]]] = []
        request = {
            "REQUEST_METHOD": method,
            "REQUEST_URI": target,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input": io.BytesIO(body),
            **environ,
        }
        content = b"".join(self._gateway(request, lambda *answer: answers.append(answer)))
        (status, headers) = answers[0]
        return int(status.split()[0]), headers, content

    def json(self, method: str, target: str, body: bytes = b"", **environ: Any) -> Any:
        return json.loads(self.ask(method, target, body, **environ)[2])


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.mark.parametrize("path", ["/v2/things/mine", "/v2/things/mine/", "/v2/things/m%69ne"])
def test_a_fixed_path_is_preferred_to_a_parameter(browser: Browser, path: str) -> None:
    assert browser.json("GET", path) == {"identity": "the fixed one"}


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/v2/things/a", "a"),
        ("/v2/things/a/", "a"),
        ("/v2/things/my%20thing", "my thing"),
        ("/v2/things/a%2Fb", "a/b"),
        ("/v2/things/100%25", "100%"),
        ("/v2/things/%C3%A4", "ä"),
        ("/v2/things/a+b", "a+b"),
    ],
)
def test_a_parameter_arrives_decoded(browser: Browser, path: str, identity: str) -> None:
    assert browser.json("GET", path)["identity"] == identity


def test_every_value_of_a_query_parameter_arrives(browser: Browser) -> None:
    assert browser.json("GET", "/v2/things/a?tag=x&tag=y%20z&tag=")["tags"] == ["x", "y z", ""]
    assert browser.json("GET", "/v2/things/a")["tags"] is None


def test_a_text_body_and_its_type_reach_the_app(browser: Browser) -> None:
    answer = browser.json("PUT", "/v2/things/a", "version: '2.0' # ä".encode(), CONTENT_TYPE="text/plain")
    assert answer["body"] == "version: '2.0' # ä"
    assert answer["content_type"] == "text/plain"


def test_a_missing_content_type_is_left_missing(browser: Browser) -> None:
    answer = browser.json("PUT", "/v2/things/a", b"{}")
    assert (answer["body"], answer["content_type"]) == ("{}", None)


def test_an_odd_content_type_is_the_apps_matter(browser: Browser) -> None:
    status, _headers, body = browser.ask("PUT", "/v2/things/a", b"x", CONTENT_TYPE="image/gif")
    assert status == 415
    assert b"image/gif" in body


def test_bytes_that_are_no_text_reach_the_app_unchanged(browser: Browser) -> None:
    answer = browser.json("POST", "/v2/bytes", bytes(range(256)), CONTENT_TYPE="application/octet-stream")
    assert answer == {"length": 256}


def test_a_binary_answer_leaves_as_bytes(browser: Browser) -> None:
    status, headers, body = browser.ask("GET", "/picture", HTTP_ACCEPT="image/png")
    assert (status, body) == (200, b"\x89PNG\xff")
    assert ("Content-Length", "5") in headers


def test_headers_with_several_values_leave_one_by_one(browser: Browser) -> None:
    _status, headers, _body = browser.ask("GET", "/v2/cookies")
    assert [value for name, value in headers if name == "Set-Cookie"] == ["a=1", "b=2"]
    assert ("X-One", "1") in headers


def test_an_unknown_path_is_a_404_in_json(browser: Browser) -> None:
    status, headers, body = browser.ask("GET", "/nowhere")
    assert status == 404
    assert ("Content-Type", "application/json") in headers
    assert "/nowhere" in json.loads(body)["faultstring"]


def test_a_method_that_is_not_offered_is_a_405_with_those_that_are(browser: Browser) -> None:
    status, headers, body = browser.ask("DELETE", "/v2/things/a")
    assert status == 405
    assert ("Allow", "GET, PUT") in headers
    assert "DELETE" in json.loads(body)["faultstring"]


def test_a_body_beyond_the_bound_is_a_413_in_json(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUEST_BYTES_MAX", 10)
    status, _headers, body = browser.ask("PUT", "/v2/things/a", b"x" * 11)
    assert status == 413
    assert "10 bytes" in json.loads(body)["faultstring"]
    status, _headers, _body = browser.ask("PUT", "/v2/things/a", b"x" * 11, CONTENT_LENGTH="")
    assert status == 413
    assert browser.ask("PUT", "/v2/things/a", b"x" * 10)[0] == 200


def test_what_lambda_would_not_take_is_a_413(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LAMBDA_PAYLOAD_BYTES_MAX", 3000)
    assert browser.ask("PUT", "/v2/things/a", b"x" * 1000)[0] == 200
    status, _headers, body = browser.ask("PUT", "/v2/things/a", b'"' * 1500)  # each is two bytes of the event
    assert (status, "3000 bytes" in json.loads(body)["faultstring"]) == (413, True)


def test_what_lambda_would_not_give_out_is_a_502(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LAMBDA_PAYLOAD_BYTES_MAX", 3000)

    def answering(body: str) -> int:
        browser = Browser()
        browser._gateway = Gateway(lambda _event, _context: {"statusCode": 200, "body": body}, {"/v2": {"GET": None}})
        return browser.ask("GET", "/v2")[0]

    assert answering("x" * 2900) == 200
    assert answering('"' * 1500) == 502


def test_what_is_shared_is_given_out_without_the_app(browser: Browser) -> None:
    def shared(token: str) -> bytes:
        if token == "a-token":
            return b'{"a": 1}'
        raise NotFoundException("There is nothing here.")

    browser._gateway = Gateway(an_app(), {}, shared)
    status, headers, body = browser.ask("GET", "/shared/a-token")
    assert (status, body) == (200, b'{"a": 1}')
    assert ("Content-Type", "application/json") in headers
    assert browser.ask("GET", "/shared/another")[0] == 404
    assert browser.ask("PUT", "/shared/a-token")[0] == 404
    assert Browser().ask("GET", "/shared/a-token")[0] == 404


def test_head_has_the_headers_of_get_and_no_body(browser: Browser) -> None:
    status, headers, body = browser.ask("HEAD", "/v2/things/a")
    assert (status, body) == (200, b"")
    assert ("Content-Type", "application/json") in headers


def test_a_redirect_is_the_apps_matter(browser: Browser) -> None:
    status, headers, _body = browser.ask("GET", "/v2")
    assert (status, ("Location", "/v2/") in headers) == (302, True)


def test_an_app_that_breaks_is_a_500_in_json() -> None:
    def broken(_event: Any, _context: Any) -> Any:
        raise RuntimeError("secret detail")

    browser = Browser()
    browser._gateway = Gateway(broken, {"/v2": {"GET": None}})
    status, _headers, body = browser.ask("GET", "/v2")
    assert status == 500
    assert b"secret" not in body
    assert json.loads(body)["faultcode"] == "Server"


def test_requests_at_the_same_time_do_not_see_each_other(browser: Browser) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda number: browser.json("GET", f"/v2/together/{number}"), range(THREADS)))
    assert answers == [{"mine": True}] * THREADS


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", Match("/", None)),
        ("/a/b", Match("/a/b", None)),
        ("/a/x", Match("/a/{one}", {"one": "x"})),
        ("/a/x/c", Match("/a/{one}/c", {"one": "x"})),
        ("/a/x/d/e", Match("/a/{rest+}", {"rest": "x/d/e"})),
        ("/a.b", Match("/a.b", None)),
        ("/axb", None),
        ("/a/", None),
    ],
)
def test_the_resource_whose_fixed_parts_reach_furthest_answers(path: str, expected: Match | None) -> None:
    router = Router(["/", "/a/{rest+}", "/a/{one}", "/a/{one}/c", "/a/b", "/a.b"])
    assert router.match(path) == expected
