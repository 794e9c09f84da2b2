"""A manifest means one thing however it was written, on whichever machine; what labels images is not overlooked."""

import json
from pathlib import Path

import pytest
from support.zips import zipped

from adapters.errors import InvalidInput, InvalidLabel, InvalidManifest
from service.intake.datasets import sources
from service.intake.datasets.archives import Member

FILES = {f"batch{n // 2}/{n}.jpg": b"\xff\xd8" + bytes([n]) for n in range(4)}
LABELS = dict(zip(FILES, ["cat", "dog", "cat", "dog"], strict=True))
CSV = "file_name,label\n" + "".join(f"{name},{label}\n" for name, label in LABELS.items())
JSONL = "\n".join(json.dumps({"file_name": name, "label": label}) for name, label in LABELS.items())


def read(manifest: bytes | str, files: dict[str, bytes] = FILES) -> dict[str, str]:
    text = manifest.encode() if isinstance(manifest, str) else manifest
    parts = [Member(name, f"{n:064}", lambda: b"") for n, name in enumerate(files)]
    return {i.example.file_name: i.example.label for i in sources.from_manifest(text, parts).items}


def inside(name: str, manifest: bytes | str) -> sources.Received:
    """An archive with folders and this file in it."""
    text = manifest.encode() if isinstance(manifest, str) else manifest
    return sources.from_archive(zipped(*FILES.items(), (name, text)))


def labels(found: sources.Received) -> dict[str, str]:
    return {item.example.file_name: item.example.label for item in found.items}


DIALECTS = {
    "byte order mark": CSV.encode("utf-8-sig"),
    "UTF-16, as Excel's Unicode text": CSV.replace(",", "\t").encode("utf-16"),
    "UTF-16 big-endian": b"\xfe\xff" + CSV.encode("utf-16-be"),
    "UTF-32": CSV.encode("utf-32"),
    "Windows line ends": CSV.replace("\n", "\r\n"),
    "old Mac line ends": CSV.replace("\n", "\r"),
    "semicolons": CSV.replace(",", ";"),
    "Excel's separator line": "sep=;\r\n" + CSV.replace(",", ";"),
    "tabs": CSV.replace(",", "\t"),
    "bars": CSV.replace(",", "|"),
    "spaces after commas, csv-quote-after-space": CSV.replace(",", ", ")
    .replace("cat", '"cat"')
    .replace("dog", '"dog"'),
    "spaces around quotes": CSV.replace(",cat", ' , "cat" ').replace(",dog", '\t, "dog"\u00a0').replace("\t", " "),
    "everything quoted": "\n".join(",".join(f'"{c}"' for c in line.split(",")) for line in CSV.splitlines()),
    "empty cells and rows behind, as spreadsheets leave them": CSV.replace("\n", ",,\n") + ",,,\n\n",
    "other names of columns": CSV.replace("file_name,label", "Filename , Class"),
    "shouted": CSV.replace("file_name,label", "FILE-NAME,LABEL"),
    "backslashes, cli-windows-manifest": CSV.replace("/", "\\"),
    "dots in front": CSV.replace("batch", "./batch"),
    "upper case, as Windows has it": CSV.replace("batch", "BATCH").replace(".jpg", ".JPG"),
    "absolute on Windows": CSV.replace("batch", "C:\\Users\\me\\photos\\batch"),
    "absolute on Linux": CSV.replace("batch", "/home/me/photos/batch"),
    "JSON lines": JSONL,
    "JSON lines with a mark and Windows line ends": JSONL.replace("\n", "\r\n").encode("utf-8-sig"),
    "a JSON list": f"[{','.join(JSONL.splitlines())}]",
    "JSON lines with other keys": JSONL.replace("file_name", "image").replace("label", "Category"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_is_understood(dialect: str) -> None:
    assert read(DIALECTS[dialect]) == LABELS


def test_quotes_hold_what_would_end_a_cell() -> None:
    text = 'file_name,label\n"a, ""b"".jpg", "x, ""y""" \n"c\n.jpg",z\n5" pipe.jpg,p\n'
    files = {'a, "b".jpg': b"", "c\n.jpg": b"", '5" pipe.jpg': b""}
    assert read(text, files) == dict(zip(files, ['x, "y"', "z", "p"], strict=True))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CSV.encode("cp1252").replace(b"cat", b"caf\xe9"), "line 2: it is not UTF-8"),
        (CSV.encode("utf-16-le"), "line 1: it has a NUL"),
        ("file_name,label,\n0,1,2\n", "line 2: it does not have 2 cells"),
        (",file_name,label\n0,batch0/0.jpg,cat\n", "line 2: it does not have 2 cells"),
        ('{"file_name": "batch0/0.jpg", "label": "cat", "label": "dog"}', "line 1: 'label' comes twice"),
        ('{"file_name": "batch0/0.jpg", "label": NaN}', "line 1: a label is NaN"),
        ('{"file_name": "batch0/0.jpg", "label": [1e999]}', "line 1: a label is NaN or infinite"),
        ('{"file_name": "batch0/0.jpg", "label": null}', "line 1: a label is null"),
        ('{"file_name": "\\ud800.jpg", "label": "x"}', "line 1: its file_name holds half a character"),
        (
            '{"part": "batch0/0.jpg", "file_name": "a\\u0000b", "label": "x"}',
            "line 1: its file_name or group has a NUL",
        ),
        ('{"file_name": "batch0/0.jpg", "label": "x", "group": "\\u0000"}', "line 1: its file_name or group has a NUL"),
        ("file_name,label,image\na.jpg,cat,x\n", "'image' is not a column that is known"),
    ],
)
def test_what_cannot_be_read_as_meant_is_refused_with_its_line(text: bytes | str, says: str) -> None:
    with pytest.raises(InvalidManifest, match=says):
        read(text)


