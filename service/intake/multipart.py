"""multipart/form-data, piece by piece: parts whose bytes lie in one buffer and are hashed on the way in.

Starlette's own form parser keeps a SpooledTemporaryFile for each part, so 1,123 photos are 1,123 file handles or a
gigabyte of memory, and it stops at 1,000 files. Here all parts lie one after another in memory, or, beyond 8 MiB, in
one temporary file that has no name on disk, so that nothing is left behind however the process ends.

What a form costs grows with its bytes and no faster: names, options and headers of parts are bounded (`MAX_NAMES`,
`MAX_DISPOSITION`), each part is charged for the objects made of it, and `Upload` looks names up.
"""

import errno
import hashlib
import mmap
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from adapters.errors import InvalidInput, StorageFull, TooLarge
from service.limits.space import Space

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MEMORY_BYTES = 8 << 20  # kept in memory before spilling to the temporary file
MAX_NAMES = 100  # different names in one form; no route knows more than a dozen
MAX_DISPOSITION = 4096  # bytes of a part's Content-Disposition or Content-Type: reading one is quadratic in quotes
PART_BYTES = 1024  # that a part takes in memory beside its own bytes
FILE_TYPES = ("image/", "application/zip", "application/x-zip", "application/octet-stream")
# Codecs are looked up by a name that the caller chose: accept the usual ones, not "unicode_escape" or "idna".
CHARSETS = {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1", "windows-1252", "cp1252"}
UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})  # what is of these is UTF-8 as it is
_EXTENDED_NAME = re.compile(rb"filename\*\s*=\s*\"?([\w-]+)'[^']*'([^;\"\s]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form. `file_name` is None for a text field and "" for a file without a name."""

    name: str
    file_name: str | None
    content_type: str  # as sent, lower case, without parameters; "" if the part does not say
    sha256: str  # hex; "" for text fields
    size: int  # bytes
    charset: str = field(repr=False)
    _sink: "Sink" = field(repr=False, compare=False)
    _start: int = field(repr=False, compare=False)

    def data(self) -> memoryview:
        """The bytes, without copying them; valid until the upload is closed."""
        return self._sink.view()[self._start : self._start + self.size]

    def utf8(self) -> bytes | memoryview:
        """The bytes; those of a text in another charset than UTF-8 as UTF-8. Raises InvalidInput."""
        is_text = self.file_name is None or self.content_type.startswith("text/")
        return self.text().encode() if is_text and self.charset not in UTF8 else self.data()

    def text(self) -> str:
        """The bytes as text. Raises InvalidInput."""
        if self.charset not in CHARSETS:
            raise InvalidInput(f"field {self.name!r} comes in the charset {self.charset!r}; send UTF-8")
        try:
            return str(self.data(), self.charset)
        except UnicodeDecodeError as error:
            at = f"byte {error.start}"
            raise InvalidInput(f"field {self.name!r} is not {self.charset} text ({at}); send UTF-8") from None


class Form:
    """The parser's callbacks turn the pieces of a body into parts whose bytes go to one sink."""

    def __init__(
        self, boundary: bytes, charset: str, max_parts: int, max_field_bytes: int, space: Space | None = None,
        charge: Callable[[int], None] = lambda size: None,
    ) -> None:  # fmt: skip
        """`charge` is told what the objects made of each part take, bytes; `space` has the room for the bytes."""
        self.sink = Sink(space or Space())
        self._charset, self._charge = charset, charge
        self._names_seen: set[str] = set()
        self._max_parts, self._max_field_bytes = max_parts, max_field_bytes
        self._parts: list[Part] = []
        self._field_bytes = 0
        self._ended = False
        self._on_part_begin()
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise InvalidInput(f"the boundary in the Content-Type cannot be used: {error}") from None

    def feed(self, chunk: bytes) -> None:
        """Raises InvalidInput, TooLarge, StorageFull."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            where = f"in part {len(self._parts)}: {error}"
            raise InvalidInput(f"malformed multipart body {where}; let an HTTP library build the form") from None

    def finish(self) -> list[Part]:
        """The parts, once the body is complete. Raises InvalidInput, StorageFull."""
        if not self._ended:
            raise InvalidInput(f"the multipart body is cut off in part {len(self._parts)}; send it again in full")
        self.sink.seal()
        return self._parts

    def release(self) -> None:
        """Nothing more is fed. The parser knows us by its callbacks and we know it: in such a cycle every form with all
        its parts would stay until somebody looks for garbage, a thousand requests later."""
        self._parser.callbacks = {}

    def _on_part_begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        if len(self._parts) >= self._max_parts:
            raise TooLarge(f"the form has more than {self._max_parts:,} parts; send fewer in each request")
        self._charge(PART_BYTES)
        self._check_headers()
        kind, params = parse_options_header(self._headers.get(b"content-type"))
        self._kind = kind.decode("latin-1")
        self._part_charset = params.get(b"charset", b"").decode("latin-1").lower() or self._charset
        self._name, self._file_name = self._names(self._headers.get(b"content-disposition", b""))
        self._check_names()
        self._refuse_encodings(self._headers.get(b"content-transfer-encoding", b"binary"))
        self._start = self.sink.size
        self._hash = None if self._file_name is None else hashlib.sha256()

    def _check_headers(self) -> None:
        for name in (b"content-disposition", b"content-type"):
            if len(self._headers.get(name, b"")) > MAX_DISPOSITION:
                what = f"the {name.decode().title()} of part {len(self._parts)}"
                raise InvalidInput(f"{what} is over the limit of {MAX_DISPOSITION:,} bytes; give it a shorter name")

    def _check_names(self) -> None:
        self._names_seen.add(self._name)
        if len(self._names_seen) > MAX_NAMES:
            raise InvalidInput(f"the form has fields of more than {MAX_NAMES} different names (at {self._name[:50]!r})")

    def _names(self, disposition: bytes) -> tuple[str, str | None]:
        _, options = parse_options_header(disposition)
        if b"name" not in options:
            raise InvalidInput(f"part {len(self._parts)} has no name in its Content-Disposition; give it one")
        name = _decoded(options[b"name"], self._charset)
        if b"filename" in options:
            return name, _printable(_decoded(options[b"filename"], self._charset))
        # RFC 7578 forbids `filename*` in forms, yet older clients send nothing else for a name that is not ASCII.
        if extended := _EXTENDED_NAME.search(disposition):
            charset, quoted = extended.groups()
            return name, _printable(_decoded(unquote_to_bytes(quoted), charset.decode("ascii").lower()))
        return name, "" if self._kind.startswith(FILE_TYPES) else None

    def _refuse_encodings(self, encoding: bytes) -> None:
        if encoding.strip().lower() not in (b"binary", b"8bit", b"7bit"):
            sent = encoding.decode("latin-1")
            raise InvalidInput(f"part {len(self._parts)} ({self._name!r}) is {sent!r}-encoded; send its bytes as is")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        piece = memoryview(data)[start:end]
        if self._hash is not None:
            self._hash.update(piece)
        else:
            self._field_bytes += end - start
            if self._field_bytes > self._max_field_bytes:
                limit = f"{self._max_field_bytes:,} bytes"
                raise TooLarge(f"the text fields are over the limit of {limit} together (at {self._name!r})")
        self.sink.write(piece)

    def _on_part_end(self) -> None:
        size = self.sink.size - self._start
        if self._file_name == "" and not size:
            return  # what a browser sends for a file input that was left empty
        digest = "" if self._hash is None else self._hash.hexdigest()
        about = (self._name, self._file_name, self._kind, digest, size, self._part_charset)
        self._parts.append(Part(*about, self.sink, self._start))

    def _on_end(self) -> None:
        self._ended = True


class Sink:
    """Bytes in the order they came: in memory at first, in one unlinked temporary file when there are many."""

    def __init__(self, space: Space | None = None) -> None:
        self.size = 0  # bytes
        self._space = space or Space()
        self._filed = 0  # bytes in the temporary file
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._view: memoryview | None = None

    def write(self, piece: memoryview) -> None:
        """Append. Raises StorageFull."""
        self.size += len(piece)
        if self._file is None and self.size <= MEMORY_BYTES and self._space.keep(len(piece)):
            self._memory += piece
            return
        try:
            self._spill()
            self._append(piece)
        except OSError as error:
            raise _storage_error(error) from error

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="espalier-")
            kept, self._memory = self._memory, bytearray()
            self._space.move(-len(kept), 0)
            self._append(memoryview(kept))

    def _append(self, piece: memoryview) -> None:
        assert self._file is not None
        self._file.write(piece)
        self._filed += len(piece)
        self._space.move(0, len(piece))

    def seal(self) -> None:
        """No more writes: make all bytes readable. Raises StorageFull."""
        if self._file is None:
            self._view = memoryview(self._memory).toreadonly()
            return
        try:
            self._file.flush()
            self._view = memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise _storage_error(error) from error

    def view(self) -> memoryview:
        if self._view is None:
            raise ValueError("the upload is closed")
        return self._view

    def close(self) -> None:
        # Views that are still in someone's hands keep the memory or the map alive until they are dropped;
        # mmap.close() would refuse while they exist.
        self._view = None
        self._space.move(-len(self._memory), -self._filed)
        self._memory, self._filed = bytearray(), 0
        if self._file is not None:
            self._file.close()
            self._file = None


def _storage_error(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("no space left on this server to receive the upload; try again later")
    return error


def _decoded(raw: bytes, charset: str) -> str:
    """What is not of that charset is shown by its bytes, as in `caf%E9.jpg`: nothing is guessed."""
    try:
        return raw.decode(charset if charset in CHARSETS else "utf-8")
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw)


def _printable(name: str) -> str:
    """Control characters have no place in a file name, and NUL none in a database."""
    return name if name.isprintable() else "".join(c for c in name if c >= " " and c != "\x7f")
