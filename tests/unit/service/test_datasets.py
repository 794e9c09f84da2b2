"""Labeled uploads become items, whatever their layout; an unsafe or unclear one is refused, naming the member."""

import io
import json
import stat
import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adapters.errors import InvalidArchive, InvalidInput, InvalidLabel, InvalidManifest
from adapters.types import Example
from service.intake.datasets import items as item_checks
from service.intake.datasets import manifests, passed_over
from service.intake.datasets import sources as reading
from service.intake.datasets.archives import Limits, Member
from service.intake.multipart import Form
from service.intake.uploads import Upload


def png(width: int = 8, height: int = 8, color: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), color).save(buffer, "PNG")
    return buffer.getvalue()


PHOTO = png()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data, compress_type=method)
    return buffer.getvalue()


def photos(*names: str) -> bytes:
    return zipped(*((name, PHOTO) for name in names))


def labels(items: list[item_checks.Item]) -> list[tuple[str, str, str | None]]:
    return [(item.example.file_name, item.example.label, item.example.split) for item in items]


def sources(*names: str | None) -> list[Member]:
    return [Member(name or "", f"{n:064}", lambda n=n: bytes([n])) for n, name in enumerate(names)]


def from_labels(*arguments: object) -> list[item_checks.Item]:
    return reading.from_labels(*arguments).items  # type: ignore[arg-type]


def from_manifest(*arguments: object) -> list[item_checks.Item]:
    return reading.from_manifest(*arguments).items  # type: ignore[arg-type]


def from_archive(data: bytes, **options: object) -> list[item_checks.Item]:
    return reading.from_archive(data, **options).items  # type: ignore[arg-type]


def from_folder(path: Path) -> list[item_checks.Item]:
    return reading.from_folder(path).items


def from_path(path: Path) -> list[item_checks.Item]:
    return reading.from_path(path).items


def refused(data: bytes, says: str, **options: object) -> InvalidArchive:
    with pytest.raises(InvalidArchive, match=says) as caught:
        from_archive(data, **options)  # type: ignore[arg-type]
    return caught.value


# -- labels


def test_labels_come_one_by_one_or_as_one_json_array() -> None:
    assert reading.parse_labels(["cat", "dog"]) == ["cat", "dog"]
    assert reading.parse_labels([' ["cat", "dög", 3, 1.5, ["a", "b"]]']) == ["cat", "dög", "3", "1.5", '["a", "b"]']
    assert reading.parse_labels(["cat"]) == ["cat"] and reading.parse_labels([]) == []
    assert reading.parse_labels(["[a", "b]"]) == ["[a", "b]"]


@pytest.mark.parametrize("text", ["[1", "[" * 100_000, '["a"] x'])
def test_a_broken_json_array_of_labels_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="JSON array"):
        reading.parse_labels([text])


def test_labels_without_meaning_are_refused() -> None:
    with pytest.raises(InvalidInput, match="image 1: a label is null") as caught:
        reading.parse_labels(['["a", null]'])
    assert caught.value.item == "image 1"
    with pytest.raises(InvalidLabel, match="half a character"):
        reading.parse_labels(['["\\ud800"]'])


def test_images_and_labels_are_paired_in_order() -> None:
    items = from_labels(sources("a.jpg", None), ["cat", "x" * 1_000_000])
    assert items[0].example == Example("0" * 64, "cat", "a.jpg") and items[0].data() == b"\x00"
    assert items[1].example.file_name == "" and len(items[1].example.label) == 1_000_000


def test_different_numbers_of_images_and_labels_are_both_named() -> None:
    with pytest.raises(InvalidInput, match=r"3 images came with 1 labels; image 1 \(b.jpg\) has none") as caught:
        from_labels(sources("a.jpg", "b.jpg", "c.jpg"), ["cat"])
    assert caught.value.item == "image 1 (b.jpg)"
    with pytest.raises(InvalidInput, match=r"1 images came with 2 labels; label 1 \('dog'\) has no image"):
        from_labels(sources("a.jpg"), ["cat", "dog"])
    with pytest.raises(InvalidInput, match="no images were sent"):
        from_labels([], ["cat"])


# -- layouts


