"""Zip archives as other tools write them: names in code pages, with or without what says so."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence

UTF8_FLAG = 0x800


def zipped(*members: tuple[str, bytes]) -> bytes:
    """An ordinary archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def raw_zip(
    members: Sequence[tuple[bytes, bytes]], *, flags: int = 0, extras: Mapping[int, bytes] | None = None
) -> bytes:
    """Stored members whose names are these very bytes; `extras` are extra fields by the member's position."""
    body, directory = b"", b""
    for number, (name, data) in enumerate(members):
        extra = (extras or {}).get(number, b"")
        facts = struct.pack(
            "<HHHHIIIHH", flags, 0, 0, 0x21, zlib.crc32(data), len(data), len(data), len(name), len(extra)
        )
        directory += b"PK\x01\x02" + struct.pack("<HH", 20, 20) + facts
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name + extra
        body += b"PK\x03\x04" + struct.pack("<H", 20) + facts + name + extra + data
    count = len(members)
    return body + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)


def unicode_path(raw: bytes, name: str, *, version: int = 1) -> bytes:
    """Extra field 0x7075: the true name beside one in a code page."""
    data = struct.pack("<BI", version, zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(data)) + data
