"""uvicorn's HTTP protocol with bounds, which uvicorn has no settings for (docs/adr/0016-connections-of-our-own.md).

- The head of a request is complete within `head_seconds` and `head_bytes`: else 408, 431 or 414.
- A client sends a body, and reads an answer, at `rate` at least: else 408, or the connection is cut.
- What came in one read is parsed in slices, with turns for others in between: a megabyte of one-byte chunks or of
  pipelined requests holds nobody up.
- Beyond so many connections the idlest gives way; where none is idle, only probes and scrapes are answered.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn import config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service import telemetry
from service.access.response_headers import protected, protecting
from service.audit.address import PEER
from service.errors import problem
from service.limits.joined import Joined
from service.limits.lag import HEARTBEAT
from service.limits.watch import Limits, Watch
from service.processes import draining

SLICE = 16 << 10  # bytes that are parsed at once, unless they are all of one body of announced length
LINGER = 2.0  # seconds that a refused client may go on sending: closed at once, it would not read why
ALWAYS = frozenset({b"/livez", b"/healthz", b"/readyz", b"/metrics"})  # answered also when there is no room
HEAD, BODY, ANSWER, REFUSED = range(4)  # what a connection waits for: the client twice, us, and nobody


class Connection(HttpToolsProtocol):
    """One connection of a client."""

    watch: ClassVar[Watch] = Watch(Limits())
    leave: ClassVar[Callable[[], None]] = staticmethod(lambda: None)  # called when the process is told to stop

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.timeout_keep_alive = self.watch.limits.keep_alive  # type: ignore[assignment]
        self._served = self.app
        self._stage, self._since = HEAD, self.loop.time()
        self._size = 0  # bytes of the head, or of the body since then
        self._plain = 0  # bytes to come of a body of announced length
        self._left = b""  # received, to be parsed at a later turn
        self._surplus = False
        self._unread = (0.0, 0)  # since when so many bytes of our answer are not read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = self._flow = _Flow(transport)
        self.watch.add(self)
        HEARTBEAT.begin(self.loop)
        if self.watch.is_full:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.watch.discard(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The process was told to stop: uvicorn waits until every answer is given, so none may wait for anything."""
        super().shutdown()
        type(self).leave()

    def _make_room(self) -> None:
        idle = self.watch.idlest(self)
        if isinstance(idle, Connection):
            idle.cut("idle")
        elif self.watch.is_overfull:
            self.cut("surplus")
        else:
            self._surplus = True

    # Receiving

    def data_received(self, data: bytes) -> None:
        if self._stage == REFUSED:
            return
        if self._left:
            self._left += data
            return
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        """At once what costs next to nothing: a small piece, or a part of one body. Else in slices."""
        if self.transport.is_closing():
            return
        if len(data) > max(self._plain, SLICE):
            self._parse_in_slices(memoryview(data))
        else:
            self._parse_slice(data)

    def _parse_slice(self, piece: bytes | memoryview) -> None:
        was_head = self._stage == HEAD
        super().data_received(piece)  # type: ignore[arg-type] # the parser takes any buffer
        if was_head:  # else what came belongs to the body before
            self._weigh(len(piece))

    def _parse_in_slices(self, data: memoryview) -> None:
        """A slice now, the rest at a later turn; at once where the rest is of one body."""
        while data and self._stage != REFUSED and not self.transport.is_closing():
            size = max(self._plain, SLICE)
            piece, data = data[:size], data[size:]
            self._parse_slice(piece)
            if data and self._plain < SLICE and not self.transport.is_closing() and self._stage != REFUSED:
                self._left = bytes(data)
                self._flow.hold()
                self.loop.call_soon(self._go_on)
                return

    def _go_on(self) -> None:
        if self.transport.is_closing() or self._stage == REFUSED:
            self._left = b""
        elif self._left and not self.pipeline:  # while requests are queued, the end of an answer comes back here
            data, self._left = self._left, b""
            self._parse(data)
            if not self._left:
                self._flow.release()

    def _weigh(self, size: int) -> None:
        if self._stage != HEAD:
            return
        self._size += size
        if self._size > self.watch.limits.head_bytes + SLICE:  # it may have begun behind something else
            self._refuse(*self._too_large(len(self.url or b"")))

    # The parser's callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[PEER] = self.client[0] if self.client else ""  # type: ignore[literal-required]
        self._stage, self._since, self._size = HEAD, self.loop.time(), 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage == HEAD:
            super().on_header(name, value)
        # else it comes behind a chunked body, where nobody looks for it

    def on_headers_complete(self) -> None:
        size, self._plain = len(self.url), 0
        for name, value in self.headers:
            size += len(name) + len(value) + 4  # with `: ` and the end of the line
            if name == b"content-length":
                self._plain = int(value)
        self._stage, self._since, self._size = BODY, self.loop.time(), 0
        self.app = self._app(size)
        super().on_headers_complete()
        self.cycle.transport = Joined(self.transport, self.loop)  # type: ignore[assignment]
        if self._surplus or draining.HERE.began:
            self.cycle.keep_alive = False

    def _app(self, head_bytes: int) -> Any:
        """Who answers: the service, or a refusal."""
        if head_bytes > self.watch.limits.head_bytes:
            return _answer(*self._too_large(len(self.url)))
        if self._surplus and self.url.partition(b"?")[0] not in ALWAYS:
            telemetry.CUT.labels("surplus").inc()
            return _answer(503, "No room for more connections", "there are too many connections; try again shortly",
                           "too_many_connections")  # fmt: skip
        return self._served

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        self._plain = max(self._plain - len(body), 0)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._plain = 0
        self._wait_for(HEAD if self.cycle.response_complete else ANSWER)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._stage == ANSWER and not self.pipeline:
            self._wait_for(HEAD)
        if self._left:
            self.loop.call_soon(self._go_on)

    def _wait_for(self, stage: int) -> None:
        self._stage, self._since, self._size = stage, self.loop.time(), 0

    # Looking after

    def idle_since(self) -> float | None:
        """Since when nobody asks anything; None while somebody does."""
        return self._since if self._stage == HEAD and not self._left else None

    def look(self, now: float) -> None:
        """End the connection if its client makes us wait."""
        if self.flow.write_paused or self.transport.is_closing():
            self._look_at_reading(now)
        elif self._stage == HEAD and not self._left and now - self._since > self._patience:
            self._give_up_on_head()
        elif self._stage == BODY:
            self._look_at_body(now)

    @property
    def _patience(self) -> float:
        """Seconds for a head to come: many where nothing is due between two requests."""
        limits = self.watch.limits
        return limits.keep_alive if self.cycle is not None and not self._size else limits.head_seconds

    def _give_up_on_head(self) -> None:
        if not self._size:
            self.cut("idle")
            return
        telemetry.CUT.labels("head_time").inc()
        limit = f"{self.watch.limits.head_seconds:g} seconds"
        self._refuse(408, "Too slow", f"the request's headers were not complete in {limit}", "request_timeout")

    def _look_at_body(self, now: float) -> None:
        limits = self.watch.limits
        if self._flow.was_held() or self._left:  # it is we who are slow
            self._since, self._size = now, 0
        elif now - self._since >= limits.window:
            if self._size < limits.rate * limits.window:
                telemetry.CUT.labels("body_rate").inc()
                limit = f"{limits.rate:,} bytes a second over {limits.window:g} seconds"
                self._refuse(408, "Too slow", f"the body came at less than {limit}; send it again", "request_timeout")
            self._since, self._size = now, 0

    def _look_at_reading(self, now: float) -> None:
        """The client must read our answer as fast as it must send a body."""
        left, limits = self.transport.get_write_buffer_size(), self.watch.limits
        since, before = self._unread
        if not since or not left or before - left >= limits.rate * limits.window:
            self._unread = (now, left)
        elif now - since >= limits.window:
            telemetry.CUT.labels("read_rate").inc()
            self.transport.abort()

    # Refusing

    def send_400_response(self, msg: str) -> None:
        """uvicorn's, of what is no HTTP."""
        telemetry.CUT.labels("malformed").inc()
        self._refuse(400, "Not HTTP", "this is not a request as HTTP has them", "malformed_request")

    def _should_upgrade_to_ws(self) -> bool:
        return False  # there is nothing here that speaks it, and it would leave all bounds behind

    def _unsupported_upgrade_warning(self) -> None:
        """uvicorn would log a line for each."""

    def _too_large(self, url: int) -> tuple[int, str, str, str]:
        telemetry.CUT.labels("head_bytes").inc()
        limit = f"{self.watch.limits.head_bytes:,} bytes"
        if url > self.watch.limits.head_bytes // 2:
            return 414, "The address is too long", f"address and headers are over {limit}", "address_too_long"
        return 431, "The headers are too large", f"address and headers are over {limit} together", "headers_too_large"

    def _refuse(self, status: int, title: str, detail: str, code: str) -> None:
        """An answer in place of the service's, where that has not begun; then the connection ends."""
        began = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not began and not self.pipeline:
            response = problem(status, title, detail, code)
            head = [STATUS_LINE[status], b"connection: close\r\n"]
            head += [name + b": " + value + b"\r\n" for name, value in protected(response.raw_headers)]
            self.transport.write(b"".join([*head, b"\r\n", response.body]))
        self._stage = REFUSED
        self._leave()
        self._flow.release()  # what still comes is read and thrown away
        self.loop.call_later(LINGER, self.transport.close)

    def cut(self, reason: str) -> None:
        """End the connection without a word."""
        telemetry.CUT.labels(reason).inc()
        self._stage = REFUSED
        self._leave()
        self.transport.close()

    def _leave(self) -> None:
        """Whoever is at work on the request learns that its client is gone."""
        self._left = b""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()


class _Flow(FlowControl):
    """Reading stays paused while what came is not parsed yet, whoever asks for more."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_held = self._was_held = False

    def hold(self) -> None:
        self._is_held = True
        self.pause_reading()

    def release(self) -> None:
        self._is_held = False
        self.resume_reading()

    def was_held(self) -> bool:
        """Whether reading was paused since this was last asked."""
        found, self._was_held = self._was_held or self.read_paused, False
        return found

    def pause_reading(self) -> None:
        self._was_held = True
        super().pause_reading()

    def resume_reading(self) -> None:
        if not self._is_held:
            super().resume_reading()


def _answer(status: int, title: str, detail: str, code: str) -> Any:
    """An ASGI application that says only this, and ends the connection."""
    response = problem(status, title, detail, code)
    response.headers["Connection"] = "close"

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await response(scope, receive, protecting(send))

    return answer


def install(limits: Limits, leave: Callable[[], None]) -> None:
    """Have uvicorn use these connections: BentoML starts it, and hands on none of its options."""
    Connection.watch, Connection.leave = Watch(limits), staticmethod(leave)
    config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{Connection.__name__}"
