"""A manifest says what each file is, beside images, beside an archive and inside one; a bad one names the line."""

import json
from pathlib import Path

import pytest
from support.uploads import (
    CSV,
    JSONL,
    PHOTO,
    from_archive,
    from_folder,
    from_manifest,
    from_path,
    labels,
    photos,
    sources,
    zipped,
)

from adapters.errors import InvalidManifest


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
