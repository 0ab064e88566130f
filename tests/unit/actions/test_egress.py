"""The egress policy judges the address, whatever the URL makes of it."""

from __future__ import annotations

import socket

import pytest

from chalicelib.actions.egress import DEFAULT_DENIED_NETWORKS, PRIVATE_NETWORKS, EgressPolicy
from chalicelib.errors import UrlNotAllowedException

POLICY = EgressPolicy()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://0.0.0.0/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[64:ff9b:1::a9fe:a9fe]/",
        "http://[::ffff:0:169.254.169.254]/",
        "http://[::169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[2001:0:a9fe:a9fe::1]/",
        "http://0xa9fea9fe/",
        "http://0xA9.0xFE.0xA9.0xFE/",
        "http://0251.0376.0251.0376/",
        "http://169.16689662/",
        "http://169.254.170.2/v2/credentials/",
        "http://example.org@169.254.169.254/",
        "http://example.org:80@169.254.169.254:80/",
        "http://169.254.169.254#@example.org/",
        "http://169.254.169.254?@example.org/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://localhost/",
        "http://LOCALHOST:8080/",
        "https://user:password@127.0.0.1/",
    ],
)
def test_hosts_of_this_machine_and_of_the_metadata_service_are_denied(url):
    with pytest.raises(UrlNotAllowedException, match="blocked address"):
        POLICY.check_url(url)


@pytest.mark.parametrize("url", ["ftp://example.org/", "file:///etc/passwd", "gopher://x/", "//example.org/", "x"])
def test_only_http_is_spoken(url):
    with pytest.raises(UrlNotAllowedException, match=r"URL scheme '.*' is not allowed \(only http and https are\)\."):
        POLICY.check_url(url)


@pytest.mark.parametrize("url", ["http:///path", "http://", "https://:80/"])
def test_a_host_is_needed(url):
    with pytest.raises(UrlNotAllowedException, match="does not contain a host"):
        POLICY.check_url(url)


@pytest.mark.parametrize("url", ["http://[::1/", "http://example.org:99999/"])
def test_a_broken_url_is_refused(url):
    with pytest.raises(UrlNotAllowedException, match="cannot be read"):
        POLICY.check_url(url)


def test_any_denied_address_of_a_name_denies_the_name(monkeypatch):
    def resolve(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("93.184.216.34", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(UrlNotAllowedException, match=r"'evil\.example' resolves to a blocked address \(127\.0\.0\.1\)"):
        POLICY.check_url("http://evil.example/")


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "127.0.0.1"])
def test_a_connection_to_a_name_goes_by_its_address(monkeypatch, address):
    def resolve(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(UrlNotAllowedException, match=r"'metadata\.example' resolves to a blocked address"):
        POLICY.connect("metadata.example", 25, timeout_sec=1)


def test_a_connection_is_made_to_the_first_address_that_answers(monkeypatch):
    real = socket.getaddrinfo

    def resolve(host, port, *args, **options):
        if host != "many.example":
            return real(host, port, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with EgressPolicy(denied_networks=()).connect("many.example", port, timeout_sec=5) as connection:
            assert connection.getpeername() == ("127.0.0.1", port)
    with pytest.raises(OSError, match="refused"):
        EgressPolicy(denied_networks=()).connect("many.example", port, timeout_sec=5)


def test_a_name_that_does_not_resolve_passes_the_check(monkeypatch):
    def resolve(host, port, **_):
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    POLICY.check_url("http://nowhere.example/")


def test_public_addresses_pass():
    POLICY.check_url("https://93.184.216.34/")
    POLICY.check_url("https://[2606:2800:220:1:248:1893:25c8:1946]:8443/x")
    POLICY.check_url("http://10.1.2.3/")


def test_private_networks_are_denied_by_choice():
    policy = EgressPolicy(denied_networks=DEFAULT_DENIED_NETWORKS + PRIVATE_NETWORKS)
    for host in ("10.1.2.3", "192.168.0.1", "172.31.0.1", "[fd12::1]", "[::ffff:10.0.0.1]"):
        with pytest.raises(UrlNotAllowedException, match="blocked address"):
            policy.check_url(f"http://{host}/")


def test_an_allow_list_is_complete_and_ignores_case_and_a_final_dot():
    policy = EgressPolicy(denied_networks=(), allowed_hosts=frozenset({"localhost", "API.example.org"}))
    policy.check_url("http://LocalHost./")
    policy.check_host("https", "api.example.ORG")
    with pytest.raises(UrlNotAllowedException, match=r"Host '127\.0\.0\.1' is not in the list of allowed hosts"):
        policy.check_url("http://127.0.0.1/")
    with pytest.raises(UrlNotAllowedException, match="not in the list"):
        EgressPolicy(allowed_hosts=frozenset()).check_url("http://example.org/")