@pytest.mark.parametrize("word", ["nan", "NaN", "NaT", "<NA>", "None", "null", "NULL", "#N/A"])
def test_a_word_for_a_missing_value_is_no_label_unless_it_is_meant(word: str) -> None:
    """Of pandas and the like in CSV and in fields of a form; as a JSON string it is what it says, as is `none`."""
    with pytest.raises(InvalidManifest, match=r"line 2: its label is .* where a value is missing"):
        read(CSV.replace("cat", f" {word} "))
    with pytest.raises(InvalidLabel, match=r"image 1: its label is .* as JSON strings") as caught:
        sources.parse_labels(["cat", word, "dog"], "image")
    assert caught.value.item == "image 1"
    assert set(read(JSONL.replace("cat", word)).values()) == {word, "dog"}
    assert sources.parse_labels([json.dumps(["cat", word])]) == ["cat", word]
    assert set(read(CSV.replace("cat", "none").replace("dog", "NA")).values()) == {"none", "NA"}


def test_every_bad_line_is_listed() -> None:
    lines = CSV.splitlines()
    text = "\n".join([*lines[:3], lines[1], "gone.jpg,cat", ",cat", f"{lines[3]}"])
    with pytest.raises(InvalidManifest) as caught:
        read(text)
    assert [problem.item for problem in caught.value.errors] == ["line 4", "line 5", "line 6"]
    with pytest.raises(InvalidManifest) as left:
        read("\n".join(lines[:2]))
    assert [problem.item for problem in left.value.errors] == list(FILES)[1:]


def test_a_name_in_another_case_that_two_files_have_is_refused() -> None:
    files = {"a/1.jpg": b"", "A/1.jpg": b""}
    assert read("file_name,label\nA/1.jpg,x\na/1.jpg,y\n", files) == {"A/1.jpg": "x", "a/1.jpg": "y"}
    with pytest.raises(InvalidManifest, match=r"line 2: no file 'A/1\.JPG'"):
        read("file_name,label\nA/1.JPG,x\na/1.jpg,y\n", files)


