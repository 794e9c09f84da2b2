"""Files of other people that were once read as something else: the command that each comes with, as it stands there.

The cases lie beside the real photos (ESPALIER_TEST_DATA); what each kind is, and the right values, are tested without
them in tests/unit/datasets, tests/unit/modalities and test_names_as_meant. Here is what their senders would see.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from support.pictures import shape
from support.services import ROOT, Service, environment, espalier

from service.client import ApiError

HERE = "http://127.0.0.1:3210"  # as the commands have it
FORM = "-F head=t -F method=prototype -F views=none -F mode=replace"
EMBEDDED, TAUGHT = r'"embeddings":\[\[', r'"status":"succeeded".*"list":'
DARK = r'"status":422.*brightest sample.*range that the file does not declare'
OLD_NAMES = r'"code":"invalid_archive".*old encoding.*archive_encoding'
# What the whole answer, or what was printed, has in it.
OUTCOMES: Mapping[str, str] = {
    "accepted-then-failed": r'"status":422.*4 of 10 images.*"error_count":4',
    "blank-scan-called-bomb": r'"code":"not_enough_data".*blank',
    "bmp-alpha-zero": EMBEDDED,
    "bmp-bitfields": EMBEDDED,
    "camera-raw-thumbnail": r'"status":422.*camera raw.*develop it',
    "class-named-license": TAUGHT + r'\{"id_card":3,"license":3,"passport":3\}',
    "class-named-readme": TAUGHT + r'\{"README":3,"invoice":3,"letter":3\}',
    "class-names-differ-by-case": TAUGHT + r'\{"Cat":3,"cat":3,"dog":3\}',
    "class-only-in-test": r"\"status\":422.*'bird' has examples in the test split only",
    "class-with-dot": TAUGHT + r'\{"\.net":3,"java":3,"python":3\}',
    "cli-name-not-utf8": r"^Error: .*its name is not UTF-8; rename it",
    "cli-quote-in-name": r"\bsucceeded\b.*understood as: one folder a class",
    "cli-tsv-manifest": r"\bsucceeded\b.*understood as: manifest",
    "cli-windows-manifest": r"\bsucceeded\b.*understood as: manifest",
    "csv-quote-after-space": TAUGHT + r'\{"cat":3,"dog":3\}',
    "depth-png16-10bit-data": DARK,
    "depth-png16-12bit-data": DARK,
    "depth-png16-8bit-data": DARK,
    "depth-tiff-12bit-packed": DARK,
    "depth-tiff-int32-8bit": r'"status":422.*no agreed range',
    "depth-tiff-uint32": EMBEDDED,
    "empty-and-foreign-files": r'"status":422.*the file is empty',
    "get-predict-404": r"405 Method Not Allowed.*allow: POST",
    "invisible-characters-in-labels": TAUGHT + r'\{"cat":6,"dog":3\}.*labels_changed',
    "jpeg-ascii-ftp": r'"status":422.*damaged',
    "jpeg-half-closed-with-eoi": r'"status":422.*premature end of data',
    "jpeg-without-eoi": EMBEDDED,
    "labels-csv-ignored": r'"manifest":"labels.csv".*\{"cat":2,"dog":2\}',
    "list-labels-become-classes": r'"status":422.*multilabel',
    "manifest-capital-m": r'"manifest":"Manifest.csv".*\{"cat":2,"dog":2\}',
    "memory-of-64-megapixels": EMBEDDED,
    "one-class-with-subfolders": r"\"status\":422.*'cat'.*root=cat",
    "png-large-icc": EMBEDDED,
    "png-large-text": EMBEDDED,
    "png16-transparency": EMBEDDED,
    "predict-unknown-options": r"\"status\":422.*'coverag'; did you mean 'coverage'",
    "predict-wrong-field-name": r"\"status\":422.*no field 'file'.*`images`",
    "split-folder-mixed-with-classes": r"\"status\":422.*'boat'.*split folders and class folders are not mixed",
    "symlinked-class-folder": r"^Error: 'bird': it is a link out of the folder.*--follow-links",
    "system-folders-become-classes": r'"passed_over":.*\$RECYCLE.BIN.*\{"cat":3,"dog":3\}',
    "tiff16-white-is-zero": EMBEDDED,
    "training-testing-folders": r'"Testing":"test".*\{"glioma":5,"pituitary":5\}',
    "xmp-orientation-jpeg": EMBEDDED,
    "zip-cp1252": OLD_NAMES,
    "zip-cp850-portuguese": OLD_NAMES,
    "zip-shift-jis": OLD_NAMES,
    "zip-unicode-path-extra": TAUGHT + r'\{"犬":3,"猫":3\}',
}


# Of the other files that lie in the folders: what /embed says.
FILES: Mapping[str, str] = {
    "bmp-alpha-zero/control.bmp": EMBEDDED,
    "bmp-bitfields/pal2.bmp": EMBEDDED,
    "bmp-bitfields/rgb32bf.bmp": EMBEDDED,
    "empty-and-foreign-files/b64.txt": r'"status":422.*base64',
    "empty-and-foreign-files/fmt_avif": EMBEDDED,
    "empty-and-foreign-files/heic_head.jpg": r'"status":422.*HEIC',
    "empty-and-foreign-files/html.jpg": r'"status":422.*HTML',
    "empty-and-foreign-files/lfs.jpg": r'"status":422.*git-lfs',
    "jpeg-half-closed-with-eoi/tenth.jpg": r'"status":422.*premature end of data',
    "jpeg-half-closed-with-eoi/whole-without-eoi.jpg": EMBEDDED,
    "png-large-text/xmp.png": EMBEDDED,
    "tiff16-white-is-zero/control8.tif": EMBEDDED,
    "xmp-orientation-jpeg/a.png": EMBEDDED,
}
OLD = "in an old encoding that the archive does not name.*archive_encoding"
# Of archives: whether they train, and what the answer and what the command line prints both have in them.
ARCHIVES: Mapping[str, tuple[bool, str]] = {
    "accepted-then-failed/a.zip": (False, "4 of 10 images cannot be used"),
    "blank-scan-called-bomb/a.zip": (False, "blank"),
    "class-named-license/docs.zip": (True, r'"list":\{"id_card":3,"license":3,"passport":3\}'),
    "class-named-readme/a.zip": (True, r'"list":\{"README":3,"invoice":3,"letter":3\}'),
    "class-names-differ-by-case/a.zip": (
        True,
        r'"list":\{"Cat":3,"cat":3,"dog":3\}.*"similar_names":\[\["Cat","cat"\]\]',
    ),
    "class-only-in-test/a.zip": (False, "'bird' has examples in the test split only"),
    "class-with-dot/a.zip": (True, r'"list":\{"\.net":3,"java":3,"python":3\}'),
    "invisible-characters-in-labels/lre.zip": (True, r'"list":\{"cat":6,"dog":3\}.*"labels_changed"'),
    "invisible-characters-in-labels/zwsp.zip": (True, r'"list":\{"cat":6,"dog":3\}.*"labels_changed"'),
    "labels-csv-ignored/a.zip": (True, r'"manifest":"labels.csv".*"list":\{"cat":2,"dog":2\}'),
    "manifest-capital-m/a.zip": (True, r'"manifest":"Manifest.csv".*"list":\{"cat":2,"dog":2\}'),
    "one-class-with-subfolders/a.zip": (False, "'cat' and in folders below it.*root=cat"),
    "split-folder-mixed-with-classes/a.zip": (False, "'boat'.*split folders and class folders are not mixed"),
    "system-folders-become-classes/eadir.zip": (True, r'"passed_over":.*@eaDir.*"list":\{"cat":3,"dog":3\}'),
    "system-folders-become-classes/recycle.zip": (True, r'"passed_over":.*RECYCLE.BIN.*"list":\{"cat":3,"dog":3\}'),
    "training-testing-folders/a.zip": (True, r'"Testing":"test".*"list":\{"glioma":5,"pituitary":5\}'),
    "zip-cp1252/a.zip": (False, OLD),
    "zip-cp850-portuguese/a.zip": (False, OLD),
    "zip-shift-jis/a.zip": (False, OLD),
    "zip-unicode-path-extra/a.zip": (True, r'"list":\{"犬":3,"猫":3\}'),
}
TAUGHT_SO = ("--method", "prototype", "--views", "none", "--mode", "replace", "--json")


@pytest.fixture(scope="session")
def cases(data: Path) -> Path:
    """The folder of the cases."""
    folder = data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    return folder


@pytest.fixture
def server(server: Service) -> Service:
    """Without the head that all commands teach: what one adds to another's is not what its writer saw."""
    with suppress(ApiError):
        server.client.delete_head("t")
    return server


