"""Clients that ask all the time and try nothing again: whatever is no answer is a failure."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from support.pictures import shape

Opened = http.client.HTTPConnection
SLOW = 4.0  # seconds between the two halves of a slow client's body
REST = 2.0  # seconds that a client rests between two requests on one connection
WANTED = {"circle", "square"}


@dataclass(slots=True)
class Load:
    """Threads that ask one address, until told to stop."""

    host: str
    port: int
    name: str  # by which the service is asked
    key: str
    answered: int = 0
    moved: int = 0  # answers after which a client had to open another connection
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, keeping: int = 5, resting: int = 2, opening: int = 2, slow: int = 1) -> "Load":
        """So many clients that keep their connection, rest on it, open one for each request, or are slow to send."""
        kinds = (keeping, self._keep), (resting, self._rest), (opening, self._open), (slow, self._dawdle)
        for count, asks in kinds:
            self._threads += [threading.Thread(target=asks, args=(n,), daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """End them, each after its answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()

    def _keep(self, number: int) -> None:
        opened = self._connection()
        while not self._stop.is_set():
            opened = self._asked(opened, number, self._whole)
        opened.close()

    def _rest(self, number: int) -> None:
        opened = self._connection()
        while not self._stop.wait(REST):
            opened = self._asked(opened, number, self._whole)
        opened.close()

    def _open(self, number: int) -> None:
        while not self._stop.is_set():
            self._asked(self._connection(), number, self._whole).close()

    def _dawdle(self, number: int) -> None:
        while not self._stop.is_set():
            self._asked(self._connection(), number, self._in_halves).close()

    def _connection(self) -> Opened:
        return Opened(self.host, self.port, timeout=60)

    def _asked(self, opened: Opened, number: int, send: Callable[[Opened, bytes], None]) -> Opened:
        """The connection for the next request."""
        began = time.monotonic()
        try:
            send(opened, shape("circle" if number % 2 else "square", number))
            answer = opened.getresponse()
            self._judge(answer.status, answer.read(), answer.will_close)
        except (OSError, http.client.HTTPException) as error:
            self._fail(f"{type(error).__name__}: {error} after {time.monotonic() - began:.2f} s")
            opened.close()
            self._stop.wait(0.05)
        return opened if opened.sock is not None else self._connection()

    def _whole(self, opened: Opened, body: bytes) -> None:
        opened.request("POST", "/predict?head=shapes", body, self._headers())

    def _in_halves(self, opened: Opened, body: bytes) -> None:
        """It may be told to leave in between, and has to answer still."""
        opened.putrequest("POST", "/predict?head=shapes", skip_host=True)
        for name, value in (self._headers() | {"Content-Length": str(len(body))}).items():
            opened.putheader(name, value)
        opened.endheaders(body[: len(body) // 2])
        self._stop.wait(SLOW)
        opened.send(body[len(body) // 2 :])

    def _headers(self) -> dict[str, str]:
        return {"Host": self.name, "Content-Type": "image/png", "Authorization": f"Bearer {self.key}"}

    def _judge(self, status: int, body: bytes, is_last: bool) -> None:
        if status != 200:
            self._fail(f"{status}: {body[:300]!r}")
            return
        label = json.loads(body)["predictions"][0]["label"]
        with self._lock:
            self.answered += 1
            self.moved += is_last
            if label not in WANTED:
                self.failures.append(f"a wrong answer: {label}")

    def _fail(self, why: str) -> None:
        with self._lock:
            self.failures.append(why)
