"""Request bodies: a form as an `Upload`, or raw bytes, both within a limit that is checked before and while reading."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from types import TracebackType

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from adapters import pools
from adapters.errors import InvalidInput, TooLarge
from service.intake import fields
from service.intake.multipart import CHARSETS, UTF8, Form, Part, Sink
from service.limits.space import Space
from service.limits.upload_throttle import NOBODY, UploadThrottle

MAX_PARTS = 200_000
MAX_FIELD_BYTES = 16 << 20  # all text fields of a request together
SLICE_BYTES = 1 << 20  # the most that is parsed and hashed at a time
PIECE_BYTES = 32 << 10  # of these, at a time on the event loop, …
QUICK = 0.004  # … for so many seconds: photos are parsed in less, a thousand tiny parts are not
MAX_TYPE = 1024  # bytes of a Content-Type with a boundary: reading one is quadratic in quotes

__all__ = ["Part", "Upload", "read_body", "receive"]


class Upload:
    """The parts of one request, in the order they were sent; `close()` removes everything."""

    def __init__(self, parts: list[Part], sink: "Sink") -> None:
        self.parts = tuple(parts)
        self._sink = sink
        self._by_name: dict[str, list[Part]] = {}
        for part in parts:
            self._by_name.setdefault(part.name, []).append(part)

    @property
    def names(self) -> set[str]:
        return set(self._by_name)

    def files(self, name: str) -> list[Part]:
        """The files sent as `name`. Raises InvalidInput where text came instead of a file."""
        found = self._named(name)
        if text := next((part for part in found if part.file_name is None), None):
            hint = f'with curl write -F "{name}=@photo.jpg", with the @'
            raise InvalidInput(f"{name!r} must be files, but text came ({text.size} bytes); {hint}")
        return found

    def inputs(self, name: str) -> list[Part]:
        """What was sent as `name` to answer for or to learn from: files, and text fields where that may be text.

        Raises InvalidInput.
        """
        return self._named(name) if fields.may_be_text(name) else self.files(name)

    def fields(self, name: str) -> list[str]:
        """The texts sent as `name`, whether as fields or as text files. Raises InvalidInput."""
        return [part.text() for part in self._named(name)]

    def field(self, name: str, default: str | None = None) -> str | None:
        """The one text sent as `name`. Raises InvalidInput if it is repeated or not UTF-8."""
        part = self.part(name)
        return default if part is None else part.text()

    def part(self, name: str) -> Part | None:
        """The one part sent as `name`, field or file. Raises InvalidInput if it is repeated."""
        found = self._named(name)
        if len(found) > 1:
            raise InvalidInput(f"field {name!r} was sent {len(found)} times; send it once")
        return found[0] if found else None

    def close(self) -> None:
        self._sink.close()

    def __enter__(self) -> "Upload":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _named(self, name: str) -> list[Part]:
        return self._by_name.get(name, [])


def unbounded(_: int) -> None:
    """Of what nobody bounds here."""


async def receive(
    request: Request,
    *,
    max_bytes: int,
    max_parts: int = MAX_PARTS,
    max_field_bytes: int = MAX_FIELD_BYTES,
    take: Callable[[int], None] = unbounded,
    charge: Callable[[int], None] = unbounded,
    space: Space | None = None,
    throttle: UploadThrottle = NOBODY,
    others: Sequence[str] = (),
) -> Upload:
    """Read a multipart/form-data body into `space`; `take` is told how many bytes came, as they come.

    `charge` is told what each part costs beside its bytes, in any thread. Raises what these do, TooLarge, InvalidInput
    (not multipart, malformed, cut off), StorageFull, and starlette's ClientDisconnect; whatever it raises, nothing is
    left in memory or on disk. `others` are the bodies that the route takes besides, for a message.
    """
    form = Form(*_content_type(request, others), max_parts, max_field_bytes, space, charge)
    try:
        async with aclosing(_bounded(request, max_bytes, take)) as chunks:
            await _feed(form, chunks, throttle)
        return Upload(form.finish(), form.sink)
    except BaseException:
        form.sink.close()
        raise
    finally:
        form.release()


async def _feed(form: Form, chunks: AsyncGenerator[bytes, None], throttle: UploadThrottle) -> None:
    """Parse, hash and store in a thread while more is received, so that neither waits."""
    gathered, size = [], 0
    busy: asyncio.Future[None] | None = None
    try:
        async for chunk in chunks:
            gathered.append(chunk)
            size += len(chunk)
            if size >= SLICE_BYTES:
                if busy is not None:
                    await busy
                busy = pools.begun(_fed, form, b"".join(gathered), throttle)
                gathered, size = [], 0
    finally:
        if busy is not None:
            await asyncio.wait([busy])  # whatever happened here: the caller will close what the thread writes to
    if busy is not None:
        busy.result()
    await _feed_last(form, b"".join(gathered), throttle)


async def _feed_last(form: Form, data: bytes, throttle: UploadThrottle) -> None:
    """Parse right here for as long as that is quick, which most bodies are from begin to end; the rest in a thread."""
    began = time.perf_counter()
    for start in range(0, len(data), PIECE_BYTES):
        if time.perf_counter() - began > QUICK:
            await pools.begun(_fed, form, data[start:], throttle)
            return
        form.feed(data[start : start + PIECE_BYTES])


def _fed(form: Form, data: bytes, throttle: UploadThrottle) -> None:
    with throttle.turn():
        form.feed(data)


def media_type(request: Request) -> str:
    """What a body is by its Content-Type: lower case, without parameters; "" where it does not say."""
    return request.headers.get("content-type", "")[:MAX_TYPE].partition(";")[0].strip().lower()


def as_utf8(request: Request, body: bytes) -> bytes:
    """A raw text as UTF-8, out of the charset that its Content-Type names, if it names one. Raises InvalidInput."""
    header = request.headers.get("content-type", "")[:MAX_TYPE]
    charset = parse_options_header(header)[1].get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset in UTF8:
        return body
    if charset not in CHARSETS:
        raise InvalidInput(f"the text comes in the charset {charset[:50]!r}; send UTF-8")
    try:
        return body.decode(charset).encode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the text is not {charset} (byte {error.start}); send UTF-8") from None


async def read_body(request: Request, max_bytes: int, take: Callable[[int], None] = unbounded) -> bytes:
    """Read a raw body. Raises what `take` does, TooLarge, starlette's ClientDisconnect."""
    scale, parts, more = _Scale(request, max_bytes, take), [], True
    while more:  # without generators: a photo comes in one or two messages, and this is on every prediction's way
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect()
        chunk, more = message.get("body", b""), message.get("more_body", False)
        scale.add(len(chunk))
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class _Scale:
    """Weighs a body as it comes: refused by its declared length, or as soon as it grows too long.

    What is announced takes no room: a client that announces much and sends nothing would shut out everybody else.
    """

    def __init__(self, request: Request, max_bytes: int, take: Callable[[int], None]) -> None:
        declared = request.headers.get("content-length", "")
        self._max_bytes, self._take, self._received = max_bytes, take, 0
        self._check(int(declared) if declared.isdecimal() else 0)

    def add(self, size: int) -> None:
        """So many bytes more. Raises TooLarge, and what `take` does."""
        self._received += size
        self._check(self._received)
        self._take(size)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            hint = "send fewer or smaller files in each request"
            raise TooLarge(f"the body is over the limit of {self._max_bytes:,} bytes; {hint}")


