"""A class never vanishes or changes without a word: folders, splits, junk and links, in a zip and on a disk."""

import os
from pathlib import Path

import pytest
from support.pictures import shape
from support.zips import zipped

from adapters.errors import InvalidInput
from service.intake.datasets import passed_over, sources
from service.intake.datasets.layout import Hints

BODY = b"\xff\xd8 an image, as far as reading folders goes"


def put(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(BODY + name.encode())
    return root


def archive(*names: str) -> bytes:
    return zipped(*((name, b"" if name.endswith("/") else BODY + name.encode()) for name in names))


def both(tmp_path: Path, *names: str) -> list[sources.Received]:
    return [sources.from_archive(archive(*names)), sources.from_folder(put(tmp_path / "x1", *names))]


def labels(found: sources.Received) -> set[str]:
    return {item.example.label for item in found.items}


def classes(*names: str) -> list[str]:
    return [f"{name}/{n}.jpg" for name in names for n in range(2)]


@pytest.mark.parametrize(
    "name",
    ["license", "LICENSE", "README", "readme", ".net", ".hidden", "Thumbs.db", "desktop.ini", "notes.txt", "labels.csv",
     "manifest.csv", "recycled", "cvs", "Trash", "cat.", "etc.", "...", "Icon", "copying", "train", "test", "9:30",
     "[1]"],
)  # fmt: skip
def test_a_folder_with_images_is_a_class_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    """class-named-license, class-named-readme, class-with-dot: only files may be junk, and a system's own folders."""
    for found in both(tmp_path, *classes(name, "passport", "id_card")):
        assert labels(found) == {name, "passport", "id_card"} and not found.passed_over


@pytest.mark.parametrize(
    "name",
    ["$RECYCLE.BIN", "@eaDir", "__MACOSX", "System Volume Information", ".Trash-1000", "lost+found", "#recycle", ".git",
     ".ipynb_checkpoints", ".Spotlight-V100", ".@__thumb", "@Recycle", ".AppleDouble", ".thumbnails", ".TRASHES"],
)  # fmt: skip
def test_folders_that_a_system_made_are_passed_over_with_a_word(name: str, tmp_path: Path) -> None:
    """system-folders-become-classes: at the top and below a class."""
    for found in both(tmp_path, *classes("cat", "dog", name), f"cat/{name}/1.jpg"):
        assert labels(found) == {"cat", "dog"} and len(found.items) == 4
        assert set(found.passed_over.values()) == {passed_over.IN_SYSTEM_FOLDER}
        assert any(item.startswith(name) for item in found.passed_over)


def test_files_that_are_no_examples_are_passed_over_with_a_word(tmp_path: Path) -> None:
    junk = ["Thumbs.db", "cat/desktop.ini", ".DS_Store", "cat/._0.jpg", "cat/.hidden.jpg", "LICENSE", "dog/notes.txt"]
    junk += ["README.md", "meta/info.json", "cat/0.xmp"]
    for found in both(tmp_path, *classes("cat", "dog"), *junk):
        assert labels(found) == {"cat", "dog"}
        assert set(found.passed_over) == {*junk, "meta/"}
        assert found.passed_over["meta/"] == passed_over.empty("image")


def test_files_that_are_no_images_are_refused_by_name_or_passed_over_when_asked(tmp_path: Path) -> None:
    """And an image under another suffix is one: its bytes tell."""
    members = [("cat/1.jpg", BODY), ("cat/2.jpg_large", shape("circle", 0)), ("dog/12.30", shape("circle", 1, "JPEG"))]
    odd = [("cat/film.mp4", b"\0\0\0\x18ftypmp42"), ("dog/run.exe", b"MZ"), ("more.tar.gz", b"\x1f\x8b")]
    data = zipped(*members, *odd)
    with pytest.raises(InvalidInput, match="is no image, by its name and by its bytes") as caught:
        sources.from_archive(data)
    assert {problem.item for problem in caught.value.errors} == {name for name, _ in odd}
    found = sources.from_archive(data, hints=Hints(lenient=True))
    assert labels(found) == {"cat", "dog"} and len(found.items) == 3
    assert found.passed_over == {name: passed_over.foreign("image") for name, _ in odd}
    for name, body in [*members, *odd]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(body)
    with pytest.raises(InvalidInput, match=r"and 2 more"):
        sources.from_path(tmp_path)
    assert len(sources.from_path(tmp_path, lenient=True).items) == 3


def test_empty_class_folders_are_told(tmp_path: Path) -> None:
    names = [*classes("cat", "dog"), "bird/", "fish/deep/", "fox/readme.txt"]
    for found in both(tmp_path, *names):
        empty = {name for name, reason in found.passed_over.items() if reason == passed_over.empty("image")}
        assert empty == {"bird/", "fish/", "fox/"}


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Training", "Testing"), ("train", "test")),
        (("TRAIN", "valid", "Test"), ("train", "val", "test")),
        (("train_set", "validation_set", "test_set"), ("train", "val", "test")),
        (("train-images", "dev", "test images"), ("train", "val", "test")),
        (("training data", "tests"), ("train", "test")),
        (("trainset", "Validate", "testset"), ("train", "val", "test")),
    ],
)
def test_split_folders_are_known_in_any_case_and_spelling(
    folders: tuple[str, ...], splits: tuple[str, ...], tmp_path: Path
) -> None:
    """training-testing-folders"""
    for found in both(tmp_path, *(f"{folder}/{label}/1.jpg" for folder in folders for label in ("glioma", "none"))):
        assert labels(found) == {"glioma", "none"}
        assert {item.example.split for item in found.items} == set(splits)
        assert found.understood["splits"] == dict(zip(folders, splits, strict=True))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["train/steam/0.jpg", "train/diesel/0.jpg", "boat/0.jpg"], "'boat' stands beside the split folder 'train'"),
        (["train/cat/0.jpg", "holdout/cat/0.jpg"], "'holdout' stands beside the split folder 'train'"),
        (["train/cat/0.jpg", "test/cat/0.jpg", "unlabeled/0.jpg"], "'unlabeled' stands beside"),
        (["cat/train/0.jpg", "cat/test/0.jpg"], "'test/0.jpg' lies in no class folder"),
        (["cat/train/0.jpg", "dog/train/0.jpg"], "'cat/train/0.jpg' lies too deep"),
        (["train/cat/0.jpg", "train/cat/more/0.jpg"], "'train/cat/more/0.jpg' lies too deep"),
    ],
)
def test_what_is_neither_classes_nor_splits_is_refused_by_name(names: list[str], says: str, tmp_path: Path) -> None:
    """split-folder-mixed-with-classes"""
    for read in (lambda: sources.from_archive(archive(*names)), lambda: sources.from_folder(put(tmp_path, *names))):
        with pytest.raises(InvalidInput, match=says):
            read()


