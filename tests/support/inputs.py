"""What tests know of each modality: inputs of five kinds, made from a number, and how they are labeled and sent.

A test that takes the fixture `inputs` says of photos and of texts what it says, and with `of_every_version` of deep
versions, too. Another modality is one more entry.
"""

import hashlib
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.client import LabeledInput
from support import phrases, pictures


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of one modality."""

    modality: str
    field: str  # of forms
    backbone: str  # that a prepared home has
    suffix: str  # of file names
    kinds: tuple[str, ...]  # five, which a small head tells apart
    one: Callable[[str, int], bytes]  # (kind, number) → one; another number is another one
    copy: Callable[[str, int], bytes]  # the same as `one`, in other bytes
    strange: bytes  # like none of the kinds
    broken: bytes  # what nobody can read
    shown: Callable[[str, Sequence[bytes]], int]  # (page, some) → how many of these a page shows
    other_backbone: Callable[[Path], str]  # adds one to a home: its name
    options: tuple[tuple[str, str], ...] = ()  # that heads of them are taught with, where a test names none

    @property
    def name(self) -> str:
        """Of tests."""
        return f"{self.modality}, deep" if self.options else self.modality

    def asked(self, **others: Any) -> dict[str, Any]:
        """Fields of /finetune: `others`, but for what the kind of version says."""
        return {"field": self.field} | others | dict(self.options)

    def labeled(
        self, kind: str, number: int, label: str | None = None, split: str | None = None, name: str = ""
    ) -> LabeledInput:
        """One of a kind, labeled so unless another label is given."""
        data, file_name = self.one(kind, number), f"{name or f'{kind}-{number}'}{self.suffix}"
        return LabeledInput(file_name, lambda: data, label or kind, split)

    def several(self, kinds: Sequence[str] | None = None, each: int = 8, start: int = 0) -> list[LabeledInput]:
        """`each` of every kind, by default of three, labeled with it."""
        kinds = self.kinds[:3] if kinds is None else kinds
        return [self.labeled(kind, number) for number in range(start, start + each) for kind in kinds]

    def held_out(self, each: int, start: int) -> list[LabeledInput]:
        """The caller's own test set, of three kinds."""
        return [self.labeled(k, start + n, None, "test", f"t-{k}-{n}") for k in self.kinds[:3] for n in range(each)]

    def again(self, kind: str, number: int, name: str = "again") -> LabeledInput:
        """A copy of one in other bytes."""
        data = self.copy(kind, number)
        return LabeledInput(f"{name}{self.suffix}", lambda: data, kind)

    def sha(self, kind: str, number: int) -> str:
        """The SHA-256 of one."""
        return hashlib.sha256(self.one(kind, number)).hexdigest()


def relabeled(one: LabeledInput, label: str) -> LabeledInput:
    """The same under another label."""
    return LabeledInput(one.file_name, one.data, label, one.split)


def _noise() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return pictures.encoded(Image.fromarray(pixels))


def _tiny(home: Path) -> str:
    from support.services import espalier

    espalier("backbones", "add", "resnet18", "size=64", "--weights", "random", "--name", "tiny", home=home)
    return "tiny"


def _short(home: Path) -> str:
    """The encoder of the package as one that reads 32 pieces: by its spec it is another backbone."""
    from adapters.backbones.cards import embedded_card
    from adapters.store import database
    from adapters.store.objects.artifacts import Artifacts
    from adapters.training.backbone.build import build

    card = embedded_card("minilm")
    engine = database.connect(f"sqlite:///{home / 'espalier.sqlite'}")
    build(replace(card, name="short", spec=card.spec | {"max_length": 32}), engine, Artifacts(str(home / "artifacts")))
    engine.dispose()
    return "short"


PICTURES = Inputs(
    "image", "images", "tf_efficientnet_lite0", ".png", pictures.SHAPES, pictures.shape,
    lambda kind, number: pictures.shape(kind, number, "JPEG"), _noise(), b"not an image",
    lambda page, some: page.count("data:image/jpeg;base64,"), _tiny,
)  # fmt: skip
TEXTS = Inputs(
    "text", "texts", "minilm", ".txt", phrases.SUBJECTS, phrases.text,
    lambda kind, number: phrases.text(kind, number).upper() + b" !!", phrases.STRANGE, b"\xff\xd8\xff\xe0",
    lambda page, some: sum(html.escape(one.decode()) in page for one in some), _short,
)  # fmt: skip
EVERY = (PICTURES, TEXTS)
# The cheapest fit that owns a part of the backbone.
_QUICK = (("method", "deep"), ("hyperparameters", '{"unfreeze": "blocks.6", "epochs": 1}'), ("views", "none"))
DEEP_PICTURES = replace(PICTURES, options=_QUICK)
# Of a test that takes `inputs`: what it says is true of deep versions, too.
of_every_version = pytest.mark.parametrize(
    "inputs", [PICTURES, TEXTS, DEEP_PICTURES], ids=lambda one: one.name, indirect=True, scope="module"
)
of_pictures = pytest.mark.parametrize(
    "inputs", [PICTURES, DEEP_PICTURES], ids=lambda one: one.name, indirect=True, scope="module"
)
