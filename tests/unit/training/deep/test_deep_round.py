"""The deep round: cuts tried on the race's own folds, evidence of unseen examples, and a result ready to export."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import deep_fits as deep
from support.networks import SIDE, with_unknown

from adapters import recipe, tasks
from adapters.arrays import count
from adapters.errors import Cancelled, InvalidInput
from adapters.runtime.onnx import session
from adapters.training import programs
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images
from adapters.training.data.split import Split, split
from adapters.training.deep import conditions, deep_round, evidence, interpreter, plan
from adapters.training.deep.examples import Examples
from adapters.training.deep.fitting import schedule
from adapters.training.deep.outcome import Declined, DeepResult
from adapters.training.deep.pool import PLENTY, Choice, Pool
from adapters.training.deep.records import Record, Records
from adapters.training.race.race import RaceResult, race
from adapters.training_memory import DeepFit
from adapters.types import Floats, Linear

COUNT = 60
FEW = {"epochs": 2, "batch_size": 16}


def pooled(pixels: np.ndarray) -> Floats:
    found: Floats = session.create(deep.GRAPH).run(["pooled"], {"pixels": pixels})[0]
    return found


def examples(task_name: str = "classification", labels: Any = None) -> Examples:
    task, shown = tasks.get(task_name), deep.pixels(COUNT)
    told = [str(label) for label in (deep.labels(COUNT) if labels is None else labels)]
    classes = task.classes(told)
    targets = task.targets(told, classes)
    nothing: list[Any] = [None] * COUNT
    parts = split(task.strata(targets), np.arange(COUNT), nothing, nothing, 0)
    return Examples(deep.looking(shown), pooled(shown), deep.WIDTH, targets, classes, parts, task)


@functools.cache
def raced(given: Examples) -> RaceResult:
    parts = {"pooled": given.dimension}
    return race(
        given.embeddings, given.targets, given.classes, given.split, given.task, "auto", {}, 0, lambda _: None,
        lambda: None, lengths=parts,
    )  # fmt: skip


def ran(folder: Path, given: Examples, hyperparameters: dict[str, Any], **how: Any) -> DeepResult | Declined:
    folder.mkdir(exist_ok=True)
    watch = how.pop("watch", lambda state: None)
    report = how.pop("report", lambda row: None)
    settings = FEW | hyperparameters
    return deep_round.run(folder, deep.GRAPH, images(SIDE), given, raced(given), settings, 0, report, watch, **how)


@pytest.fixture(scope="module")
def given() -> Examples:
    return examples()


@pytest.fixture(scope="module")
def result(given: Examples, tmp_path_factory: pytest.TempPathFactory) -> DeepResult:
    found = ran(
        tmp_path_factory.mktemp("deep"), given, {"unfreeze": "a.1", "learning_rate": 0.005, "mix": 1}, always=True
    )
    assert isinstance(found, DeepResult)
    return found


def test_what_comes_out_answers_as_the_exported_tail_and_program_do(result, given):
    """`pooled` is the trained tail's of every example, and the program reads it."""
    trunk = session.create(cuts.trunk(deep.GRAPH, result.cut))
    taps = trunk.run(None, {"pixels": deep.pixels(COUNT)})[0]
    wanted = interpreter.run(result.tail, taps)
    np.testing.assert_allclose(result.pooled, wanted, atol=1e-3 * np.abs(wanted).max())  # taps are kept in halves
    answers = given.task.answers(programs.run(result.program, result.read[np.arange(COUNT)]))
    assert answers["probabilities"].shape == (COUNT, deep.CLASSES)
    np.testing.assert_allclose(answers["probabilities"].sum(axis=1), 1, rtol=1e-5)
    assert result.reads == deep.WIDTH == result.pooled.shape[1]


def test_answers_are_of_examples_that_their_fits_had_not_seen(result, given):
    """Those of the race's own folds, each once."""
    assert sorted(result.index) == sorted(np.concatenate([unseen for _, unseen in given.split.folds]))
    assert count(result.outputs) == count(result.unscaled) == len(result.index) == result.evidence["examples"]


