"""Archives and labels that no head can be taught from get a 4xx by name, and leave nothing behind."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from support.pictures import encoded, zipped
from support.refusals import FILES, GOOD, LABELS, archive, folders, images, post, refused
from support.services import MIB


def _encrypted() -> bytes:
    data = bytearray(zipped(folders()))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + offset] |= 1
    return bytes(data)


def _bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, data in folders():
            file.writestr(name, data)
        file.writestr("circle/bomb.bmp", b"\0" * (150 * MIB))
    return out.getvalue()


BAD_ARCHIVES = {
    "not a zip": (lambda: b"PK nonsense", "not a zip"),
    "empty": (lambda: zipped([]), "no images"),
    "bomb": (_bomb, "unpacks to"),
    "path that leads out": (lambda: zipped([*folders(), ("circle/../../etc/x.png", GOOD["circle-0.png"])]), "../"),
    "absolute path": (lambda: zipped([*folders(), ("/etc/x.png", GOOD["circle-0.png"])]), "/etc/x.png"),
    "nested": (lambda: zipped([*folders(), ("circle/inner.zip", zipped(folders()))]), "inner.zip"),
    "nested in disguise": (lambda: zipped([*folders(), ("circle/inner.png", zipped(folders()))]), "inner.png"),
    "encrypted": (_encrypted, "encrypted"),
    "no folders": (lambda: zipped(FILES), "class folder"),
    "something else inside": (lambda: zipped([*folders(), ("circle/run.exe", b"MZ")]), "run.exe"),
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_an_unsafe_archive_is_refused_and_the_member_named(server, name):
    """Broken, bombs, paths that lead out, nested, encrypted."""
    make, said = BAD_ARCHIVES[name]
    refused(post(server, archive(make())), 422, "invalid_archive", said)


@pytest.mark.usefixtures("unchanged")
def test_an_archive_that_unpacks_to_too_much_is_refused_before_unpacking(server):
    """ESPALIER_MAX_UNPACKED_BYTES is on the sum of all members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(70):
            file.writestr(f"circle/{number}.bmp", bytes(MIB))
    refused(post(server, archive(out.getvalue())), 422, "invalid_archive", "unpacks to", "the limit is")


def many_classes() -> tuple[list, dict]:
    files = [(f"{n}.bmp", encoded(Image.fromarray(np.frombuffer(n.to_bytes(2) * 24, np.uint8).reshape(4, 4, 3)), "BMP"))
             for n in range(10_000)]  # fmt: skip
    return images(files), {"labels": json.dumps([f"class {n}" for n in range(10_000)])}


BAD_LABELS = {
    "fewer labels than images": (LABELS[:-1], "invalid_input", "image 7 (square-3.png)"),
    "more labels than images": ([*LABELS, "circle"], "invalid_input", "9 labels"),
    "one class only": (["circle"] * 8, "not_enough_data", "'circle'"),
    "one image of a class": (["triangle", *LABELS[1:]], "not_enough_data", "triangle"),
    "an empty label": ([*LABELS[:2], "", *LABELS[3:]], "invalid_label", "image 2 (circle-1.png)"),
    "a blank label": ([*LABELS[:2], " \t ", *LABELS[3:]], "invalid_label", "image 2 (circle-1.png)"),
    "a label of a megabyte": ([*LABELS[:2], "x" * 1_000_000, *LABELS[3:]], "invalid_label", "1,000,000 characters"),
    "a label with control characters": ([*LABELS[:2], "a\0b", *LABELS[3:]], "invalid_label", "control characters"),
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", BAD_LABELS)
def test_labels_that_cannot_be_learned_from_are_refused(server, name):
    """Wrong numbers, too few of a class, and labels that are none."""
    labels, code, said = BAD_LABELS[name]
    refused(post(server, images(), {"labels": labels}), 422, code, said)
    if "than images" not in name:
        rows = [{"file_name": f, "label": label} for f, label in zip(GOOD, labels, strict=True)]
        manifest = ("manifest", ("m.jsonl", "\n".join(map(json.dumps, rows)).encode(), "text/plain"))
        refused(post(server, [manifest, *images()]), 422, code)


@pytest.mark.usefixtures("unchanged")
def test_one_image_of_each_class_is_too_few(server):
    """Also when there are 10,000 classes: a few are named, the rest counted."""
    two = post(server, images(FILES[:2]), {"labels": LABELS[:2]})
    refused(two, 422, "not_enough_data", "circle", "square", "at least 2 different examples")
    files, labels = many_classes()
    refused(post(server, files, labels), 422, "not_enough_data", "'class 0'", "9995 more")


@pytest.mark.usefixtures("unchanged")
def test_one_image_with_two_labels_is_refused(server):
    """Both are named."""
    twice = [*FILES, ("again.png", FILES[0][1])]
    said = ("circle-0.png", "again.png")
    refused(post(server, images(twice), {"labels": [*LABELS, "square"]}), 422, "invalid_label", *said)