def copied(cases: Path, name: str, root: Path) -> Path:
    folder = Path(shutil.copytree(cases / name, root / "case", symlinks=True))
    for archive in folder.glob("*.tar"):
        subprocess.run(["tar", "xf", archive.name], cwd=folder, check=True)
    return folder


def command_of(folder: Path) -> str:
    written = re.search(r"Command[^`]*`([^`]+)`", (folder / "README.md").read_text())
    assert written is not None
    return written[1]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", OUTCOMES)
def test_the_command_of_a_case_ends_as_it_should(server: Service, cases: Path, tmp_path: Path, name: str) -> None:
    """In what it prints and in its exit status: 1 where the command line refuses, else 0."""
    folder = copied(cases, name, tmp_path)
    done = run(server, completed(command_of(folder), folder), folder)
    said = done.stdout if "curl" in done.args else done.stdout + done.stderr
    assert re.search(OUTCOMES[name], said, re.DOTALL), said[:3000]
    assert done.returncode == ("curl" not in done.args and "Error" in OUTCOMES[name]), said[:3000]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_the_other_files_of_a_case_end_as_they_should(server: Service, cases: Path, name: str) -> None:
    path = cases / name
    said = run(server, f"curl {HERE}/embed -F images=@{path.name}", path.parent)
    assert said.returncode == 0 and re.search(FILES[name], said.stdout, re.DOTALL), said.stdout[:3000]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_ends_alike_over_http_and_on_the_command_line(server: Service, cases: Path, name: str) -> None:
    trains, says = ARCHIVES[name]
    path = cases / name
    form = {"head": "t", "method": "prototype", "views": "none", "mode": "replace"}
    answer = server.http.post(
        "/finetune", params={"wait": 60}, data=form, files={"archive": (path.name, path.read_bytes())}
    )
    assert answer.status_code == (200 if trains else 422), answer.text[:3000]
    assert re.search(says, answer.text, re.DOTALL), answer.text[:3000]
    assert not trains or answer.json()["status"] == "succeeded"
    with suppress(ApiError):
        server.client.delete_head("t")
    done = espalier("finetune", "t", str(path), *TAUGHT_SO, "--server", server.url, home=server.home, check=False)
    assert done.returncode == (not trains), done.stderr[:3000]
    said = compact(done.stdout) if trains else done.stderr
    assert re.search(says, said, re.DOTALL) and "Traceback" not in done.stderr, said[:3000]


