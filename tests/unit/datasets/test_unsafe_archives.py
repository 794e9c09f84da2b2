"""An archive that is unsafe, damaged or too large is refused, naming the member."""

import io
import stat
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.uploads import PHOTO, from_archive, photos, refused, zipped

from adapters.errors import InvalidArchive
from service.intake.datasets.archives import Limits


def patched(data: bytes, *, offset: int, value: bytes, member: int = 0) -> bytes:
    """Overwrite a field of a member's record in the central directory."""
    at = -1
    for _ in range(member + 1):
        at = data.index(b"PK\x01\x02", at + 1)
    return data[: at + offset] + value + data[at + offset + len(value) :]


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04" + bytes(100), photos("cat/1.jpg")[:-30]])
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    refused(data, "not a zip archive that can be read")


@pytest.mark.parametrize("name", ["../cat/1.jpg", "cat/../../1.jpg", "/etc/1.jpg", "C:/1.jpg", "..\\cat\\1.jpg", "../"])
def test_a_path_that_leads_out_is_refused(name: str) -> None:
    error = refused(zipped((name, b""), ("cat/1.jpg", PHOTO)), "leads out of the archive")
    assert error.item is not None and error.item.startswith("member ")


def test_an_encrypted_member_is_refused() -> None:
    for flag in (0x1, 0x41, 0x2000):
        data = patched(photos("cat/1.jpg"), offset=8, value=struct.pack("<H", flag))
        assert refused(data, "'cat/1.jpg': it is encrypted; make the zip without").item == "member 'cat/1.jpg'"


def test_a_nested_archive_is_refused_by_name_and_by_content() -> None:
    inner = photos("cat/1.jpg")
    for name in ("cat/more.zip", "more.TAR.GZ", "cat/x.7z", "x.rar", "x.tar"):
        refused(zipped(("cat/1.jpg", PHOTO), (name, b"x")), "an archive inside")
    tar = bytes(257) + b"ustar" + bytes(250)
    for content in (inner, b"\x1f\x8b\x08...", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"BZh9", b"\xfd7zXZ\x00", tar):
        refused(zipped(("cat/1.jpg", content)), "'cat/1.jpg': it is an archive inside")


def test_a_symlink_is_refused() -> None:
    link = zipfile.ZipInfo("cat/1.jpg")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    refused(zipped((link, b"/etc/passwd")), "'cat/1.jpg': it is a link")


def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = photos("cat/1.jpg", "cat/1.jpg")
    refused(data, "'cat/1.jpg': it is in the archive twice")
    refused(photos("cat/1.jpg", "cat//1.jpg"), "twice")


def test_a_high_ratio_is_refused_as_a_bomb_without_unpacking() -> None:
    refused(zipped(("cat/1.png", bytes(130 << 20))), "'cat/1.png': it unpacks to over 200 times its size")
    assert from_archive(zipped(("cat/1.png", bytes(1 << 20))))  # a small blank picture may compress well


def test_a_member_that_lies_about_its_size_is_read_no_further() -> None:
    honest = zipped(("cat/1.png", bytes(50 << 20)))
    lying = patched(honest, offset=24, value=struct.pack("<I", 1000))
    refused(lying, "'cat/1.png': it is damaged")  # 1,000 bytes are read; their CRC is not the member's
    consistent = patched(lying, offset=16, value=struct.pack("<I", zlib.crc32(bytes(1000))))
    assert len(from_archive(consistent)[0].data()) == 1000  # no more than it declares, whatever lies behind
    boastful = patched(zipped(("cat/1.png", b"12")), offset=24, value=struct.pack("<I", 3))
    refused(boastful, "'cat/1.png': (it is damaged|its size is not)")


def test_overlapping_members_are_refused() -> None:
    data = photos("cat/1.jpg")
    huge = patched(data, offset=20, value=struct.pack("<I", 1 << 20))
    refused(huge, "members of the archive overlap")


def test_the_limits_on_members_and_bytes_hold() -> None:
    data = photos("cat/1.jpg", "cat/2.jpg", "dog/1.jpg")
    refused(data, "more than 2 members", limits=Limits(max_members=2))
    refused(data, "the archive unpacks to .* the limit is 100", limits=Limits(max_total_bytes=100))
    refused(data, "'cat/1.jpg': it unpacks to .* the limit is 10", limits=Limits(max_member_bytes=10))


def test_a_huge_directory_is_refused_before_it_is_listed() -> None:
    data = photos(*(f"cat/{number}.jpg" for number in range(3_000)))
    refused(data, "more than 10 members", limits=Limits(max_members=10))


def test_a_bad_checksum_and_damaged_data_name_the_member() -> None:
    data = bytearray(zipped(("cat/1.jpg", PHOTO), method=zipfile.ZIP_STORED))
    data[60] ^= 0xFF
    refused(bytes(data), "'cat/1.jpg': it is damaged")
    refused(patched(photos("cat/1.jpg"), offset=16, value=b"\0\0\0\0"), "'cat/1.jpg': it is damaged")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_methods_without_a_bounded_reader_are_refused(method: int) -> None:
    refused(zipped(("cat/1.jpg", PHOTO), method=method), "use the ordinary deflate method")


@settings(deadline=None, max_examples=300)
@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_harmless(at: int, value: int) -> None:
    data = bytearray(photos("cat/1.jpg", "dog/2.jpg"))
    data[at % len(data)] = value
    try:
        items = from_archive(bytes(data))
    except InvalidArchive:
        return
    assert all(len(item.data()) <= len(PHOTO) for item in items)


def test_a_blank_scan_is_no_bomb() -> None:
    """A page of one colour packs to a thousandth, as a bomb does; megabytes are none."""
    page = io.BytesIO()
    Image.new("RGB", (1240, 877), "white").save(page, "BMP")
    (item,) = from_archive(zipped(("blank/1.bmp", page.getvalue())))
    assert item.data() == page.getvalue()
