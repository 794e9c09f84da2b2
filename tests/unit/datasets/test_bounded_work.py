"""Reading names costs no more than their length allows: nothing is quadratic, nothing is echoed at length."""

import json
import time

import pytest
from support.zips import raw_zip, zipped

from adapters.errors import InvalidInput
from service.intake.datasets import manifests, sources
from service.intake.datasets.archives import Member

MANY = 200_000
GENEROUS = 20.0  # seconds; a quadratic step would take minutes and more
LINE = b"file_name,label\n"
HOSTILE = {
    "endings of split names": LINE.replace(b"label", b"label,split") + b"a.jpg,x," + b"set" * MANY,
    "blanks before a split's ending": LINE.replace(b"label", b"label,split") + b"a.jpg,x," + b"_" * MANY + b"x",
    "columns by another name": b"path," * MANY + b"label\na.jpg,x",
    "columns without a name": b"file_name,label" + b"," * MANY + b"\n" + b"b.jpg,x" + b"," * MANY,
    "slashes in an absolute path": LINE + b"".join(b"/a" * 2000 + b"/%d.jpg,x\n" % n for n in range(100)),
    "a long name": LINE + b"/a" * MANY + b",x",
    "quotes": LINE + b'"' * MANY + b'"',
    "quotes with blanks": LINE + b' "" ,' * MANY,
    "blanks": LINE + b" " * MANY + b",x",
    "deep JSON": b'{"a":' * MANY,
    "a long list": b"[" + b"1," * MANY + b"1]",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_manifest_is_refused_in_time_and_briefly(what: str) -> None:
    began = time.perf_counter()
    with pytest.raises(InvalidInput) as caught:
        sources.from_manifest(HOSTILE[what], [Member("a.jpg", "0" * 64, lambda: b"")])
    assert time.perf_counter() - began < GENEROUS
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize(
    "text",
    [
        b"name,label\n" + b"1" * MANY + b"x,2\n",
        b"a;b\n" + b"/a" * MANY + b".jpg;x",
        b"x y\n" + b"0.jpg " * MANY,
        b"{" * MANY,
    ],
    ids=["digits", "slashes", "cells", "braces"],
)
def test_a_hostile_table_beside_images_is_looked_at_in_time(text: bytes) -> None:
    began = time.perf_counter()
    found = sources.from_archive(zipped(("cat/0.jpg", b"\xff\xd8"), ("dog/1.jpg", b"\xff\xd8"), ("list.csv", text)))
    assert time.perf_counter() - began < GENEROUS and len(found.items) == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (b"a/" * 2_000 + b"1.jpg", "more than 50 folders"),
        (b"data/" * 40 + b"1.jpg", "lies too deep"),
        (b"x" * 4_000 + b"/more/1.jpg", "may be the classes"),
        (b"train/" + b"x" * 4_000 + b"/more/1.jpg", "lies too deep"),
        (b"x" * 4_000, "lies in no class folder"),
        (b"cat/" + b"x" * 60_000, "its name has 60,004 characters; at most 4,096"),
        (("cat/" + "\u0300\u0316" * 16_000).encode(), "its name has 32,004 characters; at most 4,096"),
    ],
)
def test_a_long_name_in_an_archive_is_refused_briefly(name: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        sources.from_archive(raw_zip([(name, b"\xff\xd8")]))
    assert len(caught.value.message) < 1500 and len(str(caught.value.item)) < 400


def test_a_long_root_is_refused_before_it_is_normalised() -> None:
    with pytest.raises(InvalidInput, match="'root' has 200,000 characters; at most 4,096"):
        sources.from_archive(zipped(("cat/0.jpg", b"\xff\xd8")), root="\u0300\u0316" * 100_000)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"file_name": "a" * 5000, "label": "x"}, "its file_name has 5,000 characters; at most 4,096"),
        ({"file_name": "a", "label": "x", "part": "\u0300\u0316" * 5000}, "its part has 10,000 characters"),
        ({"file_name": "a", "label": "x", "\u0300\u0316- " * 5000: "x"}, "is not a column that is known"),
    ],
)
def test_what_a_line_names_at_length_is_refused_before_it_is_normalised(line: dict[str, str], says: str) -> None:
    (found,) = manifests.read(json.dumps(line).encode())
    assert says in str(found)


def test_a_word_for_a_split_is_short() -> None:
    assert manifests.split_name("test" + "_set" * 9) == "test"
    assert manifests.split_name("test" + "_set" * 10) is None
