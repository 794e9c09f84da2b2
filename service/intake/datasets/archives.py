"""Zip archives from strangers: each member is checked before it is trusted; nothing is unpacked to disk.

The limits are on what unpacking costs (members, bytes, ratio), so a small upload cannot become a large one.
"""

import hashlib
import io
import mmap
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adapters.errors import InvalidArchive
from adapters.problems import Problems
from service.intake.datasets import member_names, names, unmarked_names
from service.intake.datasets.member_names import invalid

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
_HEADER_BYTES = 30  # of a member's local header, before its name
_OTHER_ARCHIVES = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z",
    b"Rar!": "RAR",
}  # fmt: skip
_RATIO_FREE_BYTES = 128 << 20  # a blank page of a scanner is no bomb; what members take together is bounded, too
_RECORD_BYTES = 256  # a member's record in the central directory, with room for a long name
_TAIL_BYTES = 1 << 17  # where zipfile looks for the end record, behind a comment of up to 64 KiB
_CHUNK = 1 << 20  # bytes unpacked at a time
# Python 3.12 warns of a field that 3.11 does not read; ours has read it by then.
warnings.filterwarnings("ignore", message="Empty unicode path", module="zipfile")


@dataclass(frozen=True, slots=True)
class Limits:
    """What unpacking one archive may cost."""

    max_members: int = 200_000
    max_total_bytes: int = 8 << 30  # of all members together, unpacked
    max_member_bytes: int = 512 << 20
    max_ratio: int = 200  # of one member over 1 MiB; deflate reaches 1,030, photos stay below 2


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive or a folder; `data()` reads it anew at each call, so that nothing stays in memory."""

    file_name: str
    sha256: str
    data: Callable[[], bytes]
    size: int = 0  # bytes


class Archive:
    """A zip whose names are checked and whose members are read when they are asked for; keep its source open.

    `names` are those of its files, `folders` of its folders, as `names.normal` spells them, sorted.
    """

    def __init__(self, source: bytes | memoryview | Path, limits: Limits, encoding: str | None = None) -> None:
        """Blocking. `encoding` is that of names which do not say their own. Raises InvalidArchive."""
        self._zip = _opened(source, limits)
        self._limits = limits
        named = _checked_names(self._zip, limits, encoding)
        self._infos = {name: info for info, name, is_folder in named if not is_folder}
        self.names = sorted(self._infos)
        self.folders = sorted(name for _, name, is_folder in named if is_folder)
        self.passed_over: dict[str, str] = {}
        unmarked = [] if encoding else [n for info, _, _ in named if (n := member_names.unmarked(info))]
        unmarked_names.check(unmarked)
        self.understood = {"names": unmarked_names.SAID} if unmarked else {}

    def members(self, wanted: Sequence[str]) -> list[Member]:
        """Files, checked, unpacked once and hashed. Blocking. Raises InvalidArchive that lists every bad one."""
        problems, members = Problems(), []
        for name in wanted:
            try:
                _check_member(self._infos[name], name, self._limits)
                members.append(_member(self._zip, self._infos[name], name))
            except InvalidArchive as error:
                problems.add(error)
        problems.raise_any()
        return members

    def text(self, name: str, most: int) -> bytes:
        """The bytes of a file that is to be read as text, at most so many. Raises InvalidArchive."""
        info = self._infos[name]
        _check_member(info, name, self._limits)
        pieces, size = [], 0
        for chunk in _unpacked(self._zip, info, name):
            pieces.append(chunk)
            size += len(chunk)
            if size >= most:
                break
        return b"".join(pieces)


def _opened(source: bytes | memoryview | Path, limits: Limits) -> zipfile.ZipFile:
    view = _mapped(source) if isinstance(source, Path) else memoryview(source)
    # zipfile reads the central directory in one piece and makes an object of each record, before anyone can count.
    file = _ViewFile(view, max_read=max(limits.max_members * _RECORD_BYTES, _TAIL_BYTES))
    try:
        archive = zipfile.ZipFile(file)
    except _ReadTooLong:
        raise _too_many(limits) from None
    except Exception as error:  # zipfile lets struct, Unicode and memory errors through on hostile bytes
        raise InvalidArchive(_unreadable(view, error)) from None
    file.max_read = None
    _check_overlap(archive)
    return archive


def _unreadable(view: memoryview, error: Exception) -> str:
    """Why a file is no zip that can be read: the same words on every Python."""
    head = bytes(view[:512])
    if kind := next((kind for magic, kind in _OTHER_ARCHIVES.items() if head.startswith(magic)), None):
        return f"it is a {kind} archive; make a zip of it"
    if head[257:262] == b"ustar":
        return "it is a tar archive; make a zip of it"
    if isinstance(error, UnicodeDecodeError):
        return "a name in the archive is marked as UTF-8 and is not; make it anew"
    if "unicode path" in str(error):  # Python 3.12 and later read the field while they open the archive
        return member_names.BAD_UNICODE_PATH
    return f"not a zip archive that can be read ({error}); make it anew"


def _check_overlap(archive: zipfile.ZipFile) -> None:
    """No member begins inside another: later releases of Python refuse that, too, each at its own place."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    starts = [info.header_offset for info in infos[1:]] + [archive.start_dir]
    for info, following in zip(infos, starts, strict=False):
        if info.header_offset + _HEADER_BYTES + len(member_names.raw_name(info)) + info.compress_size > following:
            raise InvalidArchive("members of the archive overlap, as in a zip bomb; make it anew with an ordinary tool")


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return memoryview(b"")  # an empty file cannot be mapped
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _checked_names(
    archive: zipfile.ZipFile, limits: Limits, encoding: str | None
) -> list[tuple[zipfile.ZipInfo, str, bool]]:
    """(record, name, whether it is a folder) of every member. Raises InvalidArchive that lists all unusable names."""
    infos = archive.infolist()
    if len(infos) > limits.max_members:
        raise _too_many(limits)
    total = sum(info.file_size for info in infos)
    if total > limits.max_total_bytes:
        limit = f"the limit is {limits.max_total_bytes:,}; send it in several archives"
        raise InvalidArchive(f"the archive unpacks to {total:,} bytes; {limit}")
    problems, named, seen = Problems(), [], set()
    for info in infos:
        try:
            text = member_names.name_of(info, encoding)
            name, is_folder = names.normal(text), member_names.is_folder(info, text)
            if not is_folder and name in seen:
                raise invalid(name, "it is in the archive twice; keep one")
            seen.add(name)
            named.append((info, name, is_folder))
        except InvalidArchive as error:
            problems.add(error)
    problems.raise_any()
    return named


