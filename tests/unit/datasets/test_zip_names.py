"""A member's name is read by what says its encoding, or refused; a guess never becomes a label."""

import io
import json
import shutil
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.zips import UTF8_FLAG, raw_zip, unicode_path, zipped

from adapters.errors import InvalidArchive, InvalidInput
from service.intake.datasets import names, sources

ROOT = Path(__file__).parents[3]
WORDS = {
    "cp932": ("猫", "ソ連"), "gbk": ("联通", "狗"), "big5": ("貓", "許功"), "euc_kr": ("고양이", "개"),
    "cp1252": ("café", "thé"),
    "cp850": ("pão", "maçã"), "cp437": ("größe", "straße"), "cp866": ("кошка", "собака"), "cp1251": ("кошка", "пёс"),
    "cp1255": ("חתול", "כלב"), "mac-roman": ("café", "œuf"),
}  # fmt: skip


def members(words: tuple[str, ...], encoding: str) -> list[tuple[bytes, bytes]]:
    return [(f"{word}/{n}.jpg".encode(encoding), b"\xff\xd8" + bytes([n])) for word in words for n in range(2)]


def labels(data: bytes, **options: str) -> set[str]:
    return {item.example.label for item in sources.from_archive(data, **options).items}


@pytest.mark.parametrize("encoding", WORDS)
def test_a_name_in_an_old_encoding_is_refused_or_read_by_the_one_that_is_given(encoding: str) -> None:
    """zip-shift-jis, zip-cp1252, zip-cp850-portuguese: the refusal lists every member and names the fix."""
    data = raw_zip(members(WORDS[encoding], encoding))
    with pytest.raises(InvalidArchive, match="say which with archive_encoding") as caught:
        sources.from_archive(data)
    assert caught.value.error_count == 4 and len(caught.value.errors) == 4
    assert "\\x" in caught.value.message and caught.value.message.isprintable()
    assert labels(data, encoding=names.encoding(encoding)) == set(WORDS[encoding])


def test_the_wrong_encoding_is_refused_where_it_shows() -> None:
    with pytest.raises(InvalidArchive, match="its name is not of the archive_encoding cp932"):
        sources.from_archive(raw_zip([(b"caf\x81/1.jpg", b"x")]), encoding="cp932")


@pytest.mark.parametrize("word", ["unicode_escape", "idna", "rot13", "utf-7", "punycode", "hex", "", "x" * 1000, "\0"])
def test_only_encodings_of_file_names_are_taken(word: str) -> None:
    with pytest.raises(InvalidInput, match="'archive_encoding' must be such as") as caught:
        names.encoding(word)
    assert caught.value.item == "archive_encoding"


def test_the_unicode_path_field_is_read() -> None:
    """zip-unicode-path-extra: WinRAR, Info-ZIP and 7-Zip on Windows; also where another encoding is given."""
    found = members(("猫", "犬"), "cp932")
    extras = {n: unicode_path(raw, raw.decode("cp932")) for n, (raw, _) in enumerate(found)}
    data = raw_zip(found, extras=extras)
    assert labels(data) == labels(data, encoding="cp850") == {"猫", "犬"}


def test_a_unicode_path_field_about_another_name_does_not_count() -> None:
    """A tool that knows nothing of the field renamed the member; so says its CRC."""
    stale = {0: unicode_path(b"old/1.jpg", "alt/1.jpg"), 1: unicode_path(b"dog/1.jpg", "hund/1.jpg", version=2)}
    assert labels(raw_zip([(b"cat/1.jpg", b"x"), (b"dog/1.jpg", b"y")], extras=stale)) == {"cat", "dog"}


@pytest.mark.parametrize("field", [b"\x75\x70\x02\x00\x01\x00", None], ids=["short", "not UTF-8"])
def test_a_damaged_unicode_path_field_is_refused_in_the_same_words_everywhere(field: bytes | None) -> None:
    raw = b"cat/1.jpg"
    extra = field or unicode_path(raw, "??").replace(b"??", b"\xff\xfe")
    with pytest.raises(InvalidArchive, match="extra field 0x7075"):
        sources.from_archive(raw_zip([(raw, b"x")], extras={0: extra}))