def test_novelty_is_told_by_every_fold_through_a_tail_that_had_not_seen_it(result, given):
    """The option's own; a distance for each held-out example, at most 4 of rows of length one."""
    assert [len(each.distances) for each in result.unlearned] == [len(unseen) for _, unseen in given.split.folds]
    assert all(0 <= each.distances.min() and each.distances.max() <= 4 for each in result.unlearned)


def test_everything_told_is_ready_for_json(result):
    """Hyperparameters as they were used, curves, evidence, a row for each option."""
    told = json.loads(json.dumps([result.hyperparameters, result.curves, result.evidence, result.table]))
    assert told[0]["unfreeze"] == "a.1" and told[0]["epochs_kept"] == 2 and told[0]["layer_decay"] == 0.5
    assert {row["fit"] for row in told[1]} >= {"a.1, fold 1 of 5", "a.1, on all"}
    assert [row["epoch"] for row in told[1] if row["kept"]]
    assert set(told[2]) >= {"passed", "reason", "gain", "interval", "gain_loss", "merit_shallow", "merit_deep"}
    assert [row["loss"] for row in told[3]] == sorted(row["loss"] for row in told[3])


def test_the_same_seed_gives_the_same_version(result, given, tmp_path):
    """Bit for bit."""
    again = ran(tmp_path, given, {"unfreeze": "a.1", "learning_rate": 0.005, "mix": 1}, always=True)
    assert isinstance(again, DeepResult)
    assert again.tail == result.tail
    np.testing.assert_array_equal(again.pooled, result.pooled)
    assert programs.to_bytes(again.program) == programs.to_bytes(result.program)
    assert again.evidence == result.evidence and again.curves == result.curves


@pytest.mark.parametrize("steps", [1, 7, 25, 40, 68])
def test_a_round_goes_on_on_another_machine_to_the_same_end(result, given, tmp_path, steps):
    """From a checkpoint alone: taps are made again where they are not; finished fits are not fitted again."""
    kept: list[bytes] = []

    def stop(state: Callable[[], bytes]) -> None:
        kept.append(b"")
        if len(kept) == steps:
            kept.append(state())
            raise Cancelled("enough")

    settings = {"unfreeze": "a.1", "learning_rate": 0.005, "mix": 1}
    with pytest.raises(Cancelled):
        ran(tmp_path / "one", given, settings, always=True, watch=stop)
    again = ran(tmp_path / "other", given, settings, always=True, checkpoint=kept[-1])
    assert isinstance(again, DeepResult)
    assert again.tail == result.tail and again.evidence == result.evidence and again.curves == result.curves
    assert again.seconds > again.earlier > 0 == result.earlier


def test_fits_of_another_basis_are_not_gone_on_from_and_their_seconds_count():
    """The same name says nothing of the examples and weights that a fit stands on; nor does an older release."""
    record = Record(np.zeros((1, 2, 3), np.float32), [(2, 1.0)], [0.5], [{"epoch": 1, "train_loss": 0.1}])
    kept = Records({"a.1, fold 1 of 5": record}, ("a.1, fold 2 of 5", b"state"), "one", earlier=1000.0).to_bytes()
    same, other = Records.gone_on(kept, "one"), Records.gone_on(kept, "other")
    assert list(same.done) == ["a.1, fold 1 of 5"] and same.begun == ("a.1, fold 2 of 5", b"state")
    assert same.done["a.1, fold 1 of 5"].options == [(2, 1.0)]
    assert not other.done and other.begun is None and other.basis == "other"
    assert same.earlier > 1000 and other.earlier > 1000 and Records.gone_on(None, "one").earlier == 0


def test_a_hidden_layer_is_trained_with_the_tail_where_it_is_asked_for(given, tmp_path):
    """Dense + ReLU + dropout + softmax: of so many units, whatever head the race chose."""
    settings = {"unfreeze": "b.1", "hidden": 12, "dropout": 0.5, "mix": 1}
    found = ran(tmp_path, given, settings, always=True)
    assert isinstance(found, DeepResult) and found.hyperparameters["hidden"] == 12
    kinds = [type(step).__name__ for step in found.program.steps]
    layers = [step.weight.shape for step in found.program.steps if isinstance(step, Linear)]
    assert kinds.index("Relu") == kinds.index("Linear") + 1 and layers == [(deep.WIDTH, 12), (12, deep.CLASSES)]


