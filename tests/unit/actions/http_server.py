"""A real HTTP server on 127.0.0.1 for tests: it answers by path and remembers what it was asked."""

from __future__ import annotations

import datetime
import gzip
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int


@dataclass
class Server:
    """The running server."""

    url: str
    port: int
    received: list[Received] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def http_server(certificate: Path | None = None) -> Iterator[Server]:
    """Serve until the block ends; over TLS with a certificate (a PEM file that holds its key, too)."""
    with _Service(("127.0.0.1", 0), _Handler) as service:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            service.socket = context.wrap_socket(service.socket, server_side=True)
        port = service.server_address[1]
        state = Server(f"http://127.0.0.1:{port}", port)
        service.state = state  # type: ignore[attr-defined]
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield state
        finally:
            state.released.set()
            service.shutdown()
            thread.join()


def self_signed_certificate(name: str, folder: Path) -> Path:
    """Make a certificate for a host name, and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


class _Service(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that leaves is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        parts = urlsplit(self.path)
        state: Server = self.server.state  # type: ignore[attr-defined]
        received = Received(
            self.command, self.path, dict(self.headers.items()), self.rfile.read(length), self.client_address[1]
        )
        state.received.append(received)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        answer = getattr(self, f"_{parts.path.strip('/').split('/')[0]}", None)
        if answer is None:
            self._answer(404, b'{"lost": true}')
        else:
            answer(query, state)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _serve

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def _answer(self, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if "Transfer_Encoding" not in headers:
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _echo(self, query: dict[str, str], state: Server) -> None:
        seen = state.received[-1]
        value = {"method": seen.method, "query": query, "headers": seen.headers, "body": seen.body.decode("latin-1")}
        self._answer(200, json.dumps(value).encode())

    def _status(self, query: dict[str, str], _: Server) -> None:
        self._answer(int(query["is"]), b'{"a": [1]}', X_Extra="Yes")

    def _redirect(self, query: dict[str, str], _: Server) -> None:
        self._answer(int(query.get("is", 302)), b"gone", Location=query["to"], Set_Cookie="hop=1; Path=/")

    def _loop(self, _: dict[str, str], __: Server) -> None:
        self._answer(302, b"", Location="/loop")

    def _cookie(self, _: dict[str, str], __: Server) -> None:
        self._answer(200, b"{}", Set_Cookie="session=secret; Path=/")

    def _text(self, query: dict[str, str], _: Server) -> None:
        self._answer(200, bytes.fromhex(query["hex"]), query.get("type", "text/plain; charset=utf-8"))

    def _mirror(self, _: dict[str, str], state: Server) -> None:
        self._answer(200, state.received[-1].body)

    def _large(self, query: dict[str, str], _: Server) -> None:
        self._answer(int(query.get("is", 200)), b"x" * int(query["size"]), "text/plain")

    def _bomb(self, query: dict[str, str], _: Server) -> None:
        self._answer(200, gzip.compress(b"0" * int(query["size"])), "text/plain", Content_Encoding="gzip")

    def _endless(self, _: dict[str, str], state: Server) -> None:
        """Send chunks until the other side leaves."""
        self._answer(200, b"", "text/plain", Transfer_Encoding="chunked")
        try:
            while not state.released.is_set():
                self.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        except OSError:
            self.close_connection = True

    def _silent(self, _: dict[str, str], state: Server) -> None:
        state.released.wait(30)
        self.close_connection = True

    def _drip(self, _: dict[str, str], state: Server) -> None:
        """Send a byte now and then, so that no single read ever times out."""
        self._answer(200, b"", "text/plain", Transfer_Encoding="chunked")
        try:
            while not state.released.wait(0.02):
                self.wfile.write(b"1\r\nx\r\n")
        except OSError:
            self.close_connection = True
