"""What labels the images of an archive or a folder is never passed over; what only tells of them is no hindrance."""

import json
from pathlib import Path

import pytest
from support.zips import zipped

from adapters.errors import InvalidManifest
from service.intake.datasets import other_tables, plain_yaml, sources

BATCHES = {f"batch{n // 4}/{n}.jpg": b"\xff\xd8" + bytes([n]) for n in range(8)}
CLASSES = {f"{'cat' if n < 4 else 'dog'}/{n}.jpg": b"\xff\xd8" + bytes([n]) for n in range(8)}
LABELS = ["cat", "dog"] * 4


def table(header: str, *columns: list[object], suffix: str = "", mark: str = ",") -> str:
    rows = [[f"{n}{suffix}", *cells] for n, cells in enumerate(zip(*columns, strict=True))]
    return "\n".join([header.replace(",", mark), *(mark.join(map(str, row)) for row in rows)])


COCO = {
    "images": [{"id": 50 + n, "file_name": f"{n}.jpg", "width": 640, "height": 480} for n in range(8)],
    "annotations": [{"id": n, "image_id": 50 + n, "category_id": n % 2, "bbox": [0, 0, n, n]} for n in range(8)],
    "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
}
FILES = {"cat": [f"{n}.jpg" for n in range(0, 8, 2)], "dog": [f"{n}.jpg" for n in range(1, 8, 2)]}
PAIRS = [[f"{n}.jpg", label] for n, label in enumerate(LABELS)]
STUDIO = [
    {"id": n, "data": {"image": f"/data/upload/{n}.jpg"},
     "annotations": [{"result": [{"value": {"choices": [label]}, "type": "choices"}]}]}
    for n, label in enumerate(LABELS)
]  # fmt: skip
VIA = {
    f"{n}.jpg123": {"filename": f"{n}.jpg", "size": 123, "file_attributes": {"animal": label}}
    for n, label in enumerate(LABELS)
}
FLAGS = [[1.0, 0.0] * 4, [0.0, 1.0] * 4]
LABELING = {
    "Kaggle's ids and breeds": ("labels.csv", table("id,breed", LABELS)),
    "ids and any other word": ("train.csv", table("image,species", LABELS)),
    "codes and numbers": ("train.csv", table("id_code,diagnosis", [0, 4, 2, 3, 0, 1, 2, 0])),
    "ISIC's column a class": ("gt.csv", table("image,MEL,NV", *FLAGS)),
    "bare names, semicolons, absolute": ("a.csv", table("id;art", LABELS, mark=";").replace("\n", "\n/home/me/")),
    "numbers for each": ("y.csv", table("img,y", [0, 1, 0, 1, 1, 0, 1, 0], suffix=".jpg")),
    "grades, all of them different": ("y.csv", table("img,grade", [3, 1, 0, 9, 4, 7, 2, 5], suffix=".jpg")),
    "numbers to learn, all of them different": ("y.csv", table("img,angle", [0.1 * n * n for n in range(8)])),
    "three columns": ("data.csv", table("img,species,age", LABELS, range(8), suffix=".jpg")),
    "three columns in another language": ("data.csv", table("bild,art,breite", LABELS, [640, 480] * 4, suffix=".jpg")),
    "a row number before them": ("d.csv", table(",img,vogel", [f"{n}.jpg" for n in range(8)], LABELS)),
    "a title above": ("a.csv", "Photos of 2020\n\n" + table("img,vogel", LABELS, suffix=".jpg")),
    "three columns without a header": ("a.csv", table("", LABELS, range(8), suffix=".jpg").strip()),
    "CelebA's list": ("list.txt", "8\nBald Smiling\n" + "\n".join(f"{n}.jpg  {2 * (n % 2) - 1} -1" for n in range(8))),
    "a table of a README": ("README.md", table("| f,kind2", LABELS, suffix=".jpg", mark=" | ").replace("\n", "\n| ")),
    "in a folder of its own": ("about/labels.csv", table("id,breed", LABELS)),
    "COCO": ("_annotations.coco.json", json.dumps(COCO)),
    "COCO, too large to be read": ("coco.json", json.dumps(COCO | {"info": "x" * (1 << 20)})),
    "StyleGAN": ("dataset.json", json.dumps({"labels": [[one, n % 2] for n, one in enumerate(BATCHES)]})),
    "classes with files": ("labels.json", json.dumps(FILES)),
    "classes with files, further in": ("l.json", json.dumps({"version": 1, "data": {"classes": FILES}})),
    "objects with files": ("labels.json", json.dumps([{"name": k, "files": v} for k, v in FILES.items()])),
    "pairs": ("labels.json", json.dumps(PAIRS)),
    "ids as keys": ("labels.json", json.dumps({str(n): label for n, label in enumerate(LABELS)})),
    "objects by file": ("labels.json", json.dumps({f"{n}.jpg": {"vogel": v} for n, v in enumerate(LABELS)})),
    "columns": ("l.json", json.dumps({"f": [one for one, _ in PAIRS], "l": LABELS})),
    "pandas": ("l.json", json.dumps({"f": {n: f"{n}.jpg" for n in range(8)}, "l": dict(enumerate(LABELS))})),
    "Label Studio": ("export.json", json.dumps(STUDIO)),
    "VIA": ("via.json", json.dumps(VIA)),
    "objects a line": ("l.jsonl", "\n".join(json.dumps({"img": a, "meta": {"kind2": b}}) for a, b in PAIRS)),
    "YAML": ("labels.yaml", "# by hand\n" + "\n".join(f"{one}: {label}" for one, label in PAIRS)),
    "YAML, classes with files": ("l.yml", "".join(f"{k}:\n- '" + "'\n- '".join(v) + "'\n" for k, v in FILES.items())),
    "YAML, objects": ("l.yaml", "images:\n" + "".join(f"  - file: {one}\n    art: {v}  # seen\n" for one, v in PAIRS)),
    "YAML, in brackets": ("l.yaml", "data:\n" + "".join(f"  - [{one}, {label}]\n" for one, label in PAIRS)),
    "CVAT": ("cvat.xml", "".join(f'<image name="{one}"><tag label="{v}"/></image>' for one, v in PAIRS)),
}  # fmt: skip