@pytest.mark.parametrize("mix", [0.0, 0.25])
def test_the_mix_that_is_asked_for_is_that_of_every_epoch_too(tmp_path, given, mix):
    """With patience epochs are compared, each as far from its start as was asked; none of the start itself."""
    settings = {"unfreeze": "a.1", "learning_rate": 0.01, "epochs": 4, "mix": mix, "patience": 3}
    found = ran(tmp_path, given, settings, always=True)
    assert isinstance(found, DeepResult) and found.hyperparameters["mix"] == mix
    assert {row["mix"] for row in found.table} == {mix} and len(found.table) == (5 if mix else 1)


def test_a_version_that_is_no_better_is_declined(tmp_path):
    """Labels that mean nothing: nothing is gained by training, and what was found out is told."""
    random = np.random.default_rng(0)
    found = ran(tmp_path, examples(labels=random.integers(0, 3, COUNT)), {"unfreeze": "b.1"})
    assert isinstance(found, Declined)
    assert not found.evidence["passed"] and "standard errors" in found.evidence["reason"]
    assert found.table and found.curves


def test_what_no_budget_allows_is_not_tried(tmp_path, given):
    """And said, with the estimate."""
    found = ran(tmp_path, given, {}, budget=0.0)
    assert isinstance(found, Declined)
    assert "over the budget" in found.note and not found.table


def test_who_asks_for_nothing_but_deep_gets_the_cheapest_cut_where_no_budget_allows_one(tmp_path, given, monkeypatch):
    """Not a shallow version under that name; and it is said."""
    monkeypatch.setattr(plan, "STEPS", (0.15, 0.6))
    found = ran(tmp_path, given, {}, budget=1e-6, always=True)
    assert isinstance(found, DeepResult) and found.cut.name == "b.1"
    assert "over the budget" in found.note and "b.1 was tried all the same" in found.note


def test_auto_tries_the_deepest_cut_that_the_budget_allows(tmp_path, given, monkeypatch):
    """Of those behind which so much of the work is; with less time, a cheaper one, and says so."""
    monkeypatch.setattr(plan, "STEPS", (0.15, 0.6))
    found = ran(tmp_path, given, {"learning_rate": 0.005}, always=True)
    tried = list(dict.fromkeys(row["fit"].split(",")[0] for row in found.curves))
    assert tried == ["a.1"]
    parts = (deep.GRAPH, images(SIDE), recipe.check(FEW), plan.Known(COUNT, COUNT), given.split.folds)
    (dear,) = plan.plan(*parts, None).entries
    less = plan.plan(*parts, 0.9 * (dear.trying + dear.final))
    assert [entry.cut.name for entry in less.entries] == ["b.1"] and "a.1" in less.note


def test_a_cut_that_there_is_not_is_refused(tmp_path, given):
    """With those that there are."""
    with pytest.raises(InvalidInput, match=r"a\.1"):
        ran(tmp_path, given, {"unfreeze": "blocks.99"})


@pytest.mark.parametrize("behind", [1, 2])
def test_a_cut_before_an_operator_that_cannot_be_trained_is_refused_with_its_name(behind):
    """Of a backbone that an earlier release has put on record with such cuts."""
    asked = recipe.check({"unfreeze": "s.0"})
    with pytest.raises(InvalidInput, match="LRN"):
        folds = [(np.arange(40), np.arange(40, 60))]
        plan.plan(with_unknown(behind), images(SIDE), asked, plan.Known(60, 60), folds, None)


def test_numbers_are_learned_deep_as_well(tmp_path):
    """Regression: values in the caller's units come out."""
    brightness = deep.pixels(COUNT).mean(axis=(1, 2, 3))
    found = ran(tmp_path, examples("regression", brightness), {"unfreeze": "b.1"}, always=True)
    assert isinstance(found, DeepResult)
    values = programs.run(found.program, found.pooled)[:, 0]
    assert abs(values.mean() - brightness.mean()) < 5