def test_an_empty_unicode_path_field_leaves_the_name() -> None:
    raw = b"cat/1.jpg"
    assert labels(raw_zip([(raw, b"x")], extras={0: unicode_path(raw, "")})) == {"cat"}


def test_utf8_is_read_with_and_without_its_flag_and_refused_where_the_flag_lies() -> None:
    found = members(("größe", "🐈"), "utf-8")
    assert labels(raw_zip(found)) == labels(raw_zip(found, flags=UTF8_FLAG)) == {"größe", "🐈"}
    with pytest.raises(InvalidArchive, match="marked as UTF-8 and is not"):
        sources.from_archive(raw_zip([(b"caf\xe9/1.jpg", b"x")], flags=UTF8_FLAG))


@pytest.mark.parametrize(
    "names_of", [("猫",), ("猫", "茅"), ("毛茅",), ("B猫",), ("猫_1", "2 猫"), ("è", "é"), ("да",), ("été",)]
)
def test_a_name_that_may_be_of_another_encoding_is_asked_about(names_of: tuple[str, ...]) -> None:
    """猫 in GBK is C3 A8, which is è in UTF-8: a guess never becomes a label, in either direction."""
    encoding = "utf-8" if names_of[0] in ("è", "да", "été") else "gbk"
    data = raw_zip([*members(names_of, encoding), *members(("dog",), encoding)])
    with pytest.raises(
        InvalidArchive, match=r"does not say its encoding and may be .* in UTF-8 .*archive_encoding"
    ) as caught:
        sources.from_archive(data)
    assert caught.value.error_count == 2 * len(names_of)
    assert labels(data, encoding=encoding) == {*names_of, "dog"}
    if encoding == "utf-8":
        assert labels(raw_zip(members(names_of, encoding), flags=UTF8_FLAG)) == {*names_of}


@pytest.mark.parametrize(
    "word",
    ["Käse", "œuf", "pão", "thé", "café", "naïve", "Crème brûlée", "кот", "пёс", "σκύλος", "猫", "犬と猫", "고양이",
     "חתול", "قطة", "🐈", "e\u0301te\u0301", "e\u0301", "ñandú", "tiếng Việt", "ไทย"],
)  # fmt: skip
def test_utf8_without_its_mark_is_read_where_a_word_speaks_for_it_and_told(word: str) -> None:
    """As macOS and old Linux tools write it; short names beside such a word are UTF-8, too."""
    found = sources.from_archive(raw_zip(members((word, "ô", "dog"), "utf-8")))
    assert {item.example.label for item in found.items} == {unicodedata.normalize("NFC", word), "ô", "dog"}
    assert found.understood["names"] == "not marked, read as UTF-8"
    assert "names" not in sources.from_archive(raw_zip(members((word, "dog"), "utf-8"), flags=UTF8_FLAG)).understood
    assert "names" not in sources.from_archive(raw_zip(members(("cat", "dog"), "utf-8"))).understood


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (b"cat/1.jpg\0.txt", "a NUL in it"),
        (b"cat\\..\\..\\1.jpg", "leads out"),
        (b"C:\\cat\\1.jpg", "leads out"),
        (b"//server/share/1.jpg", "leads out"),
        (b"\\cat\\1.jpg", "leads out"),
        (b"cat/../dog/1.jpg", "leads out"),
    ],
)
def test_a_name_that_leads_out_or_holds_a_nul_is_refused(name: bytes, says: str) -> None:
    with pytest.raises(InvalidArchive, match=says):
        sources.from_archive(raw_zip([(name, b"x"), (b"dog/1.jpg", b"y")]))


def test_folders_are_told_by_their_slash_of_either_kind() -> None:
    found = sources.from_archive(raw_zip([(b"bird\\", b""), (b"fox/", b""), (b".\\cat\\1.jpg", b"x"), (b"./", b"")]))
    assert [item.example.file_name for item in found.items] == ["cat/1.jpg"]
    assert set(found.passed_over) == {"bird/", "fox/"}


def test_members_that_share_bytes_are_refused_on_every_python() -> None:
    """Two records for one member: later releases refuse it when it is read, 3.11.7 reads it."""
    data = raw_zip([(b"cat/1.jpg", b"x" * 99), (b"dog/1.jpg", b"x" * 99)])
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    with pytest.raises(InvalidArchive, match="overlap"):
        sources.from_archive(data[: second + 42] + bytes(4) + data[second + 46 :])