@pytest.mark.data
@pytest.mark.slow
def test_a_file_with_an_old_name_is_one_sentence_or_read(server: Service, cases: Path, tmp_path: Path) -> None:
    folder = copied(cases, "cli-name-not-utf8", tmp_path) / "latin1f"
    sent = ("finetune", "t", str(folder), *TAUGHT_SO, "--server", server.url)
    refused = espalier(*sent, home=server.home, check=False)
    assert refused.returncode == 1 and "its name is not UTF-8; rename it" in refused.stderr
    assert espalier(*sent, "--archive-encoding", "cp1252", home=server.home).returncode == 0


@pytest.mark.data
def test_no_case_and_no_file_of_one_is_left_out(cases: Path) -> None:
    assert {folder.name for folder in cases.iterdir() if folder.is_dir()} == set(OUTCOMES)
    run_so = {*FILES, *ARCHIVES, "cli-name-not-utf8/latin1f.tar"}
    for folder in map(cases.joinpath, OUTCOMES):
        left = {path for path in folder.iterdir() if f"{folder.name}/{path.name}" not in run_so} - {
            folder / "README.md"
        }
        command = command_of(folder)
        unused = [p for p in left if p.name not in command and not ("…" in command and p.suffix == ".jpg")]
        assert all(p.suffix == ".tar" and re.search(rf"\b{p.stem}\b", command) for p in unused), unused


def compact(text: str) -> str:
    return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


def completed(command: str, folder: Path) -> str:
    """With what its writer has left to the reader (`…`): the form's other fields, and all images."""
    if "…" not in command:
        return command
    if not (folder / "1.jpg").exists():
        for number in range(6):
            (folder / f"{number}.jpg").write_bytes(shape(("circle", "square")[number % 2], number))
    images = " ".join(f"-F images=@{path.name}" for path in sorted(folder.glob("[1-9].jpg")))
    first, images_left = command.replace("curl …", f'curl "{HERE}/finetune?wait=60" {FORM}'), images
    return first.replace("…", images_left)


def run(server: Service, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """How it ends. `espalier` is this installation's."""
    command = re.sub(r"\bespalier (?=finetune)", f"{sys.executable} -m service.cli ", command.replace(HERE, server.url))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = environment(server.home) | {"PATH": path, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, shell=True, cwd=folder, env=settings, capture_output=True, text=True, timeout=120)