def arranged(name: str, text: str, files: dict[str, bytes] = BATCHES) -> sources.Received:
    return sources.from_archive(zipped(*files.items(), (name, text.encode())))


@pytest.mark.parametrize("case", LABELING)
def test_a_table_of_any_form_that_labels_the_images_is_refused_by_its_name(case: str, tmp_path: Path) -> None:
    """Otherwise batch0 and batch1 would be the classes. In an archive and on a disk."""
    name, text = LABELING[case]
    with pytest.raises(InvalidManifest, match=r"labels files that came with it, but .*file_name") as caught:
        arranged(name, text)
    assert caught.value.item == name and "leave it out" in caught.value.message
    for file, data in {**BATCHES, name: text.encode()}.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(data)
    with pytest.raises(InvalidManifest) as again:
        sources.from_path(tmp_path)
    assert again.value.message == caught.value.message


SAME = [
    ("labels.csv", table("id,species", ["cat"] * 4 + ["dog"] * 4)),
    ("labels.csv", table("img,Species,target", ["Cat"] * 4 + ["Dog"] * 4, [0] * 4 + [1] * 4, suffix=".jpg")),
    ("dataset.json", json.dumps({"labels": [[one, int("dog" in one)] for one in CLASSES]})),
    ("labels.json", json.dumps({k: [one for one in CLASSES if k in one] for k in ("cat", "dog")})),
    ("labels.yaml", "\n".join(f"{one}: {one.partition('/')[0]}" for one in CLASSES)),
]


@pytest.mark.parametrize(("name", "text"), SAME)
def test_a_table_that_says_what_the_folders_say_is_no_hindrance(name: str, text: str) -> None:
    found = arranged(name, text, CLASSES)
    assert {item.example.label for item in found.items} == {"cat", "dog"} and name in found.passed_over
    with pytest.raises(InvalidManifest, match="labels files"):
        arranged(name, text.replace("cat", "new").replace("Cat", "new").replace("0", "1", 3), CLASSES)


