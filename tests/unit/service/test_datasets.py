"""Labeled uploads become items, whatever their layout; an unclear one is refused, naming the member."""

import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.uploads import (
    PHOTO,
    from_archive,
    from_folder,
    from_labels,
    from_path,
    labels,
    photos,
    refused,
    sources,
    zipped,
)

from adapters.errors import InvalidArchive, InvalidInput, InvalidLabel, InvalidManifest
from adapters.types import Example
from service.intake.datasets import items as item_checks
from service.intake.datasets import manifests, passed_over
from service.intake.datasets import sources as reading
from service.intake.multipart import Form
from service.intake.uploads import Upload


def test_labels_come_one_by_one_or_as_one_json_array() -> None:
    assert reading.parse_labels(["cat", "dog"]) == ["cat", "dog"]
    assert reading.parse_labels([' ["cat", "dög", 3, 1.5, ["a", "b"]]']) == ["cat", "dög", "3", "1.5", '["a", "b"]']
    assert reading.parse_labels(["cat"]) == ["cat"] and reading.parse_labels([]) == []
    assert reading.parse_labels(["[a", "b]"]) == ["[a", "b]"]
    with pytest.raises(InvalidInput, match="in labels 'size' comes twice"):
        reading.parse_labels(['[{"size": 1, "size": 2}]'])


@pytest.mark.parametrize("text", ["[1", "[" * 100_000, '["a"] x'])
def test_a_broken_json_array_of_labels_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="JSON array"):
        reading.parse_labels([text])


def test_labels_without_meaning_are_refused() -> None:
    with pytest.raises(InvalidInput, match="input 1: a label is null") as caught:
        reading.parse_labels(['["a", null]'])
    assert caught.value.item == "input 1"
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