def test_an_archive_has_one_folder_per_class() -> None:
    items = from_archive(photos("dog/2.jpg", "cat/1.jpg", "hund ä/ö.png"))
    assert labels(items) == [("cat/1.jpg", "cat", None), ("dog/2.jpg", "dog", None), ("hund ä/ö.png", "hund ä", None)]
    assert items[0].data() == PHOTO


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train/cat/1.jpg", "val/cat/2.jpg"], [("cat", "train"), ("cat", "val")]),
        (["Valid/a/1.jpg", "validation/b/1.jpg", "TEST/c/1.jpg"], [("c", "test"), ("a", "val"), ("b", "val")]),
        (["photos/cat/1.jpg", "photos/dog/1.jpg"], [("cat", None), ("dog", None)]),
        (["photos/train/cat/1.jpg", "photos/test/cat/1.jpg"], [("cat", "test"), ("cat", "train")]),
        (["photos/cat/1.jpg"], [("cat", None)]),
        (["train/cat/1.jpg"], [("cat", "train")]),
        (["cat/1.jpg"], [("cat", None)]),
        (["valid/1.jpg", "invalid/1.jpg"], [("invalid", None), ("valid", None)]),  # two classes, not a split
        (["cat\\1.jpg", "./dog//2.jpg"], [("cat", None), ("dog", None)]),
        (["9:30/1.jpg"], [("9:30", None)]),
        (["cat/0001"], [("cat", None)]),  # no extension: the bytes will tell
    ],
)
def test_splits_and_wrappers_are_understood_in_a_zip_and_on_disk(
    names: list[str], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    items = from_archive(photos(*names))
    assert [(item.example.label, item.example.split) for item in items] == expected
    for name in names:
        path = tmp_path / name.replace("\\", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PHOTO)
    assert labels(from_path(tmp_path)) == labels(items)
    assert [item.example.sha256 for item in from_folder(tmp_path)] == [i.example.sha256 for i in items]


def test_what_tools_leave_in_an_archive_is_passed_over() -> None:
    junk = ["__MACOSX/cat/._1.jpg", ".DS_Store", "cat/.hidden.jpg", "cat/Thumbs.db", "desktop.ini", "README.md"]
    junk += ["LICENSE", "cat/notes.txt", "labels.csv", "meta/info.json", "__MACOSX/x.zip"]
    members = [(name, b"junk") for name in junk] + [("cat/", b""), ("cat/1.jpg", PHOTO)]
    assert labels(from_archive(zipped(*members))) == [("cat/1.jpg", "cat", None)]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["1.jpg", "cat/1.jpg"], "'1.jpg' lies in no class folder; the layout is"),
        (["train/1.jpg", "test/2.jpg"], "'test/2.jpg' lies in no class folder"),
        (["train/cat/1.jpg", "val/2.jpg"], "'val/2.jpg' lies in no class folder"),
        (["cat/indoor/1.jpg", "cat/outdoor/1.jpg"], "everything lies in the folder 'cat'"),
        (["cat/1.jpg", "val/cat/2.jpg"], "the folder 'cat' stands beside the split folder 'val'"),
        (["photos/a/b/1.jpg", "photos/c/1.jpg"], "'a/b/1.jpg' lies too deep"),
        (["cat/outdoors/1.jpg", "cat/2.jpg"], "'cat/outdoors/1.jpg' lies too deep"),
        (["cat/more.tar.gz", "cat/1.jpg"], "'cat/more.tar.gz' is an archive"),
        (["notes.txt"], "no images"),
        ([], "no images"),
    ],
)
def test_an_unclear_layout_names_the_file(names: list[str], says: str, tmp_path: Path) -> None:
    refused(photos(*names), says)
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PHOTO)
    with pytest.raises(InvalidInput, match=says):
        from_folder(tmp_path)


classes = st.text(st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="/\\:"), min_size=1).filter(
    lambda name: not passed_over.is_system_folder(name) and not manifests.split_name(name) and name not in (".", "..")
)


@settings(deadline=None)
@given(st.dictionaries(classes.map(lambda c: unicodedata.normalize("NFC", c)), st.binary(max_size=50), min_size=1))
def test_any_class_name_and_any_bytes_survive_the_archive(content: dict[str, bytes]) -> None:
    members = [(f"{name}/1.jpg", b"\xff\xd8" + data) for name, data in content.items()]
    items = from_archive(zipped(*members, method=zipfile.ZIP_STORED))
    assert {item.example.label: item.data() for item in items} == {c: b"\xff\xd8" + d for c, d in content.items()}


def test_decomposed_accents_are_composed() -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    assert labels(from_archive(photos(f"{decomposed}/1.jpg")))[0][1] == "café"


# -- unsafe archives


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


# -- manifests


CSV = "file_name,label,split,group\na.jpg,cat,train,g1\nb.jpg,dog,,\nc.jpg,cat,validation,\n"
JSONL = (
    '{"file_name": "a.jpg", "label": "cat", "split": "train", "group": "g1"}\n\n'
    '{"file_name": "b.jpg", "label": "dog"}\n{"label": "cat", "split": "val", "file_name": "./c.jpg"}'
)


