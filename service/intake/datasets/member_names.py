"""The name of a member of a zip, by what says its encoding; a guess never becomes a name."""

import re
import stat
import struct
import zipfile
import zlib

from adapters.errors import InvalidArchive
from service.intake.datasets import names

UTF8_NAME = 0x800  # flag bit
UNICODE_PATH = 0x7075  # extra field
BAD_UNICODE_PATH = "the Unicode name of a member (extra field 0x7075) is damaged; make the archive anew"
_DRIVE = re.compile("[A-Za-z]:/")


def raw_name(info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member's name: zipfile has read those that are not marked as UTF-8 as cp437, which loses none."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & UTF8_NAME else "cp437")


def name_of(info: zipfile.ZipInfo, encoding: str | None) -> str:
    """A member's name, by what says its encoding. Raises InvalidArchive for one that is guesswork, or leads out."""
    raw = raw_name(info)
    stated = "utf-8" if info.flag_bits & UTF8_NAME else None
    try:
        text = _unicode_path(info, raw) or names.decoded(raw, stated or encoding)
    except UnicodeDecodeError:
        raise _undecodable(raw, encoding) from None
    if len(text) > names.MOST_NAME:
        raise invalid(text, f"its name has {len(text):,} characters; at most {names.MOST_NAME:,}")
    if "\0" in text:
        raise invalid(text, "its name has a NUL in it; make the zip anew")
    # Not PurePosixPath's parts: these would have left out what leads to the root.
    path = text.replace("\\", "/")
    if path.startswith("/") or _DRIVE.match(path) or ".." in path.split("/"):
        raise invalid(text, "its path leads out of the archive; make the zip from inside the folder")
    if path.count("/") > names.MOST_FOLDERS:
        raise invalid(text, f"it lies in more than {names.MOST_FOLDERS} folders; make the zip from inside the folder")
    return path


def unmarked(info: zipfile.ZipInfo) -> str | None:
    """A name beyond ASCII of which nothing in the archive says how it is written, as UTF-8, which it is; else None."""
    raw = raw_name(info)
    return None if raw.isascii() or info.flag_bits & UTF8_NAME or _unicode_path(info, raw) else raw.decode()


def is_folder(info: zipfile.ZipInfo, path: str) -> bool:
    """By its slash; some tools say it in its attributes alone."""
    return not path or path.endswith("/") or stat.S_ISDIR(info.external_attr >> 16)


def _undecodable(raw: bytes, encoding: str | None) -> InvalidArchive:
    if encoding is not None:
        return invalid(raw, f"its name is not of the archive_encoding {encoding}; give the right one")
    hint = "say which with archive_encoding (such as cp932, gbk, cp850, cp1252), or make the zip with UTF-8 names"
    return invalid(raw, f"its name is in an old encoding that the archive does not name; {hint}")


def _unicode_path(info: zipfile.ZipInfo, raw: bytes) -> str | None:
    """The name that WinRAR, Info-ZIP and 7-Zip put beside one in a local code page, where it is about that name.

    Extra field 0x7075, APPNOTE.TXT 4.6.9: version 1, CRC-32 of the name, the name in UTF-8. Raises InvalidArchive.
    """
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind != UNICODE_PATH:
            continue
        try:
            version, crc = struct.unpack_from("<BL", field)
            if version == 1 and crc == zlib.crc32(raw):
                return field[5:].decode("utf-8") or None
        except (struct.error, UnicodeDecodeError):
            raise InvalidArchive(BAD_UNICODE_PATH) from None
    return None


def invalid(name: str | bytes, problem: str) -> InvalidArchive:
    """The error of one member, which it names."""
    item = f"member '{names.shown(name[:200])}'"
    return InvalidArchive(f"{item}: {problem}", item=item)