# Evidence
class Goal:
    """Three classes, as the race has them."""

    def __init__(self, truth: np.ndarray) -> None:
        from adapters.training.race import objectives

        self.truth, self.goal = truth, objectives.get("softmax")


def test_who_answers_an_example_was_chosen_without_it():
    """An option that is right on one block alone looks good there, and never answers it."""
    count = 2 * PLENTY  # so that there are two blocks: every other row
    truth, rows = np.arange(count, dtype=np.int64) % 3, np.arange(count)
    right = 4 * np.eye(3, dtype=np.float32)[truth]
    wrong = 4 * np.eye(3, dtype=np.float32)[(truth + 1) % 3]
    lucky = np.where((rows % 2 == 0)[:, None], right, wrong)  # right in the first block, wrong in the second
    dull = np.zeros_like(right)
    choices = [Choice(0, "a.1", (2, 1.0)), Choice(1, "a.1", (2, 0.5))]
    found = evidence.chosen(Pool(np.stack([lucky, dull]), rows, choices), Goal(truth))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.raw[::2], dull[::2])  # the second block would not have it
    np.testing.assert_array_equal(found.raw[1::2], lucky[1::2])  # the first did, to its cost


@pytest.mark.parametrize(("count", "blocks"), [(1, 1), (5, 5), (172, 10), (PLENTY - 1, 10), (PLENTY, 2)])
def test_every_example_is_in_one_block(count, blocks):
    """Of few answers the most are chosen on, so that a choice is not from a handful."""
    found = Pool(np.zeros((1, count, 3), np.float32), np.arange(count), []).blocks
    assert len(found) == blocks and sorted(np.concatenate(found)) == list(range(count))
    assert max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize(("gain", "spread", "passes"), [(0.1, 0.1, True), (0.001, 1.0, False), (-0.1, 0.1, False)])
def test_a_gain_has_to_be_more_than_chance(gain, spread, passes):
    """In the loss, with answers that are as right as before."""
    random, task = np.random.default_rng(0), tasks.get("classification")
    truth = random.integers(0, 2, 300)
    said = {"probabilities": np.full((300, 2), 0.5, np.float32)}
    before = random.normal(1, 0.1, 300).astype(np.float32)
    after = (before - random.normal(gain, spread, 300)).astype(np.float32)
    found = evidence.compared(said, before, said, after, task, task.targets(list(map(str, truth)), "01"), "01")
    assert found["passed"] is passes


def test_a_smaller_loss_with_fewer_right_answers_does_not_pass():
    """Both have to speak for it."""
    task = tasks.get("classification")
    right = np.tile(np.array([[0.6, 0.4]], np.float32), (300, 1))
    worse = right.copy()
    worse[:30] = worse[:30, ::-1]
    losses = np.ones(300, np.float32)
    better = (losses - np.linspace(0.1, 0.2, 300)).astype(np.float32)
    targets = task.targets(["0"] * 300, "01")
    found = evidence.compared({"probabilities": right}, losses, {"probabilities": worse}, better, task, targets, "01")
    assert not found["passed"] and found["gain"] < 0 < found["gain_loss"]


# What is tried
def test_the_fewest_folds_with_enough_held_out():
    """So many answers, or all there are."""

    def of(size: int, folds: int) -> Split:
        rows = np.arange(size)
        parts = [(np.setdiff1d(rows, held), held) for held in np.array_split(rows, folds)]
        return Split(rows, rows[:0], rows[:0], parts, "cross-validation", "")

    assert len(plan.folds_of(of(2000, 5), 200)) == 1
    assert len(plan.folds_of(of(500, 5), 200)) == 2
    assert len(plan.folds_of(of(500, 5), 80)) == 1
    assert len(plan.folds_of(of(100, 5), 200)) == 5


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[tuple[int, int]]:
    """(examples, looks) of each comparison, which passes on two fifths of the examples; one fold is enough to begin.

    The gain in standard errors is the parameter's.
    """
    seen: list[tuple[int, int]] = []
    real = evidence.compared

    def compared(*given: Any) -> dict[str, Any]:
        found = real(*given)
        seen.append((found["examples"], given[-1]))
        gain = {"gain_loss": getattr(request, "param", 1.0), "gain_loss_error": 1.0}
        return found | {"passed": found["examples"] > COUNT / 3} | gain

    monkeypatch.setattr(evidence, "compared", compared)
    for name in ("FIRST", "HELD_OUT"):
        monkeypatch.setattr(deep_round, name, 1)
    return seen