@pytest.mark.parametrize(
    "text",
    [
        CSV.encode(),
        CSV.encode("utf-8-sig"),
        CSV.replace("\n", "\r\n").encode(),
        CSV.replace(",", ";").encode(),
        CSV.replace(",", "\t").encode(),
        JSONL.encode(),
        JSONL.encode("utf-8-sig"),
        memoryview(CSV.encode()),
    ],
)
def test_a_manifest_says_label_split_and_group(text: bytes) -> None:
    items = from_manifest(text, sources("c.jpg", "a.jpg", "b.jpg"))
    assert labels(items) == [("a.jpg", "cat", "train"), ("b.jpg", "dog", None), ("c.jpg", "cat", "val")]
    assert [item.example.group for item in items] == ["g1", None, None]
    assert items[0].data() == b"\x01"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the manifest is empty"),
        ("a.jpg,cat\n", "line 1: it has no 'file_name'; the columns are"),
        ("file_name\na.jpg\n", "line 1: it has no 'label'"),
        ("file_name,label,slit\na.jpg,cat,test\n", "line 1: 'slit' is not a column"),
        ("file_name,label,label\na.jpg,cat,x\n", "line 1: a column comes twice"),
        ("file_name,label\na.jpg,cat\nb.jpg\n", "line 3: it does not have 2 cells"),
        ("file_name,label\na.jpg,cat,x\n", "line 2: it does not have 2 cells"),
        ("file_name,label\n,cat\n", "line 2: its file_name is empty"),
        ("file_name,label\nx.jpg,cat\n", "line 2: no file 'x.jpg' came with the manifest"),
        ("file_name,label\na.jpg,cat\n./a.jpg,cat\n", "line 3: './a.jpg' is listed twice"),
        ("file_name,label,split\na.jpg,cat,holdout\n", "line 2: the split 'holdout' is not one of train, val, test"),
        ('file_name,label\na.jpg,"cat\n', "line 2: it cannot be read as CSV"),
        ("file_name,label\na.jpg,cat\n", r"does not name 'b.jpg'; add a line for it"),
        ('{"file_name": "a.jpg"}', "line 1: it has no 'label'"),
        ('{"file_name": "a.jpg", "label": null}', "line 1: a label is null"),
        ('{"file_name": 3, "label": "x"}', "line 1: its file_name is empty"),
        ('{"file_name": "a.jpg", "label": "cat"}\n{', "line 2: it is not JSON"),
        ('{"file_name": "a.jpg", "label": "cat"}\n[1]', "line 2: it is not a JSON object"),
        ('{"file_name": "a.jpg", "label": "\\ud800"}', "line 1: a label holds half a character"),
        ('{"file_name": "a.jpg", "label": "x", "split": 3}', "line 1: the split 3"),
    ],
)
def test_a_bad_manifest_names_the_line(text: str, says: str) -> None:
    with pytest.raises(InvalidManifest, match=says) as caught:
        from_manifest(text.encode(), sources("a.jpg", "b.jpg"))
    if says.startswith("line"):
        assert caught.value.item == says.split(":")[0]


def test_a_manifest_that_is_not_utf8_names_the_line() -> None:
    with pytest.raises(InvalidManifest, match="line 2: it is not UTF-8"):
        from_manifest("file_name,label\nä.jpg,x\n".encode("latin-1"), sources("a.jpg"))


def test_files_that_a_manifest_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(InvalidManifest, match=r"two files are called 'a\.jpg'"):
        from_manifest(CSV.encode(), sources("a.jpg", "a.jpg"))
    with pytest.raises(InvalidManifest, match="without a name"):
        from_manifest(CSV.encode(), sources("a.jpg", None))


def test_a_long_label_and_labels_that_are_not_text_pass_through_a_manifest() -> None:
    text = "file_name,label\na.jpg," + "x" * 1_000_000
    assert len(from_manifest(text.encode(), sources("a.jpg"))[0].example.label) == 1_000_000
    rows = [{"file_name": "a.jpg", "label": ["x", "y"]}, {"file_name": "b.jpg", "label": 1.5, "group": 7}]
    items = from_manifest("\n".join(map(json.dumps, rows)).encode(), sources("a.jpg", "b.jpg"))
    assert [(i.example.label, i.example.group) for i in items] == [('["x", "y"]', None), ("1.5", "7")]


@pytest.mark.parametrize("prefix", ["", "photos/"])
@pytest.mark.parametrize("wrapper", ["photos/", "photos/raw/"])
def test_a_manifest_names_files_of_an_archive_with_or_without_its_wrapper(prefix: str, wrapper: str) -> None:
    rest = wrapper.removeprefix("photos/")
    manifest = f"file_name,label\n{prefix}{rest}1.jpg,cat\n{prefix}{rest}2.jpg,dog\n".encode()
    items = from_archive(photos(f"{wrapper}1.jpg", f"{wrapper}2.jpg"), manifest=manifest)
    assert [item.example.label for item in items] == ["cat", "dog"]


