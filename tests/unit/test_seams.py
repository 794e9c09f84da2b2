"""A new task, method, modality or backbone is one file: what is shared names none of them.

Counted is who imports a kind's own file, asks for it by its name, or compares with its name. What may, is listed here
with its reason; a list that grows is a seam that leaks.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters import methods, modalities, tasks
from adapters.backbones import cards

ROOT = Path(__file__).parents[2]
SEAMS = {"tasks": tasks.names(), "methods": methods.names(), "modalities": modalities.names()}
KINDS = [(seam, kind) for seam, kinds in SEAMS.items() for kind in kinds] + [("cards", c) for c in cards.embedded()]

TIMM = "timm's models are of images, and so are their precisions, taps and cuts"
MAY = {
    ("modalities", "image"): {
        "adapters/backbones/exporter.py": TIMM,
        "adapters/backbones/loader.py": TIMM,
        "adapters/training/backbone/build.py": TIMM,
        "adapters/training/backbone/observing.py": TIMM,
        "adapters/training/backbone/precisions/__init__.py": TIMM,
        "adapters/training/backbone/precisions/fp16.py": TIMM,
        "adapters/training/backbone/precisions/int8.py": TIMM,
        "adapters/training/backbone/variant.py": TIMM,
        "adapters/runtime/fake.py": "a backbone for tests, of pictures of one colour",
        "service/settings.py": "ESPALIER_MAX_PIXELS is the limit of this modality",
    },
    ("tasks", "classification"): {"adapters/finetune.py": "the head on noise that warms a worker up"},
}


@pytest.mark.parametrize(("seam", "kind"), KINDS)
def test_what_is_shared_names_no_kind(seam, kind):
    named = {str(path.relative_to(ROOT)) for path in shared(seam, kind) if names_it(parsed(path), seam, kind)}
    assert named <= set(MAY.get((seam, kind), {})), f"these would have to change for another of {seam}"


@pytest.mark.parametrize(("seam", "kind"), MAY)
def test_who_may_name_one_still_does(seam, kind):
    for file in MAY[seam, kind]:
        assert names_it(parsed(ROOT / file), seam, kind), file


@pytest.mark.parametrize("seam", SEAMS)
def test_each_kind_is_a_file_or_a_folder_of_its_seam(seam):
    """The file's name is the registry: nothing else lists them."""
    folder = ROOT / "adapters" / seam
    there = {path.stem for path in folder.iterdir() if path.stem != "__init__" and path.name != "__pycache__"}
    assert there == set(SEAMS[seam])


def test_naming_is_found_however_it_is_written():
    found = [
        "from adapters.modalities import image",
        "from adapters.modalities.image import jpeg",
        "import adapters.modalities.image",
        "x = modalities.get('image')",
        "x = name == 'image'",
        "x = name in ('image', 'other')",
        "match name:\n    case 'image': pass",
    ]
    for text in found:
        assert names_it(ast.parse(text), "modalities", "image"), text
    for text in ("x = 'image'", "from adapters.modalities import get", "import imageio", "x = {'image': 1}"):
        assert not names_it(ast.parse(text), "modalities", "image"), text


def shared(seam: str, kind: str) -> Iterator[Path]:
    """Every file but those that are the kind's own."""
    own = ROOT / "adapters" / seam / kind
    for folder in ("adapters", "service"):
        for path in (ROOT / folder).rglob("*.py"):
            if path != own.with_suffix(".py") and own not in path.parents:
                yield path


@functools.cache
def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text())


def names_it(tree: ast.AST, seam: str, kind: str) -> bool:
    return any(_imports(n, seam, kind) or _asks(n, kind) or _compares(n, kind) for n in ast.walk(tree))


def _imports(node: ast.AST, seam: str, kind: str) -> bool:
    module = f"adapters.{seam}.{kind}"
    if isinstance(node, ast.Import):
        return any(f"{each.name}.".startswith(f"{module}.") for each in node.names)
    if not isinstance(node, ast.ImportFrom) or node.module is None:
        return False
    whole = node.module == f"adapters.{seam}" and any(each.name == kind for each in node.names)
    return whole or f"{node.module}.".startswith(f"{module}.")


def _asks(node: ast.AST, kind: str) -> bool:
    """`get("kind")` of a registry, or a card by its name; a dictionary's is asked for something else."""
    if not isinstance(node, ast.Call) or not node.args or not _is(node.args[0], kind):
        return False
    called = ast.unparse(node.func)
    return called.split(".")[-1] in ("embedded_card", "training_side", "calibration") or called.endswith(
        ("tasks.get", "methods.get", "modalities.get")
    )


def _compares(node: ast.AST, kind: str) -> bool:
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        return any(_is(n, kind) for side in sides for n in [side, *getattr(side, "elts", [])])
    return isinstance(node, ast.MatchValue) and _is(node.value, kind)


def _is(node: ast.AST, kind: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == kind