NAMES = [f"{n}.jpg" for n in range(8)]
HASHES = [f"{n * 7919:064x}" for n in range(8)]
EXIF = "SourceFile,Make,Model,ISO,Flash,WhiteBalance,MeteringMode,DateTimeOriginal"
ABOUT = {
    "names in a README": ("README.md", "# Photos\n" + "".join(f"- {n}: a photo of {n}\n" for n in NAMES)),
    "names in a text": ("notes.txt", "\n".join(f"{n} is one of the photos" for n in NAMES)),
    "a list of names": ("files.txt", "\n".join(NAMES)),
    "a list of names with a header": ("files.csv", "file_name\n" + "\n".join(NAMES)),
    "splits": ("splits.csv", table("image,split", ["train", "test"] * 4, suffix=".jpg")),
    "splits of their own": ("splits.json", json.dumps({"train": NAMES[:6], "test": NAMES[6:]})),
    "folds": ("folds.csv", table("image,fold", [0, 1] * 4, suffix=".jpg")),
    "patients": ("patients.csv", table("image,patient_id", ["a", "b"] * 4, suffix=".jpg")),
    "attribution": (
        "attribution.csv",
        table("file,url,author,license", [f"https://x.org/{n}" for n in range(8)], ["Ann", "Bo"] * 4,
              ["CC0", "CC-BY"] * 4, suffix=".jpg"),
    ),
    "links under any header": ("a.csv", table("id,where", [f"https://x.org/{n}" for n in range(8)])),
    "sizes": ("sizes.csv", table("image,width,height", [640, 480] * 4, [480, 640] * 4, suffix=".jpg")),
    "sizes without a header": ("sizes.txt", "\n".join(f"{48_000 + 31 * n} {one}" for n, one in enumerate(NAMES))),
    "checksums": ("MD5SUMS.txt", "\n".join(f"{h[:32]}  {one}" for h, one in zip(HASHES, NAMES, strict=True))),
    "checksums behind": ("sums.csv", table("name,sum", HASHES, suffix=".jpg")),
    "dates": ("dates.csv", table("img,when", [f"2020:01:{n + 1:02} 10:00:00" for n in range(8)], suffix=".jpg")),
    "numbers of rows": ("rows.csv", table("img,nr", range(8), suffix=".jpg")),
    "captions": ("captions.json", json.dumps({n: f"a photo of what was seen on day {n}" for n in NAMES})),
    "titles": ("meta.jsonl", "\n".join(json.dumps({"file_name": n, "text": f"a cat, {n}"}) for n in NAMES)),
    "EXIF": ("exif.csv", table(EXIF, ["C", "N"] * 4, ["x", "y"] * 4, [100, 200] * 4, [0, 1] * 4, ["a", "b"] * 4,
                               ["s", "m"] * 4, ["2020:01:01"] * 8, suffix=".jpg")),
    "one remark on few": ("remarks.csv", table("img,x", ["blurred", "", "", "", "blurred", "", "", ""], suffix=".jpg")),
    "the same for all": ("a.csv", table("img,place", ["Rome"] * 8, suffix=".jpg")),
    "COCO without annotations": ("images.json", json.dumps({"images": COCO["images"], "annotations": []})),
    "names of classes": ("classes.csv", "id,name\n0,cat\n1,dog\n2,bird\n"),
    "other files": ("other.csv", "img,species\n" + "".join(f"x{n}.jpg,{v}\n" for n, v in enumerate(LABELS))),
    "settings": ("config.yaml", "path: ./data\nnc: 2\nnames:\n  - cat\n  - dog\n"),
    "packages": ("package.json", json.dumps({"name": "x", "files": ["a.js"], "dependencies": {"a": "1"}})),
    "large": ("large.json", json.dumps({"text": "x" * (2 << 20), "label": "y"})),
    "deep": ("deep.yaml", "\n".join(f"{' ' * n}a:" for n in range(2000))),
    "no YAML": ("a.yaml", "- - - -\n-\n:\n: :\n'\n\"a\n[\n{a: [\n&x *y !!z\n| >\n" * 9),
}  # fmt: skip


@pytest.mark.parametrize("case", ABOUT)
def test_a_table_that_tells_of_images_but_labels_none_is_passed_over_with_a_word(case: str) -> None:
    name, text = ABOUT[case]
    found = arranged(name, text)
    assert {item.example.label for item in found.items} == {"batch0", "batch1"} and name in found.passed_over


def test_what_lies_beside_each_image_is_about_it() -> None:
    """As Google Photos and YOLO have it; and however many there are, the table of labels is found."""
    sidecars = [
        (
            f"{name}.json",
            json.dumps({"title": name.rpartition("/")[2], "description": "", "imageViews": str(n)}).encode(),
        )
        for n, name in enumerate(BATCHES)
    ]
    boxes = [(name.replace(".jpg", ".txt"), b"0 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.1 0.1\n") for name in BATCHES]
    many = [(f"batch0/{n:03}.txt", b"x") for n in range(60)]
    found = sources.from_archive(zipped(*BATCHES.items(), *sidecars, *boxes, *many))
    assert len(found.passed_over) == 76 and len(found.items) == 8
    with pytest.raises(InvalidManifest, match=r"'zz\.csv' labels files"):
        sources.from_archive(
            zipped(*BATCHES.items(), *sidecars, *boxes, *many, ("zz.csv", table("id,breed", LABELS).encode()))
        )


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("b:\n  c: 'x: y'\n  d: [1, \"2\"]\ne: {f: g}\n", {"b": {"c": "x: y", "d": ["1", "2"]}, "e": {"f": "g"}}),
        ("---\n- a: 1  # one\n  b: 2\n-\n  c: 3\n- - e\n  - f\n", [{"a": "1", "b": "2"}, {"c": "3"}, [*"ef"]]),
        ("k:\n- 1\n- 2\nl: https://x.org/a: b\n", {"k": ["1", "2"], "l": "https://x.org/a: b"}),
        ("t: |\n  long\n  text\nu: 1\n", {"t": "|", "u": "1"}),
        ("'a b': 1\n", {"a b": "1"}),
        ("", None),
    ],
)  # fmt: skip
def test_plain_yaml_is_read(text: str, tree: object) -> None:
    assert plain_yaml.tree(text) == tree


@pytest.mark.parametrize(
    "text", ["a" + " " * 200_000 + "b", "- " * 100_000, "a:" * 100_000, "[" * 100_000, "x\n" * 100_000]
)
def test_no_yaml_costs_more_than_its_length(text: str) -> None:
    plain_yaml.tree(text)


def test_what_is_read_of_all_tables_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_tables, "MOST_TOGETHER", 1600)
    asked: list[str] = []

    def read(name: str) -> bytes:
        asked.append(name)
        return b"[" + b" " * 699

    found = [f"{n:02}.json" for n in range(40)]
    assert other_tables.manifest_among(found, read, [f"batch/{n}.jpg" for n in range(8)], None) is None
    assert asked == found[:3]
