"""A load balancer as small as can be: each request goes to one of the replicas that say that they are ready, in turn.

It asks every replica's /readyz each `LOOK` seconds. A request that finds no answer (nobody listens, a connection that
is cut), or a 502, 503 or 504, is sent once more to another replica that is ready, as nginx does with
`proxy_next_upstream error http_502 http_503 http_504` and Envoy with `retry_on: connect-failure,reset,gateway-error`:
a prediction changes nothing, so it may be asked twice. What changes something is not repeated.
"""

import itertools
import threading
from collections.abc import Callable, Sequence

import httpx

from service.client import Client

LOOK = 0.5  # seconds between looks at a replica
ANSWER = 1.0  # seconds that /readyz may take
SAFE = ("/predict", "/embed")  # POST that changes nothing
ELSEWHERE = (502, 503, 504)


class Balancer(httpx.BaseTransport):
    """A transport of httpx; its requests are for no replica in particular."""

    def __init__(self, ports: Callable[[], Sequence[int]], timeout: float = 60.0) -> None:
        self._ports, self._turn = ports, itertools.count()
        self._ready: list[int] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._inner = httpx.HTTPTransport(limits=httpx.Limits(max_connections=200, max_keepalive_connections=50))
        self._looker: threading.Thread | None = None
        self.client = Client("http://balancer", timeout=timeout)
        self.client._http.close()
        self.client._http = httpx.Client(base_url="http://127.0.0.1", transport=self, timeout=timeout)
        self.again = 0  # requests that were sent once more

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises what httpx does where no replica answers."""
        self._begin()
        safe = request.method in ("GET", "HEAD") or request.url.path in SAFE
        request.read()
        first, *others = self._in_turn()
        try:
            answer = self._send(first, request)
        except httpx.TransportError:
            if not safe or not others:
                raise
        else:
            if answer.status_code not in ELSEWHERE or not safe or not others:
                return answer
            answer.close()
        self.again += 1
        return self._send(others[0], request)

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._looker is not None:
            self._looker.join()
        self._inner.close()

    def _send(self, port: int, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(port=port)
        headers = [(k, v) for k, v in request.headers.multi_items() if k.lower() != "host"]
        sent = httpx.Request(request.method, url, headers=headers, content=request.content,
                             extensions=request.extensions)  # fmt: skip
        answer = self._inner.handle_request(sent)
        answer.extensions["port"] = port  # which replica it was
        return answer

    def _in_turn(self) -> list[int]:
        """Ready ones, the one whose turn it is first; all of them where none says so."""
        ports = list(self._ready) or list(self._ports())
        first = next(self._turn) % len(ports)
        return ports[first:] + ports[:first]

    def _begin(self) -> None:
        with self._lock:
            if self._looker is None:
                self._look()
                self._looker = threading.Thread(target=self._keep_looking, name="balancer", daemon=True)
                self._looker.start()

    def _keep_looking(self) -> None:
        while not self._stop.wait(LOOK):
            self._look()

    def _look(self) -> None:
        self._ready = [port for port in self._ports() if _is_ready(port)]


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=ANSWER).status_code == 200
    except httpx.TransportError:
        return False
