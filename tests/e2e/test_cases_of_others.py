"""Files of other people that were once read as something else: the command that each comes with, as it stands there.

The cases lie beside the real photos (ESPALIER_TEST_DATA); what each kind is, and the right values, are tested without
them in tests/unit/datasets, tests/unit/modalities and test_names_as_meant. Here is what their senders would see.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.pictures import shape
from support.services import ROOT, Service, environment

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
    "cli-quote-in-name": r"understood as: one folder a class",
    "cli-tsv-manifest": r"understood as: manifest",
    "cli-windows-manifest": r"understood as: manifest",
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
    "system-folders-become-classes": r'\{"cat":3,"dog":3\}.*passed_over.*\$RECYCLE.BIN',
    "tiff16-white-is-zero": EMBEDDED,
    "training-testing-folders": r'"Testing":"test".*\{"glioma":5,"pituitary":5\}',
    "xmp-orientation-jpeg": EMBEDDED,
    "zip-cp1252": OLD_NAMES,
    "zip-cp850-portuguese": OLD_NAMES,
    "zip-shift-jis": OLD_NAMES,
    "zip-unicode-path-extra": TAUGHT + r'\{"犬":3,"猫":3\}',
}


@pytest.fixture(scope="session")
def cases(data: Path) -> Path:
    """The folder of the cases."""
    folder = data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    return folder


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", OUTCOMES)
def test_the_command_of_a_case_ends_as_it_should(server: Service, cases: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(cases / name, tmp_path / "case", symlinks=True))
    for archive in folder.glob("*.tar"):
        subprocess.run(["tar", "xf", archive.name], cwd=folder, check=True)
    written = re.search(r"Command[^`]*`([^`]+)`", (folder / "README.md").read_text())
    assert written is not None
    said = run(server, completed(written[1], folder), folder)
    assert re.search(OUTCOMES[name], said, re.DOTALL), said[:3000]


@pytest.mark.data
def test_no_case_is_left_out(cases: Path) -> None:
    assert {folder.name for folder in cases.iterdir() if folder.is_dir()} == set(OUTCOMES)


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


def run(server: Service, command: str, folder: Path) -> str:
    """What it prints. `espalier` is this installation's."""
    command = re.sub(r"\bespalier (?=finetune)", f"{sys.executable} -m service.cli ", command.replace(HERE, server.url))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = environment(server.home) | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, cwd=folder, env=settings, capture_output=True, text=True, timeout=120)
    return done.stdout if "curl" in command else done.stdout + done.stderr
