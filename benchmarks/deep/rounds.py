"""One draw of a data set, taught every way: heads on embeddings, tails by their cut, all layers, what `auto` makes."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from adapters import tasks
from adapters.backbones.parts import POOLED, TAPS
from adapters.runtime.onnx import processor, session
from adapters.training import programs
from adapters.training.backbone import cuts, observing
from adapters.training.data.split import Split, split
from adapters.training.deep import deep_round
from adapters.training.deep.examples import Examples
from adapters.training.deep.outcome import Declined, DeepResult
from adapters.training.race.race import RaceResult, race
from adapters.types import Embeddings, Floats, Indices, Schema
from benchmarks import datasets
from benchmarks.adaptation import all_of, drawn
from benchmarks.deep.spent import spent

TEST_SHARE = 0.3  # of gtsrb's 60 a class, so that 42 are left to learn from
SHALLOW = {"pooled": (POOLED,), "taps": (TAPS,), "shallow": (TAPS, POOLED)}  # way → what heads may read
AUTO = "auto"
CHUNK = 16  # test photos a pass
TASK = tasks.get("classification")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Photos:
    """A data set as training sees it."""

    pixels: np.ndarray  # u8 [N, S, S, 3]
    embeddings: Embeddings  # f32 [N, E]
    targets: Indices  # [N]
    groups: Indices  # [N], of near-duplicates

    @classmethod
    def load(cls, name: str, precision: str) -> "Photos":
        """Of a data set, by the embedded backbone in a precision."""
        return cls(datasets.load_pixels(name), *datasets.load(name, precision, taps=True))


class Draw:
    """Examples to train on and others to test on, and what both are embedded by."""

    def __init__(self, photos: Photos, precision: str, count: str, seed: int) -> None:
        self.photos, self.seed = photos, seed
        self.backbone, self.graph = datasets.backbone_of(precision)
        random = np.random.default_rng(seed)
        self.train, self.test = drawn(photos.targets, photos.groups, count, random, TEST_SHARE)

    @cached_property
    def examples(self) -> Examples:
        """Those to train on."""
        assert self.train is not None
        train, nothing = self.train, [None] * len(self.train)
        targets = self.photos.targets[train]
        classes = [str(k) for k in range(int(self.photos.targets.max()) + 1)]
        parts: Split = all_of(split(targets, self.photos.groups[train], nothing, nothing, 0))
        return Examples(
            lambda row: {"pixels": self.photos.pixels[train[row]]}, self.photos.embeddings[train],
            self.backbone.dimension, {"class": targets}, classes, parts, TASK,
        )  # fmt: skip

    @cached_property
    def shallow(self) -> RaceResult:
        """What the deep round starts from and has to beat."""
        return self.raced("shallow")

    def raced(self, way: str) -> RaceResult:
        """The race over what heads may read."""
        given, whole = self.examples, {TAPS: self.photos.embeddings.shape[1], POOLED: self.backbone.dimension}
        lengths = {part: whole[part] for part in SHALLOW[way]}
        return race(
            given.embeddings, given.targets, given.classes, given.split, TASK, "auto", {}, 0, lambda _: None,
            lambda: None, lengths=lengths,
        )  # fmt: skip

    def deepened(self, way: str, **hyperparameters: Any) -> DeepResult | Declined:
        """The deep round: of the cut that the way names, whatever the evidence says; or `auto`."""
        chosen = hyperparameters | ({"ensemble": AUTO} if way == AUTO else {"unfreeze": way})
        with tempfile.TemporaryDirectory(dir=datasets.CACHE) as folder:
            return deep_round.run(
                Path(folder), self.graph, observing.of(self.backbone), self.examples, self.shallow, chosen, 0,
                lambda _: None, lambda _: None, lanes=processor.cores(), always=way != AUTO,
            )  # fmt: skip

    def said(self, result: RaceResult | DeepResult) -> Floats:
        """Probabilities f32 [M, K] of what was not taught, as serving would answer."""
        rows = self.photos.embeddings[self.test]
        if isinstance(result, DeepResult):  # an ensemble reads what follows `pooled`, too
            rows = np.concatenate([self._pooled(result), rows], axis=1)
        return programs.run(result.program, rows)

    def _pooled(self, result: DeepResult) -> Embeddings:
        """f32 [M, D] of the test photos, through the trunk and the trained tail."""
        trunk, tail = session.create(cuts.trunk(self.graph, result.cut)), session.create(result.tail)
        name, found = trunk.get_inputs()[0].name, []
        for start in range(0, len(self.test), CHUNK):
            pixels = np.ascontiguousarray(self.photos.pixels[self.test[start : start + CHUNK]])
            (tap,) = trunk.run(None, {name: pixels})
            found.append(tail.run(None, {cuts.TAP: tap})[0])
        return np.concatenate(found)

    def figures(self, said: Floats) -> Row:
        """Accuracy, log-loss and calibration error."""
        answers, schema = TASK.answers(said), Schema(tuple(self.examples.classes), {})
        found = TASK.metrics(answers, {"class": self.photos.targets[self.test]}, schema)
        return {"accuracy": found["accuracy"], "loss": found["log_loss"], "ece": found["ece"]}


def rows(draw: Draw, ways: Sequence[str], **hyperparameters: Any) -> Iterator[Row]:
    """A row for each way. `seconds` are of processor, of all threads; what the deep ones begin with counts for them."""
    base = spent(lambda: draw.shallow)[1] if any(way not in SHALLOW for way in ways) else 0.0
    for way in ways:
        row: Row = {"way": way, "examples": len(draw.examples.embeddings)}
        if way in SHALLOW:
            result, seconds = spent(lambda way=way: draw.raced(way))
            yield row | {"seconds": seconds, "won": result.method} | draw.figures(draw.said(result))
            continue
        found, seconds = spent(lambda way=way: draw.deepened(way, **hyperparameters))
        deep = found if isinstance(found, DeepResult) else None
        told = {"won": deep.cut.name if deep else "shallow", "evidence": found.evidence, "table": found.table}
        yield row | told | {"seconds": base + seconds} | draw.figures(draw.said(deep or draw.shallow))
