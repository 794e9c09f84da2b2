"""What every task keeps with every method that can do it: one suite over the files of both folders."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest

from adapters import methods, tasks
from adapters.arrays import count, each, joined, row, take
from adapters.errors import InvalidInput, InvalidLabel, NotEnoughData
from adapters.runtime.heads.head import Head
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.data.split import split
from adapters.training.embedding.views import Choices
from adapters.training.publish import export, verify
from adapters.training.race.evaluate import evaluate
from adapters.training.race.race import race
from adapters.training.trust import novelty, terms
from adapters.trust import Terms
from adapters.types import Example, Schema

COUNT, DIMENSION = 90, 20
CENTRES = np.random.default_rng(9).normal(size=(3, DIMENSION))
PAIRS = [
    (task, method)
    for task in tasks.names()
    for method in ("auto", *methods.names())
    if method == "auto" or tasks.get(task).OBJECTIVE in methods.get(method).OBJECTIVES
]
SENT = {  # a caller's labels of one picture in which things 0, 1, 2 can be seen as often as `seen` says
    "classification": lambda seen: "abc"[int(seen.argmax())],
    "multilabel": lambda seen: json.dumps([name for name, s in zip("abc", seen, strict=True) if s > 0.5]),
    "regression": lambda seen: json.dumps({"left": float(3 * seen[0] + 10), "right": float(seen[1] - seen[2])}),
}
BAD = {"classification": " ", "multilabel": "[1]", "regression": "tall"}


class Data:
    """Embeddings that are mixtures of three things, and labels of a task."""

    def __init__(self, name: str, count: int = COUNT, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        seen = random.random((count, 3))
        noise = random.normal(scale=0.2, size=(count, DIMENSION))
        self.task: Task = tasks.get(name)
        self.embeddings = np.abs(seen @ CENTRES + noise + 2).astype(np.float32)
        self.labels = [self.task.parse_label(SENT[name](row), f"image {i}") for i, row in enumerate(seen)]
        self.classes = self.task.classes(self.labels)
        self.targets = self.task.targets(self.labels, self.classes)
        nothing = [None] * count
        self.parts = split(self.task.strata(self.targets), np.arange(count), nothing, nothing, 0)

    def race(self, method: str, choices: Choices | None = None):
        fixed = {"epochs": 20, "hidden": 32, "batch_size": 16} if method == "mlp" else {}
        return race(
            self.embeddings, self.targets, self.classes, self.parts, self.task, method, fixed, 0,
            lambda facts: None, lambda: None, None, choices,
        )  # fmt: skip

    def examples(self) -> list[Example]:
        return [Example(f"sha{i}", label, f"{i}.jpg") for i, label in enumerate(self.labels)]


@pytest.fixture(scope="module", params=PAIRS, ids=[f"{t}-{m}" for t, m in PAIRS])
def raced(request):
    data = Data(request.param[0])
    result = data.race(request.param[1])
    measured = evaluate(result, data.task, data.embeddings, data.targets, data.classes, data.parts)
    return data, request.param[1], result, measured


@pytest.fixture(params=tasks.names())
def data(request) -> Data:
    return Data(request.param)


def test_the_same_seed_gives_the_same_head(raced):
    data, method, result, _ = raced
    assert programs.to_bytes(data.race(method).program) == programs.to_bytes(result.program)


def test_it_learns_something(raced):
    """Unseen answers beat what a head that has learned nothing says."""
    data, _, _, measured = raced
    held = take(data.targets, measured.index)
    fitted = data.task.fitted(held)
    usual = np.broadcast_to(fitted.mean(axis=0), (len(fitted), len(data.classes)))
    if data.task.OBJECTIVE == "softmax":
        usual = np.eye(len(data.classes))[np.full(len(fitted), np.bincount(fitted).argmax())]
    constant = data.task.answers(usual.astype(np.float32))
    merits = [data.task.merits(said, held, measured.schema).mean() for said in (measured.outputs, constant)]
    assert merits[0] > merits[1]


def test_a_batch_answers_as_its_rows_do_one_by_one(raced):
    data, _, result, _ = raced
    graph = Head.from_bytes(export.to_onnx(result.program, DIMENSION, data.classes, {}))
    whole = graph.answer(data.embeddings).arrays
    single = joined([graph.answer(data.embeddings[i : i + 1]).arrays for i in range(COUNT)])
    for name in data.task.shapes(data.classes):
        np.testing.assert_allclose(whole[name], single[name], rtol=1e-5, atol=1e-6)


def test_the_exported_graph_keeps_values_and_decisions(raced):
    data, _, result, measured = raced
    trusted = terms.learn(result.program, data.task, measured, data.embeddings, data.targets, data.parts)
    stored = programs.from_bytes(programs.to_bytes(trusted.program))
    graph = export.to_onnx(stored, DIMENSION, data.classes, trusted.metadata)
    proof = verify.verify(graph, trusted.program, data.embeddings, 32, data.task, measured.schema)
    assert proof["max_difference"] < 1e-4
    said = Head.from_bytes(graph).answer(data.embeddings).arrays
    wanted = data.task.answers(programs.run(stored, data.embeddings))
    assert said.keys() == {*data.task.shapes(data.classes), "novelty"}
    assert not data.task.regret(wanted, said, measured.schema).max() > 1e-6


def test_answers_are_finite_and_probabilities_are_some(raced):
    data, _, result, _ = raced
    outputs = programs.run(result.program, data.embeddings)
    assert outputs.shape == (COUNT, len(data.classes)) and np.isfinite(outputs).all()
    if data.task.OBJECTIVE != "squared":
        assert (outputs >= 0).all() and (outputs <= 1).all()
    if data.task.OBJECTIVE == "softmax":
        np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)


def test_the_figures_are_ready_for_json_and_fit_the_answers(raced):
    data, _, _, measured = raced
    assert json.loads(json.dumps(measured.figures, allow_nan=False))["examples"] == len(measured.index)
    assert measured.figures["evaluation"] == "cross-validation" and "explanation" in measured.figures
    again = Schema(measured.schema.classes, json.loads(json.dumps(measured.schema.decision)))
    first = data.task.decode(row(measured.outputs, 0), again, 3)
    assert first == data.task.decode(row(measured.outputs, 0), measured.schema, 3)
    assert {"label", "score", "top"} == set(first)
    assert data.task.names(data.task.parse_label(json.dumps(first["label"]).strip('"'), "x")) or not first["label"]


def test_nothing_is_mutated(raced):
    data, method, _, _ = raced
    before = copy.deepcopy((data.embeddings, data.targets, data.classes, data.labels))
    data.race(method)
    np.testing.assert_equal((data.embeddings, data.targets, data.classes, data.labels), before)


def test_it_can_learn_from_further_views(raced):
    """Every example is measured once, as serving sees it, by a fit on three rows of each of the others."""
    data, method, _, _ = raced
    further = np.stack([data.embeddings + 0.1, data.embeddings - 0.1])
    result = data.race(method, {"more": further})
    assert {row["views"] for row in result.table} == {"more"} and count(result.outputs) == COUNT
    assert np.isfinite(programs.run(result.program, data.embeddings)).all()


def test_a_coverage_holds_for_the_examples_that_it_was_made_from(raced):
    data, _, _, measured = raced
    held = take(data.targets, measured.index)
    told = data.task.held_out(measured.outputs, held, measured.schema)
    least = float(np.sort(told.of_truth)[int(0.1 * count(held))])
    promised = [
        data.task.promised(answer, measured.schema, 0.5, Terms(coverage=0.9, least=least))
        for answer in each(measured.outputs)
    ]
    assert np.mean([_holds(p, data, i) for p, i in zip(promised, measured.index, strict=True)]) >= 0.89


def _holds(promised: dict, data: Data, position: int) -> bool:
    label = data.labels[position]
    if "set" in promised:
        return set(data.task.names(label)) <= set(promised["set"])
    wanted, intervals = data.task.shown(label), promised["interval"]
    return all(intervals[k][0] - 1e-4 <= wanted[k] <= intervals[k][1] + 1e-4 for k in wanted)


def test_novelty_needs_no_classes(data):
    found = novelty.fit(data.embeddings, data.task.kinds(data.targets), data.parts)
    assert len(found.distances) == COUNT


def test_a_label_survives_storage_and_is_shown_in_its_shape(data):
    for label in data.labels:
        shown = data.task.shown(label)
        sent = shown if isinstance(shown, str) else json.dumps(shown)
        assert data.task.parse_label(sent, "x") == label
        assert set(data.task.names(label)) <= set(data.classes)


def test_a_bad_label_names_the_item(data):
    name = next(n for n in tasks.names() if tasks.get(n) is data.task)
    with pytest.raises(InvalidLabel, match=r"image 7 \(x.jpg\)") as refused:
        data.task.parse_label(BAD[name], "image 7 (x.jpg)")
    assert refused.value.item == "image 7 (x.jpg)"


def test_enough_examples_are_enough_and_none_are_too_few(data):
    data.task.check_examples(data.examples())
    with pytest.raises(NotEnoughData):
        data.task.check_examples([])


def test_one_image_with_two_labels_is_named(data):
    first, *rest = data.examples()
    other = next(e for e in rest if e.label != first.label)
    with pytest.raises(InvalidLabel, match=r"0\.jpg"):
        data.task.check_examples([first, *rest, Example(first.sha256, other.label, "again.jpg")])


def test_a_label_of_another_head_is_refused(data):
    known = data.classes[:-1]
    with pytest.raises(InvalidLabel):
        data.task.targets(data.labels, known)


def test_every_class_can_be_renamed_and_back(data):
    names = {name: f"{name}!" for name in data.classes}
    back = {new: old for old, new in names.items()}
    for label in data.labels:
        renamed = data.task.renamed(label, names)
        assert renamed is not None and data.task.renamed(renamed, back) == label


def test_every_part_of_a_split_has_its_share_of_every_stratum(data):
    strata = data.task.strata(data.targets)
    assert strata.shape == (COUNT,) and strata.dtype == np.int64
    for _, val in data.parts.folds:
        assert set(strata[val]) == set(strata)


def test_a_method_that_cannot_do_a_task_says_which_can():
    for task in tasks.names():
        for method in methods.names():
            if (task, method) not in PAIRS:
                with pytest.raises(InvalidInput, match="cannot do this task; these can: auto"):
                    Data(task).race(method)


@pytest.mark.parametrize("name", tasks.names())
def test_importing_a_task_loads_no_torch(name):
    code = f"import sys; from adapters import tasks; tasks.get({name!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