def test_what_is_undecided_on_some_folds_is_tried_on_one_more_until_it_is_not(given, looks, tmp_path):
    """Every look asks for more than a single one would."""
    found = ran(tmp_path, given, {"unfreeze": "a.1"})
    first, second = (len(unseen) for _, unseen in given.split.folds[:2])
    assert looks == [(first, 5), (first + second, 5)]
    assert isinstance(found, DeepResult) and len(found.index) == first + second


@pytest.mark.parametrize("looks", [-0.2], indirect=True)
def test_what_will_hardly_pass_is_given_up(given, looks, tmp_path):
    """After a first fold without a gain."""
    found = ran(tmp_path, given, {"unfreeze": "a.1"})
    assert isinstance(found, Declined) and len(looks) == 1


def test_looking_again_lets_pass_what_is_no_better_as_rarely_as_looking_once():
    """Five looks at gains that are noise: one in twenty at most, by simulation; a clear gain passes at the first."""
    random, passed = np.random.default_rng(0), 0
    for steps in random.normal(size=(4000, 5)):
        for look in range(1, 6):
            gain = steps[:look].sum() / np.sqrt(look)
            proof = {"passed": gain > evidence.beyond(5), "gain_loss": gain, "gain_loss_error": 1.0}
            passed += proof["passed"]
            if not evidence.promising(proof, look / 5, 5):
                break
    assert 0.02 < passed / 4000 < 0.055
    assert evidence.beyond(1) < evidence.beyond(2) < evidence.beyond(5)


def test_what_a_caller_asks_for_is_tried_on_enough_folds_and_looked_at_once(given, looks, tmp_path):
    """He has decided."""
    found = ran(tmp_path, given, {"unfreeze": "a.1"}, always=True)
    assert looks == [(len(given.split.folds[0][1]), 1)] and isinstance(found, DeepResult)


def test_more_folds_stay_within_the_budget():
    """Estimated as all else is."""
    entry = plan.Entry(cuts.find(deep.GRAPH, images(SIDE))[-1], b"", 10.0, 12.0, 100, DeepFit(), 0.002)
    assert plan.Plan([entry], "", 72.0).allows(entry.cut.name, 1, 6)
    assert not plan.Plan([entry], "", 71.0).allows(entry.cut.name, 1, 6)


def test_auto_wants_enough_to_learn_from(given):
    """Below, a linear head has won."""
    assert "200 examples" in str(conditions.worth_it(given.split, given.task, given.targets, deep.CLASSES))


def test_a_deeper_cut_costs_more():
    """By what its tail computes."""
    settings = recipe.check({})
    entries = [
        plan.plan(deep.GRAPH, images(SIDE), recipe.check({"unfreeze": name}), plan.Known(100, 100), [], None).entries[0]
        for name in ("b.1", "a.1", "all")
    ]
    assert settings.unfreeze == "auto"
    assert entries[0].final < entries[1].final < entries[2].final


def test_a_round_of_all_layers_has_a_smaller_rate(given, tmp_path):
    """And the report says which; whoever asks for another has that."""
    for asked, rate in (({}, schedule.WHOLE), ({"learning_rate": 0.01}, 0.01)):
        found = ran(tmp_path / str(rate), given, {"unfreeze": "all", "epochs": 1} | asked, always=True)
        assert isinstance(found, DeepResult) and found.hyperparameters["learning_rate"] == rate
