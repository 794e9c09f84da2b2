"""Zip archives from strangers: each member is checked before it is trusted; nothing is unpacked to disk.

The limits are on what unpacking costs (members, bytes, ratio), so a small upload cannot become a large one.
"""

import hashlib
import io
import mmap
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adapters.errors import InvalidArchive

ARCHIVE_SUFFIXES = frozenset(
    {".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar", ".jar", ".cab", ".iso"}
)
_ARCHIVE_MAGIC = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"7z\xbc",
    b"Rar!",
)
# bzip2 and lzma members are refused: zipfile decompresses those without a bound on what one read may return.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flag bits: encrypted, strongly encrypted, central directory encrypted
_UTF8_NAME = 0x800  # flag bit
_DRIVE = re.compile("[A-Za-z]:/")
_RATIO_FREE_BYTES = 1 << 20  # a member this small is no bomb, however well it compresses
_RECORD_BYTES = 256  # a member's record in the central directory, with room for a long name
_TAIL_BYTES = 1 << 17  # where zipfile looks for the end record, behind a comment of up to 64 KiB
_CHUNK = 1 << 20  # bytes unpacked at a time


@dataclass(frozen=True, slots=True)
class Limits:
    """What unpacking one archive may cost."""

    max_members: int = 200_000
    max_total_bytes: int = 8 << 30  # of all members together, unpacked
    max_member_bytes: int = 512 << 20
    max_ratio: int = 200  # of one member over 1 MiB; deflate reaches 1,030, photos stay below 2


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive; `data()` unpacks it anew at each call, so that nothing stays in memory."""

    file_name: str
    sha256: str
    data: Callable[[], bytes]


def read_zip(
    source: bytes | memoryview | Path, limits: Limits, *, skip: Callable[[str], bool] = lambda name: False
) -> list[Member]:
    """Every file of the archive that `skip` does not name, checked, unpacked once and hashed, sorted by name.

    Blocking: call it in a thread. The members read from `source` when they are asked for their data, so keep it open.
    Raises InvalidArchive, naming the member.
    """
    archive = _opened(source, limits)
    names = _checked_names(archive, limits)
    kept = sorted(((info, name) for info, name in names if not skip(name)), key=lambda pair: pair[1])
    return [_member(archive, info, name) for info, name in kept]


def _opened(source: bytes | memoryview | Path, limits: Limits) -> zipfile.ZipFile:
    view = _mapped(source) if isinstance(source, Path) else memoryview(source)
    # zipfile reads the central directory in one piece and makes an object of each record, before anyone can count.
    file = _ViewFile(view, max_read=max(limits.max_members * _RECORD_BYTES, _TAIL_BYTES))
    try:
        archive = zipfile.ZipFile(file)
    except _ReadTooLong:
        raise _too_many(limits) from None
    except Exception as error:  # zipfile lets struct, Unicode and memory errors through on hostile bytes
        raise InvalidArchive(f"not a zip archive that can be read ({error}); make it anew") from None
    file.max_read = None
    if sum(info.compress_size for info in archive.infolist()) > len(view):
        raise InvalidArchive("members of the archive overlap, as in a zip bomb; make it anew with an ordinary tool")
    return archive


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return memoryview(b"")  # an empty file cannot be mapped
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _checked_names(archive: zipfile.ZipFile, limits: Limits) -> list[tuple[zipfile.ZipInfo, str]]:
    """(record, name) of every member that is a file. Raises InvalidArchive."""
    infos = archive.infolist()
    if len(infos) > limits.max_members:
        raise _too_many(limits)
    total = sum(info.file_size for info in infos)
    if total > limits.max_total_bytes:
        limit = f"the limit is {limits.max_total_bytes:,}; send it in several archives"
        raise InvalidArchive(f"the archive unpacks to {total:,} bytes; {limit}")
    named = [(info, _name(info)) for info in infos]
    for info, name in named:
        _check_member(info, name, limits)
    files = [(info, str(PurePosixPath(name))) for info, name in named if not name.endswith("/")]
    _check_unique(name for _, name in files)
    return files


def _too_many(limits: Limits) -> InvalidArchive:
    return InvalidArchive(f"the archive has more than {limits.max_members:,} members; send it in several archives")


def _name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & _UTF8_NAME:
        try:  # many tools write UTF-8 without saying so; real cp437 text is hardly ever valid UTF-8
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    # macOS decomposes accents, Windows tools write backslashes: one name for one file.
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _check_member(info: zipfile.ZipInfo, name: str, limits: Limits) -> None:
    path, kind = PurePosixPath(name), stat.S_IFMT(info.external_attr >> 16)
    if path.is_absolute() or _DRIVE.match(name) or ".." in path.parts:
        raise _invalid(name, "its path leads out of the archive; make the zip from inside the folder")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _invalid(name, "it is a link or a device, not a file; put the file itself into the zip")
    if info.flag_bits & _ENCRYPTED:
        raise _invalid(name, "it is encrypted; make the zip without a password")
    if info.compress_type not in _METHODS:
        raise _invalid(name, f"it is packed with method {info.compress_type}; use the ordinary deflate method")
    if info.file_size > limits.max_member_bytes:
        raise _invalid(name, f"it unpacks to {info.file_size:,} bytes; the limit is {limits.max_member_bytes:,}")
    if info.file_size > _RATIO_FREE_BYTES and info.file_size > limits.max_ratio * info.compress_size:
        raise _invalid(name, f"it unpacks to over {limits.max_ratio} times its size, as a zip bomb does; leave it out")


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise _invalid(name, "it is in the archive twice; keep one")
        seen.add(name)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Member:
    if PurePosixPath(name).suffix.lower() in ARCHIVE_SUFFIXES:
        raise _nested(name)
    digest = hashlib.sha256()
    for number, chunk in enumerate(_unpacked(archive, info, name)):
        if number == 0 and (chunk.startswith(_ARCHIVE_MAGIC) or chunk[257:262] == b"ustar"):
            raise _nested(name)
        digest.update(chunk)
    return Member(name, digest.hexdigest(), lambda: b"".join(_unpacked(archive, info, name)))


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Iterable[bytes]:
    """The member's bytes in chunks, never more than it declares. Raises InvalidArchive."""
    try:
        with archive.open(info) as file:
            left = info.file_size
            while chunk := file.read(_CHUNK):
                left -= len(chunk)
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError, RuntimeError) as error:
        raise _invalid(name, f"it is damaged ({error}); make the zip anew") from None
    if left:
        raise _invalid(name, "its size is not what the archive says; make the zip anew")


def _nested(name: str) -> InvalidArchive:
    return _invalid(name, "it is an archive inside the archive; unpack it first")


def _invalid(name: str, problem: str) -> InvalidArchive:
    item = f"member {name[:200]!r}"
    return InvalidArchive(f"{item}: {problem}", item=item)


class _ReadTooLong(Exception):
    """zipfile asked for more in one read than a sound archive needs."""


class _ViewFile(io.RawIOBase):
    """A seekable file over bytes that lie elsewhere; io.BytesIO would copy them."""

    def __init__(self, view: memoryview, max_read: int | None) -> None:
        self._view, self._at = view, 0
        self.max_read = max_read

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        if start + offset < 0:
            raise OSError("seek before the start")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._view) if size is None or size < 0 else min(self._at + size, len(self._view))
        if self.max_read is not None and end - self._at > self.max_read:
            raise _ReadTooLong
        piece = bytes(self._view[self._at : end])
        self._at += len(piece)
        return piece
