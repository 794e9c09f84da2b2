"""Names, folders, manifests and labels over HTTP and the command line: read as meant, or refused with the fix.

The kinds themselves are in tests/unit/datasets; here is what a caller sees of them.
"""

import json
import os
import uuid
from pathlib import Path

import httpx
import pytest
from support.pictures import shape
from support.services import Service, espalier
from support.zips import raw_zip, unicode_path, zipped

KINDS = ("circle", "square", "triangle")


def pictures(*folders: str, each: int = 3) -> list[tuple[str, bytes]]:
    """Pictures in folders; each folder has a kind of its own, none of them twice."""
    return [(f"{f}/{n}.png", shape(KINDS[i % 3], 100 * i + n)) for i, f in enumerate(folders) for n in range(each)]


def post(server: Service, data: bytes, file_name: str = "a.zip", **fields: str) -> httpx.Response:
    form = {"head": f"n-{uuid.uuid4().hex[:8]}", "method": "prototype", "views": "none", "mode": "replace"} | fields
    return server.http.post("/finetune", params={"wait": 60}, data=form, files={"archive": (file_name, data)})


def learned(server: Service, answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200 and answer.json()["status"] == "succeeded", answer.text[:2000]
    return server.client.head(answer.json()["head"])["labels"]


def run(server: Service, *arguments: str, check: bool = True):
    return espalier(*arguments, "--server", server.url, home=server.home, check=check)


def test_every_class_folder_is_a_class_and_what_is_not_is_told(server: Service) -> None:
    data = zipped(*pictures("license", ".net", "README"), *pictures("$RECYCLE.BIN", "@eaDir", each=1),
                  ("bird/", b""), ("Thumbs.db", b"x"))  # fmt: skip
    answer = post(server, data)
    assert learned(server, answer) == [".net", "README", "license"]
    received = answer.json()["received"]
    assert received["layout"] == "one folder a class" and received["classes"]["count"] == 3
    told = {row["item"]: row["reason"] for row in received["passed_over"]["list"]}
    assert set(told) == {"$RECYCLE.BIN/0.png", "@eaDir/0.png", "Thumbs.db", "bird/"}
    found = server.client.report(answer.json()["head"])["findings"]
    assert found["received"]["passed_over"]["count"] == 4


def test_a_zip_from_another_country_is_refused_then_read(server: Service) -> None:
    members = [(name.encode("cp932"), data) for name, data in pictures("猫", "犬")]
    refused = post(server, raw_zip(members))
    problem = refused.json()
    assert refused.status_code == 422 and problem["code"] == "invalid_archive", problem
    assert "archive_encoding" in problem["detail"] and problem["error_count"] == len(problem["errors"]) == 6
    assert learned(server, post(server, raw_zip(members), archive_encoding="cp932")) == ["犬", "猫"]
    extras = {n: unicode_path(raw, raw.decode("cp932")) for n, (raw, _) in enumerate(members)}
    assert learned(server, post(server, raw_zip(members, extras=extras))) == ["犬", "猫"]


def test_splits_in_any_spelling_and_a_class_that_is_in_one_only(server: Service) -> None:
    folders = ("Training/glioma", "Training/none", "Testing/glioma", "Testing/none")
    answer = post(server, zipped(*pictures(*folders)))
    assert learned(server, answer) == ["glioma", "none"]
    assert answer.json()["received"]["splits"] == {"Testing": "test", "Training": "train"}
    refused = post(server, zipped(*pictures(*folders, "Testing/bird")))
    assert refused.status_code == 422 and refused.json()["item"] == "bird"
    assert "test split only" in refused.json()["detail"]


def test_bad_items_are_all_named_or_left_out(server: Service) -> None:
    """accepted-then-failed, and the public set whose files are in two folders."""
    good = pictures("circle", "square", each=4)
    bad = [("circle/cut.png", good[0][1][:200]), ("circle/text.png", b"text"), ("square/again.png", good[1][1])]
    refused = post(server, zipped(*good, *bad))
    problem = refused.json()
    assert refused.status_code == 422 and problem["error_count"] == 3
    assert {row["code"] for row in problem["errors"]} == {"invalid_image", "invalid_label"}
    assert all(any(name in row["item"] for row in problem["errors"]) for name, _ in bad)
    answer = post(server, zipped(*good, *bad), on_error="skip")
    assert learned(server, answer) == ["circle", "square"]
    assert answer.json()["received"]["left_out"]["count"] == 3
    assert answer.json()["received"]["examples"] == 7


def test_classes_with_nearly_one_name_are_a_finding(server: Service) -> None:
    """class-names-differ-by-case; with a zero-width space they are one class."""
    answer = post(server, zipped(*pictures("Cat", "cat", "dog")))
    assert learned(server, answer) == ["Cat", "cat", "dog"]
    assert answer.json()["report"]["data_report"]["similar_names"] == [["Cat", "cat"]]
    head = answer.json()["head"]
    assert server.client.report(head)["findings"]["similar_names"] == [["Cat", "cat"]]
    assert "nearly one name" in server.client.report_page(head)
    seen = post(server, zipped(*pictures("cat", "cat\u200b", "dog")))
    assert learned(server, seen) == ["cat", "dog"]
    assert seen.json()["received"]["labels_changed"]["list"] == [{"sent": "cat\\u200b", "kept": "cat"}]


def test_a_list_is_no_class(server: Service) -> None:
    """list-labels-become-classes"""
    files = [("images", data) for _, data in pictures("a", "b")]
    form = {"head": "lists", "labels": json.dumps([["cat"], ["dog", "cat"]] * 3)}
    refused = server.http.post("/finetune", data=form, files=files)
    assert refused.status_code == 422 and refused.json()["code"] == "invalid_label"
    assert "task=multilabel" in refused.json()["detail"] and refused.json()["error_count"] == 6


# -- the command line


def folder(root: Path, files: list[tuple[str, bytes]]) -> Path:
    for name, data in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.mark.slow
def test_names_that_no_form_carries_reach_the_server(server: Service, tmp_path: Path) -> None:
    """cli-quote-in-name, cli-tsv-manifest, cli-windows-manifest"""
    names = ['my "best" photo.png', "100%22.png", "\u732b.png"]
    files = [(f"cat/{n}.png", shape("circle", n)) for n in range(3)] + [
        (f"dog/{n}.png", shape("square", n)) for n in range(3)
    ]
    root = folder(tmp_path / "pets", files)
    for number, name in enumerate(names):
        (root / "cat" / name).write_bytes(shape("circle", 50 + number))
    head = f"c-{uuid.uuid4().hex[:8]}"
    shown = run(server, "finetune", head, str(root), "--method", "prototype", "--views", "none")
    assert "understood as: one folder a class" in shown.stderr
    kept = {e["file_name"] for e in server.client.examples(head)}
    assert {'cat/my "best" photo.png', "cat/100%22.png", "cat/\u732b.png"} <= kept
    rows = "".join(f"cat\\{n}.png\tcat\ndog\\{n}.png\tdog\n" for n in range(3))
    (root / "list.tsv").write_text(f"file_name\tlabel\n{rows}")
    run(server, "finetune", head, str(root / "list.tsv"), "--method", "prototype", "--mode", "replace")
    assert len(list(server.client.examples(head))) == 6


def test_what_cannot_be_read_as_meant_is_a_sentence(server: Service, tmp_path: Path) -> None:
    """cli-name-not-utf8, symlinked-class-folder: each bad name is listed, and never a stack trace."""
    root = folder(tmp_path / "pets", pictures("cat", "dog"))
    (folder(tmp_path / "elsewhere", pictures("."))).joinpath("x.png").write_bytes(b"x")
    os.mkdir(os.path.join(os.fsencode(root), b"caf\xe9"))
    (root / "bird").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    failed = run(server, "finetune", "never", str(root), check=False)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert "'caf\\xe9'" in failed.stderr and "'bird': it is a link out of the folder" in failed.stderr
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    with open(odd, "wb") as file:
        file.write(b"no image")
    asked = espalier("predict", "nobody", os.fsdecode(odd), "--server", server.url, home=server.home, check=False)
    assert asked.returncode == 1 and "Traceback" not in asked.stderr


def test_skipping_errors_lists_what_was_left_out(server: Service, tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", [*pictures("cat", "dog"), ("cat/bad.png", b"text"), (".DS_Store", b"x")])
    (root / "bird").mkdir()
    head = f"c-{uuid.uuid4().hex[:8]}"
    refused = run(server, "finetune", head, str(root), check=False)
    assert refused.returncode == 1 and "bad.png" in refused.stderr and "invalid_image" in refused.stderr
    shown = run(server, "finetune", head, str(root), "--method", "prototype", "--skip-errors")
    assert "left out: 1" in shown.stdout and "bad.png" in shown.stdout
    assert "passed over: 2" in shown.stderr and "bird/: a folder without images" in shown.stderr


@pytest.mark.parametrize("option", ["--archive-encoding", "--root"])
def test_an_encoding_and_a_root_may_be_named(server: Service, tmp_path: Path, option: str) -> None:
    path, head = tmp_path / "upload.zip", f"c-{uuid.uuid4().hex[:8]}"
    if option == "--root":
        path.write_bytes(zipped(*pictures("flowers/rose", "flowers/lily")))
        value, labels = "flowers", ["lily", "rose"]
    else:
        path.write_bytes(raw_zip([(name.encode("cp850"), data) for name, data in pictures("pão", "maçã")]))
        value, labels = "cp850", ["maçã", "pão"]
    refused = run(server, "finetune", head, str(path), check=False)
    assert refused.returncode == 1 and option.strip("-").replace("-", "_") in refused.stderr.replace("-", "_")
    run(server, "finetune", head, str(path), option, value, "--method", "prototype", "--views", "none")
    assert server.client.head(head)["labels"] == labels


@pytest.mark.slow
def test_the_classes_that_a_head_has_tell_folders_apart_on_both_ways(server: Service, tmp_path: Path) -> None:
    """`cat/indoor` in cat.zip: of the class `cat` of that head, or below a folder around the head's own classes."""
    (path := tmp_path / "cat.zip").write_bytes(zipped(*pictures("cat/indoor", "cat/outdoor")))
    (around := tmp_path / "upload.zip").write_bytes(zipped(*pictures("pets/indoor", "pets/outdoor")))
    head, other = f"c-{uuid.uuid4().hex[:8]}", f"c-{uuid.uuid4().hex[:8]}"
    learned(server, post(server, zipped(*pictures("cat", "dog")), head=head))
    learned(server, post(server, zipped(*pictures("indoor", "outdoor")), head=other))
    refused = post(server, path.read_bytes(), "cat.zip", head=head, mode="append")
    failed = run(server, "finetune", head, str(path), check=False)
    assert refused.status_code == 422 and failed.returncode == 1
    assert refused.json()["detail"] in failed.stderr and "root=cat" in failed.stderr
    assert learned(server, post(server, around.read_bytes(), "upload.zip", head=other, mode="append"))
    run(server, "finetune", other, str(around), "--method", "prototype", "--views", "none")
    assert run(server, "finetune", head, str(around), check=False).returncode == 1  # whose classes are others
    for arguments in ((head, str(path), "--mode", "replace"), (f"c-{uuid.uuid4().hex[:8]}", str(path))):
        run(server, "finetune", *arguments, "--method", "prototype", "--views", "none")
        assert server.client.head(arguments[0])["labels"] == ["indoor", "outdoor"]


def test_a_job_of_the_command_line_says_what_was_understood_and_passed_over(server: Service, tmp_path: Path) -> None:
    files = [
        (f"pets/{split}/{name}", data) for split in ("Training", "Testing") for name, data in pictures("cat", "dog")
    ]
    root = folder(tmp_path / "pets", [*files, ("pets/notes.txt", b"x"), (".DS_Store", b"x")])
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        path.write_bytes(shape(KINDS["dog" in str(path)], number))
    (root / "pets" / "Training" / "bird").mkdir()
    head = f"c-{uuid.uuid4().hex[:8]}"
    shown = run(server, "finetune", head, str(root), "--method", "prototype", "--views", "none", "--json")
    received = json.loads(shown.stdout)["received"]
    assert received["layout"].startswith("split folders") and received["root"] == "pets/"
    assert received["splits"] == {"Testing": "test", "Training": "train"} and received["read_by"] == "client"
    said = {row["item"]: row["reason"] for row in received["passed_over"]["list"]}
    assert set(said) == {"pets/notes.txt", ".DS_Store", "pets/Training/bird/"} and received["passed_over"]["count"] == 3
    assert server.client.report(head)["findings"]["received"]["passed_over"] == received["passed_over"]


def test_a_table_that_labels_the_images_is_refused_on_both_ways(server: Service, tmp_path: Path) -> None:
    rows = "id,breed\n" + "".join(f"{n},{'cat' if n % 2 else 'dog'}\n" for n in range(8))
    files = [(f"batch{n // 4}/{n}.png", shape(KINDS[n % 2], n)) for n in range(8)] + [("labels.csv", rows.encode())]
    refused = post(server, zipped(*files))
    failed = run(server, "finetune", "never", str(folder(tmp_path / "pets", files)), check=False)
    assert refused.status_code == 422 and refused.json()["code"] == "invalid_manifest"
    assert failed.returncode == 1 and refused.json()["detail"] in failed.stderr and "'labels.csv'" in failed.stderr


def test_a_short_name_of_two_encodings_and_a_missing_value_are_refused_on_both_ways(
    server: Service, tmp_path: Path
) -> None:
    (path := tmp_path / "a.zip").write_bytes(raw_zip([(n.encode("gbk"), d) for n, d in pictures("\u732b", "dog")]))
    refused = post(server, path.read_bytes())
    failed = run(server, "finetune", "never", str(path), check=False)
    assert refused.status_code == 422 and "archive_encoding" in refused.json()["detail"] and failed.returncode == 1
    assert "archive_encoding" in failed.stderr
    root = folder(tmp_path / "pets", pictures("cat", "dog"))
    rows = "file_name,label\n" + "".join(f"cat/{n}.png,nan\ndog/{n}.png,dog\n" for n in range(3))
    (root / "list.csv").write_text(rows)
    failed = run(server, "finetune", "never", str(root / "list.csv"), check=False)
    assert failed.returncode == 1 and "line 2: its label is 'nan'" in failed.stderr
    answer = post(server, zipped(*pictures("None", "dog")))
    assert learned(server, answer) == ["None", "dog"]
    assert answer.json()["report"]["data_report"]["missing_names"] == ["None"]
    assert "as programs write a missing value" in server.client.report_page(answer.json()["head"])