@pytest.mark.parametrize("wrapper", ["", "photos/"])
@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_a_manifest_inside_rules_over_folders(wrapper: str, name: str, tmp_path: Path) -> None:
    text = "file_name,label\nx/1.jpg,cat\n2.jpg,dog\n"
    if name.endswith("jsonl"):
        text = '{"file_name": "x/1.jpg", "label": "cat"}\n{"file_name": "2.jpg", "label": "dog"}'
    members = [(wrapper + name, text.encode()), (wrapper + "x/1.jpg", PHOTO), (wrapper + "2.jpg", PHOTO)]
    assert [item.example.label for item in from_archive(zipped(*members))] == ["cat", "dog"]
    for member, data in members:
        (tmp_path / member).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / member).write_bytes(data)
    assert [item.example.label for item in from_folder(tmp_path)] == ["cat", "dog"]
    (tmp_path / "unlisted.txt").write_bytes(b"not an image")
    assert [item.example.label for item in from_path(tmp_path / wrapper / name)] == ["cat", "dog"]


def test_two_manifests_inside_are_refused() -> None:
    members = [("manifest.csv", CSV.encode()), ("manifest.jsonl", JSONL.encode()), ("a.jpg", PHOTO)]
    with pytest.raises(InvalidManifest, match="more than one manifest"):
        from_archive(zipped(*members))


# -- paths, fingerprint, probe


def test_a_path_may_be_a_zip_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(photos("cat/1.jpg"))
    items = from_path(tmp_path / "data.zip")
    assert labels(items) == [("cat/1.jpg", "cat", None)] and items[0].data() == PHOTO
    with pytest.raises(InvalidInput, match="no such file or folder"):
        from_path(tmp_path / "none")
    (tmp_path / "empty.zip").write_bytes(b"")
    (tmp_path / "m.csv").write_text("file_name,label\nnone.jpg,cat\n")
    with pytest.raises(InvalidArchive, match="not a zip"):
        from_path(tmp_path / "empty.zip")
    with pytest.raises(InvalidManifest, match=r"line 2: no file 'none\.jpg'"):
        from_path(tmp_path / "m.csv")


def test_a_fingerprint_depends_on_every_field_and_every_item_and_on_nothing_else() -> None:
    fields = {"head": "pets", "seed": 0, "hyperparameters": {"a": 1, "b": 2}}
    items = from_labels(sources("a.jpg", "b.jpg"), ["cat", "dog"])
    same = from_labels(sources("a.jpg", "b.jpg"), ["cat", "dog"])
    base = item_checks.fingerprint(fields, items)
    assert base == item_checks.fingerprint({"hyperparameters": {"b": 2, "a": 1}, "seed": 0, "head": "pets"}, same)
    others = [
        item_checks.fingerprint(fields | {"seed": 1}, items),
        item_checks.fingerprint(fields, items[:1]),
        item_checks.fingerprint(fields, from_labels(sources("a.jpg", "b.jpg"), ["cat", "cat"])),
        item_checks.fingerprint(fields, from_labels(sources("a.jpg", "c.jpg"), ["cat", "dog"])),
        item_checks.fingerprint(fields, from_labels(sources("a.jpg", "b.jpg")[::-1], ["cat", "dog"])),
    ]
    assert len({base, *others}) == 6


def test_an_upload_over_http_becomes_items() -> None:
    """The parts of a form serve as files as they are; items outlive the form that they came in."""
    form = Form(b"b", "utf-8", 10, 1_000)
    for name, data in [("cat/1.jpg", PHOTO), ("data.zip", photos("dog/2.jpg"))]:
        head = f'--b\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n\r\n'
        form.feed(head.encode() + data + b"\r\n")
    form.feed(b"--b--\r\n")
    with Upload(form.finish(), form.sink) as upload:
        photo, archive = upload.files("images")
        items = from_labels([photo], ["cat"]) + from_archive(archive.data())
        assert items[0].data() == PHOTO and items[0].example.sha256 == photo.sha256
    assert labels(items) == [("cat/1.jpg", "cat", None), ("dog/2.jpg", "dog", None)]
    assert items[1].data() == PHOTO


def test_a_blank_scan_is_no_bomb() -> None:
    """A page of one colour packs to a thousandth, as a bomb does; megabytes are none."""
    page = io.BytesIO()
    Image.new("RGB", (1240, 877), "white").save(page, "BMP")
    (item,) = from_archive(zipped(("blank/1.bmp", page.getvalue())))
    assert item.data() == page.getvalue()
