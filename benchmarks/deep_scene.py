"""What `deep_serving` measures on: a home with deep and shallow heads, and the bare loops that do their work."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from adapters.backbones import cuts
from adapters.modalities import image
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.heads.head import Head
from benchmarks import load, photos, synthetic
from benchmarks.deep_copies import CutBackbone
from benchmarks.serving import multipart

CUT = "blocks.5"
CLASSES = ("a", "b", "c", "d")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    deep: int
    shallow: int
    repetitions: int
    seconds: float  # of a turn
    turns: int  # of each kind in a repetition


FULL, QUICK = Plan(50, 1000, 7, 1.0, 3), Plan(4, 10, 1, 0.3, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What all turns share."""

    plan: Plan
    parts: CutBackbone  # as it is served
    plain: CutBackbone  # in fp32
    store: synthetic.Store
    pictures: list[bytes]

    def asked(self, port: int, *heads: list[str]) -> list[bytes]:
        """Requests for one group of heads after the other, with one picture after the other, which is the body."""
        rows = zip(itertools.cycle(self.pictures), itertools.cycle(heads), range(256))
        paths = ((f"/predict?head={'&head='.join(group)}", data) for data, group, _ in rows)
        return [load.request(path, data, "image/jpeg", port) for path, data in paths]

    def forms(self, port: int, images: int, count: int) -> list[bytes]:
        """Requests with so many pictures each, for one deep head after the other; no file is on its way twice."""
        files = photos.distinct(self.pictures, count * images)
        parts = (files[start : start + images] for start in range(0, len(files), images))
        forms = (multipart(part, [f"deep-{number % self.plan.deep}"]) for number, part in enumerate(parts))
        return [load.request("/predict", *form, port) for form in forms]


@functools.cache
def trunk(scene: Scene) -> BackboneSession:
    """The backbone's first part, as it is served."""
    return trunk_of(scene.plain, scene.store)


def trunk_of(parts: CutBackbone, store: synthetic.Store) -> BackboneSession:
    """That of a cut backbone."""
    deep = {"cut": {"name": CUT, "dtype": parts.cut.dtype, "shape": parts.cut.shape}, "trunk": ""}
    return BackboneSession(cuts.trunk_of(store.backbone, deep), parts.trunk)


@functools.cache
def tails(scene: Scene) -> list[Head]:
    """The deep heads that are served, opened once more."""
    return [Head.from_bytes(scene.parts.head(n, CLASSES)) for n in range(scene.plan.deep)]


def shallow_loop(scene: Scene) -> Callable[[bytes], int]:
    """Decode → backbone → one of the shallow heads."""
    backbone, heads = _whole(scene), _shallow_heads(scene)

    def one(data: bytes) -> int:
        embedding = backbone.embed([image.decode(data, scene.store.backbone.spec)])
        return int(next(heads).answer(embedding).arrays["probabilities"].argmax())

    return one


@functools.cache
def _whole(scene: Scene) -> BackboneSession:
    return BackboneSession(scene.store.backbone, scene.store.artifacts.get(scene.store.backbone.artifact))


@functools.cache
def _shallow_heads(scene: Scene) -> Iterator[Head]:
    live = (scene.store.live(f"shallow-{number}") for number in range(min(scene.plan.shallow, scene.plan.deep)))
    return itertools.cycle([Head.from_bytes(scene.store.artifacts.get(version.digest)) for version in live])


def deep_loop(scene: Scene, count: int) -> Callable[[bytes], int]:
    """Decode → trunk → so many tails, the next ones each time, as short as it can be written."""
    cut, heads = trunk(scene), tails(scene)
    groups = itertools.cycle([heads[n : n + count] for n in range(0, len(heads), count)])

    def one(data: bytes) -> int:
        tap = cut.embed([image.decode(data, scene.store.backbone.spec)])
        return max(int(head.answer(tap).arrays["probabilities"].argmax()) for head in next(groups))

    return one
