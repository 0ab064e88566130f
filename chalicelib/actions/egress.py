"""Where actions may connect to: the egress policy of ``std.http``, mail, SSH and whatever else calls what a user wrote.

The law: what counts is the address that a connection is really made to. ``check_url`` gives an early, clear refusal;
the HTTP transport asks ``checked_addresses`` when it opens a socket and connects to one of the addresses it got from
there, so that a name which resolves differently the next time gains nothing. ``connect`` does the same for what does
not speak HTTP.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from chalicelib.data import dataclass
from chalicelib.errors import MistralError, UrlNotAllowedException

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Networks whose addresses end with an IPv4 address: NAT64's (for all, and for one site), SIIT's, and the ancient
# "compatible" form.
_EMBEDDING: Final = tuple(
    ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")
)
_SCHEMES: Final = ("http", "https")
_ADDRESSES_TRIED_MAX: Final = 4


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """CIDR texts as networks. Raises ``ValueError`` for a text that is none."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


# Loopback, link-local (which holds the cloud's metadata services), and what Linux takes for "this host".
DEFAULT_DENIED_NETWORKS: Final = networks(
    ("127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "0.0.0.0/8", "::/128")
)
# For installations that must also keep workflows away from their own network.
PRIVATE_NETWORKS: Final = networks(("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Which hosts and networks outgoing requests may reach.

    ``allowed_hosts``, when not ``None``, is the complete list of host names that may be called; the networks are
    denied in any case.
    """

    denied_networks: tuple[Network, ...] = DEFAULT_DENIED_NETWORKS
    allowed_hosts: frozenset[str] | None = None

    def check_url(self, url: str) -> None:
        """Raise ``UrlNotAllowedException`` unless the URL may be called.

        A host that does not resolve passes: the request to it fails by itself.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UrlNotAllowedException(f"URL cannot be read: {error}.") from error
        self.check_host(parts.scheme, host)
        assert host is not None
        try:
            self.checked_addresses(host, port or 0)
        except (OSError, UnicodeError):
            return

    def check_host(self, scheme: str | None, host: str | None) -> None:
        """Raise ``UrlNotAllowedException`` for a scheme other than http(s), no host, or a host not on the list."""
        if (scheme or "").lower() not in _SCHEMES:
            raise UrlNotAllowedException(f"URL scheme '{scheme or ''}' is not allowed (only http and https are).")
        if not host:
            raise UrlNotAllowedException("URL does not contain a host.")
        self.check_name(host)

    def check_name(self, host: str) -> None:
        """Raise ``UrlNotAllowedException`` for a host that is not on the list of allowed hosts, if there is one."""
        allowed = self.allowed_hosts
        if allowed is not None and _plain_host(host) not in {_plain_host(name) for name in allowed}:
            raise UrlNotAllowedException(f"Host '{host}' is not in the list of allowed hosts.")

    def checked_addresses(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of a host, all of them permitted.

        Raises ``UrlNotAllowedException`` when any is denied, ``socket.gaierror`` when the host does not resolve.
        """
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        addresses = tuple(dict.fromkeys(str(info[4][0]) for info in found))
        for address in addresses:
            if self.denies(address):
                raise UrlNotAllowedException(f"URL host '{host}' resolves to a blocked address ({address}).")
        return addresses

    def connect(self, host: str, port: int, *, timeout_sec: float) -> socket.socket:
        """A connection to a host by TCP, made to an address that was checked.

        Raises ``UrlNotAllowedException``, and ``OSError`` when no permitted address answers in time.
        """
        self.check_name(host)
        ends_at = time.monotonic() + timeout_sec
        failure: OSError = OSError(f"{host} has no address")
        for address in self.checked_addresses(host, port)[:_ADDRESSES_TRIED_MAX]:
            try:
                return socket.create_connection((address, port), timeout=max(ends_at - time.monotonic(), 0.001))
            except OSError as error:
                failure = error
        raise failure

    def denies(self, address: str) -> bool:
        """Whether an IP address, or an IPv4 address embedded in it, lies in a denied network."""
        return any(
            candidate in network
            for candidate in _faces(ipaddress.ip_address(address))
            for network in self.denied_networks
            if candidate.version == network.version
        )


def _plain_host(host: str) -> str:
    return host.lower().rstrip(".").strip("[]")


def _faces(address: Address) -> tuple[Address, ...]:
    """The address and every IPv4 address that a router or the kernel may make of it."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    faces: list[Address] = [address]
    if address.ipv4_mapped is not None:
        faces.append(address.ipv4_mapped)
    if address.sixtofour is not None:
        faces.append(address.sixtofour)
    if address.teredo is not None:
        faces.extend(address.teredo)
    if any(address in network for network in _EMBEDDING):
        faces.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(faces)


def policy_from(denied: Iterable[str], hosts: frozenset[str], *, is_local: bool) -> EgressPolicy:
    """The policy of an installation by its settings; a local service may call this machine.

    Raises ``MistralError`` for a network that is none.
    """
    all_denied = () if is_local else DEFAULT_DENIED_NETWORKS
    for text in denied:
        try:
            all_denied += PRIVATE_NETWORKS if text == "private" else networks([text])
        except ValueError as error:
            raise MistralError(f"MISTRAL_EGRESS_DENIED lists networks, and the word private: {error}") from error
    return EgressPolicy(all_denied, hosts or None)