class Stream(io.RawIOBase):
    """A pipe: zipfile then writes sizes behind the data (flag 0x8)."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self.data += bytes(piece)
        return len(piece)


def test_archives_of_other_makes_are_read() -> None:
    """Streamed, with ZIP64 records, behind a program that unpacks itself, with a comment, and a tar that is none."""
    plain = zipped(("cat/1.jpg", b"x"), ("dog/1.jpg", b"y"))
    stream, large = Stream(), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, zipfile.ZipFile(large, "w") as other:
        for label in ("cat", "dog"):
            archive.writestr(f"{label}/1.jpg", label)
            with other.open(f"{label}/1.jpg", "w", force_zip64=True) as file:
                file.write(label.encode())
        other.comment = b"a comment"
    for data in (plain, bytes(stream.data), large.getvalue(), b"MZ a program" + plain):
        assert labels(data) == {"cat", "dog"}
    for data, kind in (
        (bytes(257) + b"ustar" + bytes(300), "tar"),
        (b"\x1f\x8b\x08 ...", "gzip"),
        (b"Rar!\x1a", "RAR"),
    ):
        with pytest.raises(InvalidArchive, match=f"it is a {kind} archive; make a zip of it"):
            sources.from_archive(data)


ARCHIVES = {
    "flagged": raw_zip(members(("größe", "🐈"), "utf-8"), flags=UTF8_FLAG),
    "unflagged": raw_zip(members(("größe", "🐈"), "utf-8")),
    "cp932": raw_zip(members(("猫", "犬"), "cp932")),
    "flag lies": raw_zip([(b"caf\xe9/1.jpg", b"x")], flags=UTF8_FLAG),
    "unicode path": raw_zip([(b"\x94L/1.jpg", b"x")], extras={0: unicode_path(b"\x94L/1.jpg", "猫/1.jpg")}),
    "stale unicode path": raw_zip([(b"cat/1.jpg", b"x")], extras={0: unicode_path(b"dog/1.jpg", "hund/1.jpg")}),
    "empty unicode path": raw_zip([(b"cat/1.jpg", b"x")], extras={0: unicode_path(b"cat/1.jpg", "")}),
    "short unicode path": raw_zip([(b"cat/1.jpg", b"x")], extras={0: b"\x75\x70\x02\x00\x01\x00"}),
    "NUL": raw_zip([(b"cat/1.jpg\0.txt", b"x")]),
    "backslashes": raw_zip([(b"cat\\", b""), (b"cat\\1.jpg", b"x")]),
    "unicode path with backslashes": raw_zip([(b"c\\1", b"x")], extras={0: unicode_path(b"c\\1", "猫\\1")}),
    "leads out": raw_zip([(b"a/1.jpg", b"x")], extras={0: unicode_path(b"a/1.jpg", "../1.jpg")}),
    "no name": raw_zip([(b"", b"")]),
}
READ = """
import json, sys
from pathlib import Path
from adapters.errors import InvalidArchive
from service.intake.datasets.archives import Archive, Limits
def said(path):
    try:
        archive = Archive(path, Limits())
        return [archive.names, archive.folders, [m.sha256 for m in archive.members(archive.names)]]
    except InvalidArchive as error:
        return [error.message, error.item]
print(json.dumps({p.stem: said(p) for p in sorted(Path(sys.argv[1]).iterdir())}))
"""


def find_python(version: str) -> str | None:
    """A Python of that version: on the path, or one of pyenv's."""
    found = [shutil.which(f"python{version}"), *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    works = (p for p in found if p and not subprocess.run([p, "-V"], capture_output=True, check=False).returncode)
    return next(works, None)


def read_by(python: str, folder: Path) -> dict[str, list[object]]:
    done = subprocess.run([python, "-c", READ, str(folder)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert not done.returncode, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_python_answers_alike_for_the_same_archive(version: str, tmp_path: Path) -> None:
    """zipfile of 3.12 and later reads the Unicode path field itself, and checks more: names and words stay the same."""
    if (python := find_python(version)) is None:
        pytest.skip(f"there is no python{version} here")
    for name, data in ARCHIVES.items():
        (tmp_path / f"{name}.zip").write_bytes(data)
    assert read_by(python, tmp_path) == read_by(sys.executable, tmp_path)