def test_every_misplaced_file_is_listed() -> None:
    names = [f"cat/more/{n}.jpg" for n in range(60)]
    with pytest.raises(InvalidInput, match=r"\(and 59 more; `errors` lists them\)") as caught:
        sources.from_archive(archive("dog/1.jpg", *names))
    assert caught.value.error_count == 60 and len(caught.value.errors) == 50
    assert {problem.code for problem in caught.value.errors} == {"invalid_archive"}


def test_a_folder_around_everything_is_either_clear_or_asked_about() -> None:
    """one-class-with-subfolders: `cat/indoor` may be of the class cat; zip tools put a folder around, too."""
    inside = ("cat/indoor/0.jpg", "cat/outdoor/0.jpg")
    with pytest.raises(InvalidInput, match=r"either may be the classes: if those below are, send root=cat") as caught:
        sources.from_archive(archive(*inside))
    assert caught.value.item == "cat"
    told = sources.from_archive(archive(*inside), root="cat")
    assert labels(told) == {"indoor", "outdoor"} and told.understood["root"] == "cat/"
    for hints in (Hints("cat"), Hints("Cat"), Hints("", frozenset({"indoor", "outdoor", "roof"}))):
        assert labels(sources.from_archive(archive(*inside), hints=hints)) == {"indoor", "outdoor"}
    with pytest.raises(InvalidInput, match="either may be"):  # the head has a class of that name
        sources.from_archive(archive(*inside), hints=Hints("cat", frozenset({"cat", "dog"})))


@pytest.mark.parametrize("around", ["photos", "my-data", "PetImages", "dataset/images", "flower_photos", "Data (2)"])
def test_a_folder_for_a_collection_is_left_out_of_the_names(around: str, tmp_path: Path) -> None:
    for found in both(tmp_path, *(f"{around}/{name}" for name in classes("cat", "dog"))):
        assert labels(found) == {"cat", "dog"} and found.understood["root"] == f"{around}/"


def test_only_the_root_that_is_asked_for_is_read() -> None:
    data = archive(*classes("a/cat", "a/dog", "b/cow"), "a/bird/")
    found = sources.from_archive(data, root="/a/")
    assert labels(found) == {"cat", "dog"}
    assert found.passed_over["b/cow/0.jpg"] == passed_over.OUTSIDE and "a/bird/" in found.passed_over
    with pytest.raises(InvalidInput, match="no folder 'c'"):
        sources.from_archive(data, root="c")


