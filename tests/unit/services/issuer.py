"""An issuer of tokens: keys of its own, and a small web server on this machine that publishes them."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "mistral"
# Making one takes a while; no test needs it to be a secret.
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def public(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """The public half of a key, as issuers publish it."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **more}


class Issuer:
    """An issuer at an address; what it publishes, and how often it was asked, can be looked at and changed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = [public(RSA_KEY, "one")]
        self.documents: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []

    def answer(self, path: str) -> tuple[int, bytes]:
        """What is at a path."""
        self.asked.append(path)
        if path in self.documents:
            return self.documents[path]
        realm, found, _ = path.partition("/.well-known/openid-configuration")
        if found:
            told = {"issuer": self.url + realm, "jwks_uri": f"{self.url}{realm}/keys"}
            return 200, json.dumps(told).encode()
        if path.endswith("/keys"):
            return 200, json.dumps({"keys": self.keys}).encode()
        return 404, b"{}"

    def token(self, key: Any = RSA_KEY, kid: str | None = "one", algorithm: str = "RS256", **claims: Any) -> str:
        """A token that is fine, but for what is said; a claim that is ``None`` is left out."""
        now = int(time.time())
        told = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 300, "project_id": "alpha"}
        values = {name: value for name, value in {**told, **claims}.items() if value is not None}
        return jwt.encode(values, key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


@contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer that answers on 127.0.0.1 while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = issuer.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", "/keys")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