def test_a_form_writes_quotes_in_file_names_in_its_own_way() -> None:
    """cli-quote-in-name: browsers and HTTP libraries send %22; the manifest has the name itself, or the same."""
    for name in ('my "best" photo.jpg', "my %22best%22 photo.jpg"):
        row = json.dumps({"file_name": name, "label": "cat"})
        assert read(row, {"my %22best%22 photo.jpg": b""}) == {'my "best" photo.jpg': "cat"}


def test_a_part_may_go_by_another_name_than_its_file() -> None:
    rows = [{"part": str(n), "file_name": f'"{n}"\n%22.jpg', "label": "cat"} for n in range(2)]
    text = "\n".join(map(json.dumps, rows))
    assert list(read(text, {"0": b"", "1": b""})) == ['"0"\n%22.jpg', '"1"\n%22.jpg']


# -- in an archive, under any name


@pytest.mark.parametrize("name", ["manifest.csv", "Manifest.csv", "MANIFEST.CSV", "manifest.tsv", "Manifest.txt"])
def test_a_manifest_is_one_in_any_case_and_with_any_suffix_of_a_table(name: str) -> None:
    """manifest-capital-m"""
    found = inside(name, CSV.replace(",", "\t") if name.endswith(("tsv", "txt")) else CSV)
    assert labels(found) == LABELS and found.understood["manifest"] == name


@pytest.mark.parametrize("name", ["Manifest.JSONL", "manifest.ndjson", "manifest.json"])
def test_a_manifest_may_be_json(name: str) -> None:
    assert labels(inside(name, JSONL)) == LABELS


@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv", "train.csv", "_annotations.CSV", "list.txt"])
def test_a_table_of_files_and_labels_is_the_manifest_whatever_it_is_called(name: str) -> None:
    """labels-csv-ignored"""
    found = inside(name, CSV.replace("file_name,label", "filename,class"))
    assert labels(found) == LABELS and found.understood["manifest"] == name


@pytest.mark.parametrize(
    ("name", "text", "says", "item"),
    [
        ("labels.csv", CSV.replace("batch0/", "").replace("batch1/", ""), "line 2: no file '0.jpg'", "line 2"),
        ("labels.csv", CSV.replace("label\n", "label,width\n").replace("cat\n", "cat,3\n").replace("dog\n", "dog,3\n"),
         "'width' is not a column", "line 1"),
        ("_classes.csv", "filename,cat,dog\nbatch0/0.jpg,1,0\nbatch0/1.jpg,0,1\nbatch1/2.jpg,1,0\nbatch1/3.jpg,0,1\n",
         "it has a column for each class", "_classes.csv"),
        ("labels.txt", "batch0/0.jpg cat\nbatch0/1.jpg dog\nbatch1/2.jpg cat\nbatch1/3.jpg dog\n", "it has no header",
         "labels.txt"),
        ("labels.csv", "0.jpg,cat\n1.jpg,dog\n2.jpg,cat\n3.jpg,dog\n", "it has no header", "labels.csv"),
        ("val.txt", "0.jpg 281\n1.jpg 282\n2.jpg 281\n3.jpg 282\n", "it has no header", "val.txt"),
        ("train.csv", "id,label\n0,cat\n1,dog\n2,cat\n3,dog\n", "no column of it is called file_name", "train.csv"),
        ("data.csv", "img;species\n0.jpg;cat\n1.jpg;dog\n2.jpg;cat\n3.jpg;dog\n", "no column of it is called label",
         "data.csv"),
        ("labels.json", '{"0.jpg": "cat", "1.jpg": "dog", "2.jpg": "cat", "3.jpg": "dog"}', "JSON in another form",
         "labels.json"),
        ("about/labels.csv", CSV, "does not lie above the files", "about/labels.csv"),
    ],
)  # fmt: skip
def test_a_table_that_labels_images_in_another_way_is_refused_by_name(
    name: str, text: str, says: str, item: str
) -> None:
    """Roboflow's one column a class, lists without a header, Kaggle's ids: never classes batch0 and batch1 instead."""
    with pytest.raises(InvalidInput, match=says) as caught:
        inside(name, text)
    assert caught.value.item == item and item in caught.value.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "file_name,label\nbatch0/0.jpg,batch0\nbatch1/2.jpg,batch1\n"),  # says what the folders say
        ("metadata.csv", "file_name,text\n0.jpg,a cat on a mat\n1.jpg,a dog\n2.jpg,another cat\n3.jpg,a small dog\n"),
        ("sizes.csv", "file_name,width\n0.jpg,640\n1.jpg,640\n2.jpg,640\n3.jpg,640\n"),
        ("classes.txt", "0 cat\n1 dog\n"),
        ("notes.txt", "0.jpg is blurred, 1.jpg is not\n"),
        ("other.csv", "filename,class\nx.jpg,cat\ny.jpg,dog\n"),
        ("broken.csv", '"'),
        ("broken.json", "{"),
        ("deep.json", "[" * 100_000),
        ("bytes.csv", b"\xff\xfe\x00"),
        ("empty.txt", ""),
    ],
)
def test_a_table_that_says_nothing_of_labels_is_passed_over_with_a_word(name: str, text: bytes | str) -> None:
    found = inside(name, text)
    assert set(labels(found).values()) == {"batch0", "batch1"} and name in found.passed_over