# -- on a disk


def test_a_link_to_a_folder_inside_is_that_folder(tmp_path: Path) -> None:
    """symlinked-class-folder, as torchvision and timm have it."""
    root = put(tmp_path / "pets", *classes("cat", "dog"))
    (root / "kitten").symlink_to("cat", target_is_directory=True)
    assert labels(sources.from_folder(root)) == {"cat", "dog", "kitten"}


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_link_out_of_the_folder_is_refused_by_name_or_followed_when_allowed(kind: str, tmp_path: Path) -> None:
    root, other = put(tmp_path / "pets", *classes("cat", "dog")), put(tmp_path / "bird", "0.jpg", "1.jpg")
    name = "bird" if kind == "folder" else "cat/9.jpg"
    (root / name).symlink_to(other if kind == "folder" else other / "0.jpg")
    with pytest.raises(InvalidInput, match=f"'{name}': it is a link out of the folder"):
        sources.from_folder(root)
    found = sources.from_folder(root, follow=True)
    assert len(found.items) == (6 if kind == "folder" else 5)


def test_links_in_circles_and_to_nothing_are_all_named(tmp_path: Path) -> None:
    root = put(tmp_path / "pets", *classes("cat", "dog"))
    (root / "cat" / "again").symlink_to(root, target_is_directory=True)
    (root / "fox").symlink_to("fix")
    (root / "fix").symlink_to("fox")
    (root / "gone.jpg").symlink_to("nothing")
    (root / ".#lock").symlink_to("an editor's")
    with pytest.raises(InvalidInput) as caught:
        sources.from_folder(root)
    said = {problem.item: problem.detail for problem in caught.value.errors}
    assert set(said) == {"cat/again", "fox", "fix", "gone.jpg"}
    assert "no end" in said["cat/again"] and "a link to nothing" in said["gone.jpg"]


def test_links_that_lead_to_one_another_from_outside_end(tmp_path: Path) -> None:
    root, other = put(tmp_path / "pets", *classes("cat")), put(tmp_path / "other", "0.jpg")
    (root / "out").symlink_to(other)
    (other / "back").symlink_to(root)
    with pytest.raises(InvalidInput, match="no end"):
        sources.from_folder(root, follow=True)


def test_a_pipe_is_passed_over_and_never_opened(tmp_path: Path) -> None:
    root = put(tmp_path, *classes("cat", "dog"))
    os.mkfifo(root / "cat" / "9.jpg")
    found = sources.from_folder(root)
    assert found.passed_over == {"cat/9.jpg": passed_over.NO_FILE} and labels(found) == {"cat", "dog"}


@pytest.mark.parametrize("name", [b"caf\xe9/0.jpg", b"cat/caf\xe9.jpg"])
def test_a_name_that_no_encoding_reads_is_one_sentence_or_read_by_the_one_given(name: bytes, tmp_path: Path) -> None:
    """cli-name-not-utf8: old disks, and archives that were unpacked without their encoding."""
    root = put(tmp_path, *classes("dog"))
    path = os.path.join(os.fsencode(root), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(BODY)
    with pytest.raises(InvalidInput, match=r"caf\\xe9") as caught:
        sources.from_folder(root)
    assert caught.value.message.encode().isascii() and "--archive-encoding" in caught.value.message
    found = sources.from_folder(root, encoding="cp1252")
    assert "café" in found.items[0].example.file_name


def test_two_spellings_of_one_name_on_a_disk_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "cat/caf\u00e9.jpg", "cat/cafe\u0301.jpg", "dog/1.jpg")
    with pytest.raises(InvalidInput, match="another file of that name but for the spelling of accents"):
        sources.from_folder(tmp_path)


def test_what_a_bad_zip_tool_left_on_a_disk_is_read_as_meant(tmp_path: Path) -> None:
    """`unzip` of an archive with backslashes makes files called `cat\\0.jpg`."""
    for name in ("cat\\0.jpg", "dog\\0.jpg"):
        (tmp_path / name).write_bytes(BODY)
    found = sources.from_folder(tmp_path)
    assert labels(found) == {"cat", "dog"} and found.items[0].data() == BODY


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 120)
    deep.mkdir(parents=True)
    with pytest.raises(InvalidInput, match="more than 50 folders"):
        sources.from_folder(tmp_path)
