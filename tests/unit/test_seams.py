"""A new task, method, modality or backbone is one file: what is shared names none of them.

Counted is who imports a kind's own file, asks for it by its name, or compares with its name; and whose identifiers,
keys, settings or metrics say of what kind the inputs are. What may, is listed here with its reason; a list that grows
is a seam that leaks.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters import methods, modalities, tasks
from adapters.backbones import cards
from adapters.store.quotas.limits import NAMES as QUOTAS
from service import telemetry
from service.settings import Settings

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

WORDS = {"image", "images", "photo", "photos", "picture", "pictures", "pixel", "pixels", "texts"}
# `text` is also what Python's strings are called, so only names that users meet are without it.
MET = WORDS | {"text"}

ANY = None  # of what a file or a folder says
CLIENT = "the client of Python has a word for each kind that is built in, beside `inputs`"
ROUTE = "the address /image, older than /content, and what it refuses"
BENTO = "BentoML's route is for one image; its clients know the parameter"
COLUMN = "the column's name, which a migration may not change"
TABLES = "a table may bring texts themselves, in place of files"
SAYS = {  # file or folder → (why, the identifiers and keys)
    "adapters/backbones/exporter.py": (TIMM, {"pixels"}),
    "adapters/training/backbone/": (TIMM, ANY),
    "adapters/training/deep/": ("the last part of timm's models is trained, on what images are augmented by", ANY),
    "adapters/runtime/fake.py": ("a backbone for tests, of pictures of one colour", {"pixels"}),
    "adapters/errors.py": (
        "codes of errors, which the modality raises",
        {"InvalidImage", "ImageTooLarge", "invalid_image", "image_too_large"},
    ),
    "adapters/types.py": ("what is stored without a modality is of images", {"image"}),
    "adapters/store/migrations/": (COLUMN, {"images"}),
    "adapters/store/schema.py": (COLUMN, {"images"}),
    "adapters/store/scale_out/shards.py": (COLUMN, {"images"}),
    "adapters/store/quotas/tables.py": ("what rows call a rate since before there were texts", {"images_per_second"}),
    "adapters/store/reports.py": ("what reports of earlier releases call it", {"more_images"}),
    "service/operations/answers.py": ("what backups that are there call it", {"image"}),
    "service/settings.py": (
        "ESPALIER_MAX_PIXELS is the limit of this modality; and what two settings were called",
        {"max_pixels", "image", "ESPALIER_MAX_PREDICT_IMAGES", "ESPALIER_TENANT_IMAGES_PER_SECOND"},
    ),
    "service/intake/datasets/table_forms.py": ("keys of COCO's files", {"images", "image_id"}),
    "service/api/docs.py": ("`img-src` of a page's policy", {"pictures"}),
    "service/api/heads/contents.py": (ROUTE, {"_require_image", "image"}),
    "service/api/heads/examples.py": (ROUTE, {"get_image", "image"}),
    "service/api/heads/sampling.py": (ROUTE, {"get_sample_image", "image"}),
    "service/api/inference/bento.py": (BENTO, {"image"}),
    "service/api/openapi.py": (BENTO, {"image"}),
    "service/app.py": (BENTO, {"image"}),
    "service/cli/commands/teach.py": ("what is no file on the command line is a text", {"texts"}),
    "service/client/__init__.py": (CLIENT, {"LabeledImage"}),
    "service/client/inputs.py": (CLIENT, {"LabeledImage"}),
    "service/client/answers.py": (CLIENT, {"images", "texts"}),
    "service/client/examples.py": (ROUTE, {"image", "sample_image"}),
    "service/client/jobs.py": (CLIENT, {"images", "texts"}),
    "service/intake/datasets/arrangement.py": (
        TABLES, {"_by_texts", "of_texts", "_brings_texts", "are_texts", "texts"}
    ),
    "service/intake/datasets/kinds.py": ("text beside other inputs is about them", {"_texts", "texts"}),
    "service/intake/datasets/manifests.py": (
        "usual names of columns, and tables of texts", {"brings_texts", "image", "image_name", "image_path", "texts"}
    ),
    "service/intake/datasets/sources.py": (TABLES, {"of_texts"}),
    "service/intake/labeled_uploads.py": (TABLES, {"texts"}),
}  # fmt: skip


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
    there = {path.stem for path in folder.iterdir() if path.name[0] != "_"}
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


def test_what_is_shared_says_inputs():
    """A count, a limit or a key of inputs of any kind is not one of images; see docs/adr/0028-seams.md."""
    found = {str(path.relative_to(ROOT)): said_in(parsed(path)) for path in shared_by_modalities()}
    assert {file: left for file, names in found.items() if (left := names - _may_be_said(file))} == {}


@pytest.mark.parametrize("where", SAYS)
def test_who_may_say_what_still_does(where):
    said = set().union(*(said_in(parsed(path)) for path in shared_by_modalities() if _is_in(path, where)))
    assert said and said >= (SAYS[where][1] or set())


def test_settings_metrics_and_quotas_say_inputs():
    settings = {name for name in Settings.model_fields if words_of(name) & MET}
    assert settings == {"max_pixels"}, "limits of one modality alone are named after its unit"
    metrics = [metric.name for metric in telemetry.REGISTRY.collect()]
    labels = [value for m in telemetry.REGISTRY.collect() for s in m.samples for value in s.labels.values()]
    assert len(metrics) > 40 and not [name for name in [*metrics, *labels, *QUOTAS] if words_of(name) & MET]


def test_saying_is_found_however_it_is_written():
    found = [
        "max_predict_images: int = Field(1024)",
        "IMAGES = counter('x')",
        "counter('predict_images', 'Inputs.')",
        "row = {'more_images': 'yes'}",
        "span = {'espalier.images': 1}",
        "def f(images): pass",
        "def read_texts(): pass",
        "class LabeledImage: pass",
        "for self.photo in x: pass",
        "import x as pictures",
        "g(images=1)",
    ]
    for text in found:
        assert said_in(ast.parse(text)), text
    for text in ("text = path.read_text()", "x = 'Of images, the same.'", "imagenet = 1", "x = f.images"):
        assert not said_in(ast.parse(text)), text


def said_in(tree: ast.AST) -> set[str]:
    """Identifiers that a file gives, and strings that are names, in which a kind of input is said."""
    return {name for node in ast.walk(tree) for name in _names(node) if words_of(name) & WORDS}


def words_of(name: str) -> set[str]:
    """`max_predict_images`, `LabeledImage`, `espalier.images` → their words, lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.arg(arg=name) | ast.keyword(arg=str(name)) | ast.alias(asname=str(name)):
            yield name
        case ast.Constant(value=str(name)) if re.fullmatch(r"[A-Za-z_]+([.-][A-Za-z_]+)*", name):
            yield name


def shared_by_modalities() -> Iterator[Path]:
    """Every file but those of modalities."""
    own = ROOT / "adapters" / "modalities"
    return (
        path for folder in ("adapters", "service") for path in (ROOT / folder).rglob("*.py") if own not in path.parents
    )


def _is_in(path: Path, where: str) -> bool:
    file = str(path.relative_to(ROOT))
    return file.startswith(where) if where.endswith("/") else file == where


def _may_be_said(file: str) -> set[str]:
    names = next((names for where, (_, names) in SAYS.items() if _is_in(ROOT / file, where)), set())
    return said_in(parsed(ROOT / file)) if names is ANY else names


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
