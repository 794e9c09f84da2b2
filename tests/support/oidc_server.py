"""A small issuer of tokens: discovery, its public keys, and tokens as a test wants them, over a real socket."""

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

AUDIENCE = "espalier"


class OidcServer:
    """Runs between `start` and `stop`. `asked` are the paths that were fetched. While `is_silent` connections are taken
    and get no answer; while `is_slow`, an answer whose first header has no end, a byte now and then.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_silent = self.is_slow = False
        self.documents: dict[str, Any] = {}  # in place of the real ones, by path
        self.keys = [RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> "OidcServer":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rotate(self, kid: str) -> None:
        """Sign with another key from now on; the old one is withdrawn."""
        self.keys = [ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})]

    def token(
        self, key: Any = None, alg: str | None = None, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token that is good for five minutes unless the claims say otherwise; None takes a claim out."""
        key = key or self.keys[0]
        alg = alg or ("RS256" if isinstance(key, RSAKey) else "ES256")
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "somebody", "iat": now, "exp": now + 300}
        said = {name: value for name, value in (good | claims).items() if value is not None}
        return jwt.encode({"alg": alg, "kid": key.kid} | (header or {}), said, key, algorithms=[alg])

    def _document(self, path: str) -> Any:
        if path in self.documents:
            return self.documents[path]
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        if path == "/keys":
            return {"keys": [key.as_dict(private=False) for key in self.keys]}
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                if issuer.is_silent or issuer.is_slow:
                    self._dawdle()
                    return
                found = issuer._document(self.path)
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _dawdle(self) -> None:
                with suppress(OSError):  # whoever asked has left
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: " if issuer.is_slow else b"")
                    while issuer.is_silent or issuer.is_slow:
                        self.wfile.write(b"x" if issuer.is_slow else b"")
                        time.sleep(0.02)

            def log_message(self, *_: Any) -> None:
                """Not on the test's terminal."""

        return Handler