def test_two_tables_that_may_be_the_manifest_are_refused() -> None:
    with pytest.raises(InvalidManifest, match=r"more than one manifest \(a.csv, b.csv\)"):
        sources.from_archive(zipped(*FILES.items(), ("a.csv", CSV.encode()), ("b.csv", CSV.encode())))


def test_what_a_manifest_names_is_never_passed_over() -> None:
    junk = ["._0.jpg", "@eaDir/1.jpg", ".hidden.jpg", "LICENSE", "notes.md", "a.csv"]
    text = "file_name,label\n" + "".join(f"{name},cat\n" for name in junk)
    found = sources.from_archive(
        zipped(*((name, name.encode()) for name in [*junk, "Thumbs.db"])), manifest=text.encode()
    )
    assert sorted(labels(found)) == sorted(junk) and set(found.passed_over) == {"Thumbs.db"}


# -- from a disk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "LIST.TXT", "list.jsonl", "list.ndjson", "list.json"])
def test_a_path_to_a_table_is_a_manifest_beside_its_images(name: str, folder: Path) -> None:
    """cli-tsv-manifest"""
    text = JSONL if "json" in name else CSV.replace(",", "\t" if name.endswith(("tsv", "TXT")) else ",")
    (folder / name).write_text(text)
    assert labels(sources.from_path(folder / name)) == LABELS


@pytest.mark.parametrize("dialect", [d for d in DIALECTS if "absolute" not in d and "JSON" not in d])
def test_a_dialect_is_understood_from_a_disk_too(dialect: str, folder: Path) -> None:
    text = DIALECTS[dialect]
    (folder / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert set(labels(sources.from_path(folder / "list.csv")).values()) == {"cat", "dog"}


def test_a_manifest_on_a_disk_finds_decomposed_accents_and_files_elsewhere(folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "cafe\u0301.jpg").write_bytes(b"x")
    rows = f"file_name,label\n../caf\u00e9.jpg,a\n{folder}/batch0/0.jpg,b\n../batch1/../batch1/2.jpg,c\n"
    (folder / "lists" / "list.csv").write_text(rows)
    found = sources.from_path(folder / "lists" / "list.csv")
    assert [item.data() for item in found.items] == [b"x", FILES["batch0/0.jpg"], FILES["batch1/2.jpg"]]
