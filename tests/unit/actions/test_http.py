"""``std.http`` and ``std.mistral_http`` against a real server."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from chalicelib.actions.egress import EgressPolicy, networks
from chalicelib.actions.registry import ActionContext, Registry, perform
from chalicelib.errors import ActionConstructionError
from chalicelib.limits import HTTP_RESPONSE_BYTES_MAX
from chalicelib.vocabulary import Json, Result
from tests.unit.actions.calling import HANGS_SEC
from tests.unit.actions.http_server import http_server, self_signed_certificate

REGISTRY = Registry()
OPEN = EgressPolicy(denied_networks=())
LOCAL = ActionContext(egress=OPEN, action_execution_id="an-id")


def call(name: str = "std.http", context: ActionContext = LOCAL, **input: Json) -> Result:
    action = REGISTRY.find(name)
    assert action is not None
    return perform(action, input, context)


def test_a_result_has_the_fields_of_mistral(server):
    result = call(url=f"{server.url}/status?is=200")
    assert result.error is None
    assert result.data.keys() == {
        "content", "status", "headers", "url", "history", "encoding", "reason", "cookies", "elapsed",
    }  # fmt: skip
    assert result.data["content"] == {"a": [1]}
    assert result.data["status"] == 200
    assert result.data["headers"]["X-Extra"] == "Yes"
    assert result.data["url"] == f"{server.url}/status?is=200"
    assert result.data["history"] == []
    assert result.data["reason"] == "OK"
    assert isinstance(result.data["elapsed"], float)


@pytest.mark.parametrize("status", [200, 201, 204, 226, 301, 302, 304, 306])
def test_statuses_up_to_306_are_success(server, status):
    assert call(url=f"{server.url}/status?is={status}").data["status"] == status


@pytest.mark.parametrize("status", [307, 308, 400, 404, 500, 503])
def test_other_statuses_are_errors_of_the_same_shape(server, status):
    result = call(url=f"{server.url}/status?is={status}")
    assert result.data is None
    assert result.error["status"] == status
    assert result.error["content"] == {"a": [1]}


def test_a_body_object_is_sent_as_json_without_a_content_type(server):
    seen = call(url=f"{server.url}/echo", method="POST", body={"a": 1}).data["content"]
    assert seen["method"] == "POST"
    assert seen["body"] == '{"a": 1}'
    assert "Content-Type" not in seen["headers"]


def test_a_body_text_is_passed_through(server):
    assert call(url=f"{server.url}/echo", method="PUT", body="plain").data["content"]["body"] == "plain"


def test_json_is_sent_with_its_content_type(server):
    seen = call(url=f"{server.url}/echo", method="POST", json=[1, "x"]).data["content"]
    assert seen["headers"]["Content-Type"] == "application/json"
    assert seen["body"] == '[1, "x"]'


def test_params_headers_and_cookies_are_sent_and_numbers_become_text(server):
    seen = call(
        url=f"{server.url}/echo", params={"q": "a b"}, headers={"X-Number": 5, "X-Flag": True}, cookies={"c": "1"}
    ).data["content"]
    assert seen["query"] == {"q": "a b"}
    assert seen["headers"]["X-Number"] == "5"
    assert seen["headers"]["X-Flag"] == "True"
    assert seen["headers"]["Cookie"] == "c=1"


def test_the_input_is_not_changed(server):
    headers = {"X-Number": 5}
    call("std.mistral_http", url=f"{server.url}/echo", headers=headers)
    assert headers == {"X-Number": 5}


def test_auth_text_with_one_colon_is_basic(server):
    seen = call(url=f"{server.url}/echo", auth="user:pass").data["content"]
    assert seen["headers"]["Authorization"] == "Basic dXNlcjpwYXNz"


def test_other_auth_text_fails_the_request(server):
    assert "Failed to send HTTP request: 'str' object is not callable" in call(url=f"{server.url}/echo", auth="t").error


@pytest.mark.parametrize("auth", [["user", "pass"], {"user": "x"}])
def test_auth_that_is_no_text_cannot_be_constructed(auth):
    action = REGISTRY.find("std.http")
    assert action is not None
    with pytest.raises(ActionConstructionError, match="auth must be text"):
        action.check_values({"url": "http://x/", "auth": auth})


def test_body_and_json_together_cannot_be_constructed():
    action = REGISTRY.find("std.mistral_http")
    assert action is not None
    with pytest.raises(ActionConstructionError, match="Only one of the parameters 'json' and 'body' can be passed"):
        action.check_values({"url": "http://x/", "body": {"a": 1}, "json": {"a": 1}})
    action.check_values({"url": "http://x/", "body": {}, "json": {"a": 1}})


def test_nothing_is_remembered_between_calls_but_the_connection(server):
    assert call(url=f"{server.url}/cookie").data["cookies"] == {"session": "secret"}
    seen = call(url=f"{server.url}/echo").data["content"]
    assert "Cookie" not in seen["headers"]
    first, second = server.received
    assert first.port == second.port


def test_redirects_are_not_followed_by_default(server):
    result = call(url=f"{server.url}/redirect?to=/echo", method="GET")
    assert result.data["status"] == 302
    assert len(server.received) == 1


def test_redirects_are_followed_when_asked_for(server):
    result = call(url=f"{server.url}/redirect?to=/echo", allow_redirects=True, auth="user:pass")
    assert result.data["url"] == f"{server.url}/echo"
    assert [step["status"] for step in result.data["history"]] == [302]
    assert result.data["content"]["headers"]["Cookie"] == "hop=1"


def test_tokens_do_not_follow_a_redirect_to_another_host(server):
    tokens = {"X-Auth-Token": "t-1", "x-subject-token": "t-2", "Authorization": "Bearer t-3", "X-Kept": "yes"}
    there = f"http://localhost:{server.port}/echo"
    result = call(url=f"{server.url}/redirect?to={there}", allow_redirects=True, headers=tokens)
    sent = {name.lower(): value for name, value in result.data["content"]["headers"].items()}
    assert result.data["url"] == there
    assert sent["x-kept"] == "yes"
    assert not {"x-auth-token", "x-subject-token", "authorization"} & set(sent)


def test_tokens_follow_a_redirect_within_their_host(server):
    result = call(url=f"{server.url}/redirect?to=/echo", allow_redirects=True, headers={"X-Auth-Token": "t-1"})
    assert result.data["content"]["headers"]["X-Auth-Token"] == "t-1"


def test_an_endless_chain_of_redirects_ends(server):
    assert "Exceeded 30 redirects" in call(url=f"{server.url}/loop", allow_redirects=True).error
    assert len(server.received) == 31


@pytest.mark.parametrize(
    ("body", "content_type", "content"),
    [
        (b"plain", "text/plain; charset=utf-8", "plain"),
        (b"\xe4", "text/plain; charset=latin-1", "ä"),
        ("ä".encode(), "application/octet-stream", "ä"),
        (b"\xff\xfe\x00", "application/octet-stream", {"base64": "//4A"}),
        (b"\xff", "text/plain; charset=utf-8", {"base64": "/w=="}),
        (b"x", "text/plain; charset=no-such-code", "x"),
        (b"[1, 2]", "text/html", [1, 2]),
        (b"NaN", "application/json", "NaN"),
        (b"", "text/plain; charset=utf-8", ""),
    ],
)
def test_content_is_json_where_it_parses_and_text_where_it_does_not(server, body, content_type, content):
    params = {"hex": body.hex(), "type": content_type}
    assert call(url=f"{server.url}/text", params=params).data["content"] == content


def test_json_nested_beyond_all_measure_stays_text(server):
    body = "[" * 100_000
    assert call(url=f"{server.url}/mirror", method="POST", body=body).data["content"] == body


def test_a_response_with_a_large_declared_length_is_refused(server):
    size = HTTP_RESPONSE_BYTES_MAX + 1
    error = call(url=f"{server.url}/large?size={size}").error
    assert f"HTTP response is too large (Content-Length={size}, limit={HTTP_RESPONSE_BYTES_MAX} bytes)." in error


def test_a_response_of_the_permitted_length_is_read_whole(server):
    content = call(url=f"{server.url}/large?size={HTTP_RESPONSE_BYTES_MAX}").data["content"]
    assert len(content) == HTTP_RESPONSE_BYTES_MAX


@pytest.mark.parametrize("path", ["/endless", "/bomb?size=50000000"])
def test_a_response_of_undeclared_length_is_bounded_too(server, path):
    assert f"HTTP response is too large (limit={HTTP_RESPONSE_BYTES_MAX} bytes)." in call(url=server.url + path).error


def test_the_body_of_a_redirect_is_bounded_too(server):
    error = call(url=f"{server.url}/large?is=302&size={HTTP_RESPONSE_BYTES_MAX + 1}", allow_redirects=True).error
    assert "too large" in error


def test_a_silent_server_times_out(server):
    assert "Failed to send HTTP request: " in call(url=f"{server.url}/silent", timeout=0.05).error


def test_a_timeout_of_zero_is_an_error(server):
    assert "Failed to send HTTP request: " in call(url=f"{server.url}/echo", timeout=0).error


def test_the_deadline_of_the_action_ends_a_request_that_never_falls_silent(server):
    before = time.monotonic()
    error = call(url=f"{server.url}/drip", context=ActionContext(egress=OPEN, deadline_sec=0.2)).error
    assert "the time of the action is over" in error
    assert time.monotonic() - before < HANGS_SEC


def test_a_refused_connection_is_an_error_in_text():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = call(url=f"http://127.0.0.1:{port}/").error
    assert error.startswith("The action raised an exception [action=std.http, action_ex_id=an-id, msg='Failed to send ")
    assert "Connection refused" in error


def test_an_unknown_host_is_an_error_in_text(monkeypatch):
    def resolve(*_: Json, **__: Json) -> Json:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert "Failed to send HTTP request: " in call(url="http://nowhere.example/", context=ActionContext()).error


@pytest.mark.parametrize("url", [None, 5, "", "no-url", ["x"], "http://"])
def test_a_url_that_is_none_is_an_error_in_text(url):
    assert call(url=url).error.startswith("The action raised an exception")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0177.1", "0.0.0.0"]
)
def test_the_default_policy_keeps_requests_away_from_this_machine(server, host):
    error = call(url=f"http://{host}:{server.port}/echo", context=ActionContext()).error
    assert "resolves to a blocked address" in error
    assert "Failed to send" not in error
    assert server.received == []


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "127.0.0.1"])
def test_a_name_that_leads_to_a_denied_address_is_refused(monkeypatch, address):
    real = socket.getaddrinfo

    def resolve(host, port, *args, **options):
        return real(address if host == "innocent.example" else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = call(url="http://innocent.example/latest/meta-data/", context=ActionContext()).error
    assert f"'innocent.example' resolves to a blocked address ({address})" in error


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.216.34@127.0.0.1:{port}/echo",
        "http://93.184.216.34:80@127.0.0.1:{port}/echo",
        "http://127.0.0.1:{port}#@93.184.216.34/",
        "http://127.0.0.1:{port}?@93.184.216.34/",
        "http://127.0.0.1:{port}\\@93.184.216.34/",
        "http://93.184.216.34\\@127.0.0.1:{port}/echo",
        "http://127.0.0.1%00.example.org:{port}/",
        "http://127。0。0。1:{port}/echo",
        "http://⑯⑨。②⑤④。⑯⑨。②⑤④/",
        " http://127.0.0.1:{port}/echo",
        "HTTP://0x7F000001:{port}/echo",
        "http://[::ffff:127.0.0.1%25lo]:{port}/echo",
    ],
)
def test_no_spelling_of_a_url_gets_past_the_policy(server, monkeypatch, url):
    """Whatever a parser makes of it: nothing reaches this machine, and nothing else is connected to."""
    reached: list[str] = []

    def connect(address, *_, **__):
        reached.append(address[0])
        raise OSError("not from here")

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    assert call(url=url.format(port=server.port), context=ActionContext()).error is not None
    assert set(reached) <= {"93.184.216.34"}
    assert server.received == []


@pytest.mark.parametrize("target", ["2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "user@127.0.0.1", "0"])
def test_a_redirect_is_judged_however_its_target_is_spelt(server, target):
    """Only the first host is let through, whatever its address."""
    real = EgressPolicy.checked_addresses

    class FirstIsFine(EgressPolicy):
        def checked_addresses(self, host: str, port: int) -> tuple[str, ...]:
            return ("127.0.0.1",) if host == "first.example" else real(self, host, port)

    policy = FirstIsFine()
    url = f"http://first.example:{server.port}/redirect?to=http://{target}:{server.port}/echo"
    error = call(url=url, allow_redirects=True, context=ActionContext(egress=policy)).error
    assert "resolves to a blocked address" in error
    assert len(server.received) == 1


def test_a_redirect_to_a_denied_address_is_refused(server):
    """The first host is allowed by its own address, the redirect names another address of the same machine."""
    policy = EgressPolicy(denied_networks=networks(["127.0.0.2/32"]))
    url = f"{server.url}/redirect?to=http://127.0.0.2:{server.port}/echo"
    error = call(url=url, allow_redirects=True, context=ActionContext(egress=policy)).error
    assert "resolves to a blocked address (127.0.0.2)" in error
    assert len(server.received) == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/"])
def test_a_redirect_to_another_scheme_is_refused(server, target):
    error = call(url=f"{server.url}/redirect?to={target}", allow_redirects=True).error
    assert "is not allowed (only http and https are)" in error


def test_a_name_that_changes_its_address_after_the_check_is_not_connected_to(server, monkeypatch):
    real = socket.getaddrinfo
    answers = iter(["127.0.0.1", "127.0.0.2"])

    def resolve(host, port, *args, **options):
        return real(next(answers) if host == "rebind.example" else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    policy = EgressPolicy(denied_networks=networks(["127.0.0.2/32"]))
    url = f"http://rebind.example:{server.port}/echo"
    policy.check_url(url)
    error = call(url=url, context=ActionContext(egress=policy)).error
    assert "resolves to a blocked address (127.0.0.2)" in error
    assert server.received == []


def test_a_connection_is_made_to_the_address_that_was_checked(server, monkeypatch):
    real = socket.getaddrinfo
    asked = []

    def resolve(host, port, *args, **options):
        asked.append(host)
        return real("127.0.0.1" if host == "once.example" else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    policy = EgressPolicy(denied_networks=networks(["10.0.0.0/8"]))
    result = call(url=f"http://once.example:{server.port}/echo", context=ActionContext(egress=policy))
    assert result.data["content"]["headers"]["Host"] == f"once.example:{server.port}"
    assert asked.count("once.example") == 1


def test_a_proxy_obeys_the_policy_and_so_does_what_is_behind_it(server):
    proxies = {"http": f"http://127.0.0.1:{server.port}"}
    allowed_proxy = ActionContext(egress=EgressPolicy(denied_networks=networks(["127.0.0.2/32"])))
    assert "127.0.0.2" in call(url="http://127.0.0.2/", proxies=proxies, context=allowed_proxy).error
    assert "127.0.0.1" in call(url="http://93.184.216.34/", proxies=proxies, context=ActionContext()).error
    assert "scheme 'socks5' is not allowed" in call(url=f"{server.url}/", proxies={"http": "socks5://127.0.0.1"}).error
    assert server.received == []
    assert call(url="http://93.184.216.34/echo", proxies=proxies).data["status"] == 200
    assert server.received[0].path == "http://93.184.216.34/echo"


def test_the_environments_proxies_are_not_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert call(url=f"{server.url}/echo").data["status"] == 200


def test_many_threads_share_the_connections_safely(server):
    results: list[Result] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(call(url=f"{server.url}/echo?n={n}"))) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(result.data["content"]["query"]["n"]) for result in results) == list(range(20))


def test_mistral_http_tells_who_is_calling_and_waits(server):
    context = ActionContext(
        egress=OPEN,
        workflow_name="wf",
        workflow_execution_id="wf-id",
        task_execution_id="task-id",
        action_execution_id="action-id",
        callback_url="/v2/action_executions/action-id",
    )
    call("std.mistral_http", context, url=f"{server.url}/echo", headers={"Mistral-Task-Id": "forged", "X-Own": 1})
    headers = server.received[0].headers
    assert headers["Mistral-Workflow-Name"] == "wf"
    assert headers["Mistral-Workflow-Execution-Id"] == "wf-id"
    assert headers["Mistral-Task-Id"] == "task-id"
    assert headers["Mistral-Action-Execution-Id"] == "action-id"
    assert headers["Mistral-Callback-URL"] == "/v2/action_executions/action-id"
    assert headers["X-Own"] == "1"
    action = REGISTRY.find("std.mistral_http")
    assert action is not None
    assert not action.is_sync


def test_mistral_http_outside_an_execution_leaves_its_headers_out(server):
    call("std.mistral_http", url=f"{server.url}/echo")
    assert "Mistral-Task-Id" not in server.received[0].headers
    assert call("std.mistral_http", url=f"{server.url}/status?is=500").error["status"] == 500


def test_the_signature_is_that_of_mistral():
    for name in ("std.http", "std.mistral_http"):
        action = REGISTRY.find(name)
        assert action is not None
        assert action.signature_text == (
            'url, method="GET", params=null, body=null, json=null, headers=null, cookies=null, auth=null, '
            "timeout=null, allow_redirects=null, proxies=null, verify=null"
        )


def test_a_connection_that_idled_too_long_is_not_used_again(server, monkeypatch):
    monkeypatch.setattr("chalicelib.actions.http_transport.HTTP_IDLE_CONNECTION_MAX_SEC", 0)
    call(url=f"{server.url}/echo")
    call(url=f"{server.url}/echo")
    first, second = server.received
    assert first.port != second.port


def test_certificates_are_checked_against_the_name_although_the_address_is_pinned(tmp_path, monkeypatch):
    certificate = self_signed_certificate("secure.example", tmp_path)
    real = socket.getaddrinfo

    def resolve(host, port, *args, **options):
        return real("127.0.0.1" if host.endswith(".example") else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with http_server(certificate) as secure:
        url = f"https://secure.example:{secure.port}/echo"
        trusted = call(url=url, verify=str(certificate))
        assert trusted.data["content"]["headers"]["Host"] == f"secure.example:{secure.port}"
        assert "certificate verify failed" in call(url=url).error
        other_name = url.replace("secure.", "other.")
        assert "not valid for 'other.example'" in call(url=other_name, verify=str(certificate)).error
        assert len(secure.received) == 1
