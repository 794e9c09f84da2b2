"""Deep versions of texts: banking77's questions with its own test set, taught on the frozen encoder and deep.

`shots` questions of each of 77 intents are trained on. `shallow` is what the race makes of their embeddings, and `auto`
what the deep round makes of that where it has the evidence. Copies across the drawn questions are grouped as jobs do.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from adapters import tasks
from adapters.modalities import text as modality
from adapters.modalities.text import alike
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.onnx import processor, session
from adapters.training import programs
from adapters.training.backbone import cuts, observing
from adapters.training.data.duplicates import groups
from adapters.training.data.split import split
from adapters.training.deep import deep_round
from adapters.training.deep.examples import Examples
from adapters.training.deep.outcome import Declined, DeepResult
from adapters.training.race.race import RaceResult, race
from adapters.types import Floats, Indices, Schema, Tensors
from benchmarks import banking, datasets, server
from benchmarks.adaptation import all_of
from benchmarks.deep.spent import spent

DATA, WAYS = "banking77", ("shallow", "auto")
TASK = tasks.get("classification")
Row = dict[str, Any]


@dataclass(frozen=True)
class Questions:
    """The data set as training sees it, and the encoder."""

    loaded: BackboneSession
    graph: bytes
    tensors: list[Tensors]  # of what may be trained on
    embeddings: Floats  # f32 [N, D]
    prints: np.ndarray  # u8 [N, 128]
    targets: Indices  # [N]
    asked: list[Tensors]  # of the test set
    wanted: Indices

    @classmethod
    def load(cls) -> "Questions":
        """Of a home of its own."""
        with server.prepared() as home:
            backbone, graph = banking.stored(home)
        loaded = BackboneSession(backbone, graph)
        (train, labels), (test, truth) = banking.questions("train"), banking.questions("test")
        names, targets = np.unique(labels, return_inverse=True)
        tensors, asked = ([modality.decode(each.encode(), backbone.spec) for each in texts] for texts in (train, test))
        prints = np.array([modality.fingerprint({}, each.encode()) for each in train])
        embeddings = np.concatenate([np.asarray(loaded.embed([each])) for each in tensors])
        return cls(loaded, graph, tensors, embeddings, prints, targets, asked, np.searchsorted(names, truth))


class Draw:
    """Some questions to train on."""

    def __init__(self, questions: Questions, count: str, seed: int) -> None:
        self.all, self.seed = questions, seed
        self.train = banking.drawn(questions.targets, count, seed)

    @cached_property
    def examples(self) -> Examples:
        """Those to train on."""
        mine, train = self.all, self.train
        targets, known = mine.targets[train], mine.embeddings[train]
        nothing: list[Any] = [None] * len(train)
        grouped = groups(alike, known, mine.prints[train], [str(i) for i in range(len(train))], nothing)
        parts = all_of(split(targets, grouped, nothing, nothing, self.seed))
        lengths = np.array([len(mine.tensors[position][modality.IDS]) for position in train])
        return Examples(
            lambda position: mine.tensors[train[position]], known, mine.loaded.backbone.dimension, {"class": targets},
            [str(k) for k in range(int(mine.targets.max()) + 1)], parts, TASK, lengths,
        )  # fmt: skip

    @cached_property
    def shallow(self) -> RaceResult:
        """What the deep round starts from and has to beat."""
        given = self.examples
        return race(
            given.embeddings, given.targets, given.classes, given.split, TASK, "auto", {}, self.seed, lambda _: None,
            lambda: None,
        )  # fmt: skip

    def deepened(self) -> DeepResult | Declined:
        """The deep round as `auto` has it."""
        with tempfile.TemporaryDirectory(dir=datasets.CACHE) as folder:
            return deep_round.run(
                Path(folder), self.all.graph, observing.of(self.all.loaded.backbone), self.examples, self.shallow, {},
                self.seed, lambda _: None, lambda _: None, lanes=processor.cores(),
            )  # fmt: skip

    def figures(self, result: RaceResult | DeepResult) -> Row:
        """Accuracy, log-loss and calibration error on the test set, as serving would answer."""
        read = self._embedded()
        if isinstance(result, DeepResult):  # an ensemble reads what follows `pooled`, too
            read = np.concatenate([self._tails(result), read], axis=1)
        answers, schema = TASK.answers(programs.run(result.program, read)), Schema(tuple(self.examples.classes), {})
        found = TASK.metrics(answers, {"class": self.all.wanted}, schema)
        return {"accuracy": found["accuracy"], "loss": found["log_loss"], "ece": found["ece"]}

    def _embedded(self) -> Floats:
        return np.concatenate([np.asarray(self.all.loaded.embed([each])) for each in self.all.asked])

    def _tails(self, result: DeepResult) -> Floats:
        trunk, tail = session.create(cuts.trunk(self.all.graph, result.cut)), session.create(result.tail)
        batches = (modality.collate([each], self.all.loaded.backbone.spec) for each in self.all.asked)
        return np.concatenate([tail.run(None, {cuts.TAP: trunk.run(None, dict(batch))[0]})[0] for batch in batches])


def rows(questions: Questions, count: str, seed: int) -> Iterator[Row]:
    """A row for the frozen encoder and one for `auto`; `seconds` are of processor, and those of the first count for
    both.
    """
    draw = Draw(questions, count, seed)
    about = {"examples": len(draw.examples.embeddings)}
    shallow, seconds = spent(lambda: draw.shallow)
    before = draw.figures(shallow)
    yield about | {"way": "shallow", "seconds": seconds, "won": shallow.method} | before
    found, more = spent(draw.deepened)
    deep = found if isinstance(found, DeepResult) else None
    told = {"won": deep.cut.name if deep else "shallow", "evidence": found.evidence, "table": found.table}
    after = draw.figures(deep) if deep else before
    yield about | {"way": "auto", "seconds": seconds + more} | told | after