def _too_many(limits: Limits) -> InvalidArchive:
    return InvalidArchive(f"the archive has more than {limits.max_members:,} members; send it in several archives")


def _check_member(info: zipfile.ZipInfo, name: str, limits: Limits) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise invalid(name, "it is a link or a device, not a file; put the file itself into the zip")
    if info.flag_bits & _ENCRYPTED:
        raise invalid(name, "it is encrypted; make the zip without a password")
    if info.compress_type not in _METHODS:
        raise invalid(name, f"it is packed with method {info.compress_type}; use the ordinary deflate method")
    if info.file_size > limits.max_member_bytes:
        raise invalid(name, f"it unpacks to {info.file_size:,} bytes; the limit is {limits.max_member_bytes:,}")
    if info.file_size > _RATIO_FREE_BYTES and info.file_size > limits.max_ratio * info.compress_size:
        raise invalid(name, f"it unpacks to over {limits.max_ratio} times its size, as a zip bomb does; leave it out")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Member:
    if PurePosixPath(name).suffix.lower() in ARCHIVE_SUFFIXES:
        raise _nested(name)
    digest = hashlib.sha256()
    for number, chunk in enumerate(_unpacked(archive, info, name)):
        if number == 0 and (chunk.startswith(_ARCHIVE_MAGIC) or chunk[257:262] == b"ustar"):
            raise _nested(name)
        digest.update(chunk)
    return Member(name, digest.hexdigest(), lambda: b"".join(_unpacked(archive, info, name)), info.file_size)


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Iterable[bytes]:
    """The member's bytes in chunks, never more than it declares. Raises InvalidArchive."""
    try:
        with archive.open(info) as file:
            left = info.file_size
            while chunk := file.read(_CHUNK):
                left -= len(chunk)
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError, RuntimeError) as error:
        raise invalid(name, f"it is damaged ({error}); make the zip anew") from None
    if left:
        raise invalid(name, "its size is not what the archive says; make the zip anew")


def _nested(name: str) -> InvalidArchive:
    return invalid(name, "it is an archive inside the archive; unpack it first")


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