async def _bounded(request: Request, max_bytes: int, take: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    """The body, weighed, in chunks of at most SLICE_BYTES."""
    scale = _Scale(request, max_bytes, take)
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            scale.add(len(chunk))
            if len(chunk) <= SLICE_BYTES:
                if chunk:
                    yield chunk
                continue
            for start in range(0, len(chunk), SLICE_BYTES):
                yield chunk[start : start + SLICE_BYTES]
                await asyncio.sleep(0)


def _content_type(request: Request, others: Sequence[str]) -> tuple[bytes, str]:
    """(boundary, charset) of a multipart request. Raises InvalidInput."""
    header = request.headers.get("content-type", "")
    if len(header) > MAX_TYPE:
        raise InvalidInput(f"the Content-Type is over {MAX_TYPE:,} bytes; let your HTTP library set it")
    kind, params = parse_options_header(header)
    if kind != b"multipart/form-data":
        ways = " or ".join(("multipart/form-data (curl -F …)", *others))
        raise InvalidInput(f"send {ways}, not {header[:100] or 'a body without a type'!r}")
    boundary = params.get(b"boundary", b"")
    if not boundary:
        raise InvalidInput(
            "the Content-Type has no boundary; do not write this header yourself, your HTTP library sets it"
        )
    return boundary, params.get(b"charset", b"utf-8").decode("latin-1").lower()
