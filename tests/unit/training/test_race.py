"""The race: the best by evidence wins, whatever is asked comes out, and the figures are of unseen data."""

import json
from dataclasses import replace

import numpy as np
import pytest

from adapters import tasks
from adapters.errors import InvalidHyperparameter, InvalidInput
from adapters.training import programs
from adapters.training.data.split import split
from adapters.training.race import race as racing
from adapters.training.race.evaluate import evaluate
from adapters.training.race.race import RaceResult, race
from adapters.training.trust.calibrate import temperature
from adapters.types import HeadProgram, Scale, Schema

TASK = tasks.get("classification")


def data(per_class: int, classes: int = 3, dimension: int = 32, spread: float = 1.0, seed: int = 0):
    centres = np.random.default_rng(9).normal(size=(classes, dimension))
    random = np.random.default_rng(seed)
    targets = np.arange(per_class * classes) % classes
    embeddings = np.abs(centres[targets] + spread * random.normal(size=(len(targets), dimension)))
    return embeddings.astype(np.float32), targets, tuple("abcdefgh"[:classes])


def run(per_class: int, method="auto", hyperparameters=None, report=None, cancelled=lambda: None, **kind):
    embeddings, targets, classes = data(per_class, **kind)
    nothing = [None] * len(targets)
    parts = split(targets, np.arange(len(targets)), nothing, nothing, 0)
    result = race(
        embeddings, {"class": targets}, classes, parts, TASK, method, hyperparameters or {}, 0,
        report or (lambda facts: None), cancelled,
    )  # fmt: skip
    return result, evaluate(result, TASK, embeddings, {"class": targets}, classes, parts)


@pytest.fixture(scope="module")
def few() -> RaceResult:
    return run(4)[0]


def test_auto_races_every_method_that_suits(few):
    assert {row["method"] for row in few.table} == {"gda", "logistic", "prototype", "ridge"}


def test_prototypes_leave_the_field_when_there_is_plenty():
    assert {row["method"] for row in run(120)[0].table} == {"gda", "logistic", "ridge"}


def test_the_table_is_best_first_and_ready_for_json(few):
    losses = [row["loss"] for row in few.table]
    assert losses == sorted(losses)
    assert {"method", "hyperparameters", "loss", "standard_error", "accuracy", "seconds"} <= few.table[0].keys()
    json.dumps(few.table, allow_nan=False)


def test_the_winner_is_within_a_tie_of_the_best():
    result, _ = run(4, "logistic")
    won = next(row for row in result.table if row["hyperparameters"] == result.hyperparameters)
    assert won["loss"] <= result.table[0]["loss"] + 0.05 * result.table[0]["standard_error"]


def test_the_program_answers_with_probabilities(few):
    answers = programs.run(few.program, data(4)[0])
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_out_of_fold_answers_cover_every_example_once(few):
    assert sorted(few.index.tolist()) == list(range(12)) and few.outputs["probabilities"].shape == (12, 3)


def test_a_named_method_with_a_value_runs_alone():
    fixed = {"regularization": 0.5, "inputs": "power", "prior": "data"}
    result, _ = run(4, "logistic", fixed)
    assert [row["hyperparameters"] for row in result.table] == [fixed]


def test_the_penalty_of_ridge_is_settled_by_leaving_each_of_all_examples_out():
    """Two examples a class: the folds fit to one of each and want it careful, all together may be bolder."""
    result, _ = run(2, "ridge", {"inputs": "power"}, classes=8, dimension=64)
    settled, raced = (
        setting["regularization"] for setting in (result.hyperparameters, result.table[0]["hyperparameters"])
    )
    assert settled < raced
    assert f"; settled on regularization {settled}, which errs least when each of all" in result.note
    (row,) = (row for row in result.table if row["hyperparameters"] == result.hyperparameters)
    truth = data(2, classes=8, dimension=64)[1][result.index]
    logits = np.log(result.unscaled["probabilities"])
    calibrated = logits / temperature(logits, truth)
    measured = (np.log(np.exp(calibrated).sum(axis=1)) - calibrated[np.arange(len(truth)), truth]).mean()
    assert measured == pytest.approx(row["loss"], rel=1e-3)  # of its own answers, not of the raced one's


def test_the_temperature_is_carried_over_to_a_final_fit_whose_logits_are_larger(monkeypatch):
    """As those of a fit that went on where fits to folds had stopped; the same answers must come out."""
    fit = racing._fit_final

    def larger(*given) -> HeadProgram:
        return fit(*given).then(Scale(3.0))

    fixed = {"inputs": "power", "regularization": 0.06, "prior": "data"}
    plain = run(10, "logistic", fixed)[0]
    monkeypatch.setattr(racing, "_fit_final", larger)
    scaled = run(10, "logistic", fixed)[0]
    assert scaled.calibration["temperature"] == pytest.approx(3 * plain.calibration["temperature"], rel=1e-4)
    answers = [programs.run(result.program, data(10)[0]) for result in (plain, scaled)]
    np.testing.assert_allclose(*answers, atol=1e-5)
    np.testing.assert_equal(plain.outputs, scaled.outputs)  # of the fits to folds, which are as they were


def test_closed_forms_keep_the_temperature_of_their_folds():
    result = run(10, "ridge", {"inputs": "power", "regularization": 1.0})[0]
    logits = np.log(result.unscaled["probabilities"]) / result.calibration["temperature"]
    odds = np.exp(logits)
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), result.outputs["probabilities"], atol=1e-4)


def test_copies_of_an_example_do_not_speak_for_it():
    """Each example twice: left out alone, its copy would know it, and the least penalty would always be best."""
    embeddings, targets, classes = data(6, spread=6.0)
    double, labels = np.repeat(embeddings, 2, axis=0), np.repeat(targets, 2)
    found = []
    for groups in (np.arange(len(labels)) // 2, np.arange(len(labels))):
        nothing = [None] * len(labels)
        parts = replace(split(labels, np.arange(len(labels)) // 2, nothing, nothing, 0), groups=groups)
        args = ("ridge", {"inputs": "power"}, 0, lambda facts: None, lambda: None)
        found.append(race(double, {"class": labels}, classes, parts, TASK, *args).hyperparameters["regularization"])
    together, alone = found
    assert alone == 0.1 < together


def test_a_penalty_that_the_caller_fixed_stays():
    result, _ = run(2, "ridge", {"inputs": "power", "regularization": 30.0})
    assert result.hyperparameters["regularization"] == 30.0 and "settled" not in result.note


def test_hyperparameters_need_a_method():
    with pytest.raises(InvalidHyperparameter, match="needs a method"):
        run(4, "auto", {"regularization": 1})


def test_an_unknown_method_is_refused():
    with pytest.raises(InvalidInput, match="there is no method 'svm'"):
        run(4, "svm")


def test_progress_is_told_after_each_method():
    told: list[dict] = []
    run(4, report=told.append)
    assert [(t["done"], t["of"]) for t in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    json.dumps(told, allow_nan=False)


def test_cancelling_is_heard():
    def cancelled() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(4, cancelled=cancelled)


def test_the_same_seed_gives_the_same_head(few):
    assert programs.to_bytes(run(4)[0].program) == programs.to_bytes(few.program)


def test_a_holdout_is_measured_on_its_test_set_only():
    _, measured = run(670)
    assert measured.figures["evaluation"] == "holdout" and measured.figures["examples"] == len(measured.index) == 402


def test_without_a_test_set_every_example_is_measured_out_of_fold():
    _, measured = run(4)
    assert measured.figures["evaluation"] == "cross-validation" and measured.figures["examples"] == 12
    assert "cross-validation" in measured.figures["explanation"]
    json.dumps(measured.figures, allow_nan=False)


def test_the_figures_hold_on_data_from_the_same_source():
    result, measured = run(100, spread=2.0)
    embeddings, targets, classes = data(500, spread=2.0, seed=1)
    truth = TASK.metrics(TASK.answers(programs.run(result.program, embeddings)), {"class": targets}, Schema(classes))
    low, high = measured.figures["accuracy_interval"]
    assert low - 0.02 <= truth["accuracy"] <= high + 0.02 and truth["ece"] < 0.08


def test_noise_is_not_made_to_look_like_skill():
    random = np.random.default_rng(0)
    embeddings, targets = random.random((60, 300), dtype=np.float32), np.arange(60) % 3
    nothing = [None] * 60
    parts = split(targets, np.arange(60), nothing, nothing, 0)
    given = (embeddings, {"class": targets}, ("a", "b", "c"), parts)
    result = race(*given, TASK, "auto", {}, 0, lambda facts: None, lambda: None)
    figures = evaluate(result, TASK, *given).figures
    assert (
        figures["accuracy_interval"][0] < 1 / 3 and figures["log_loss"] < 1.2
    )  # no worse than not knowing: ln 3 = 1.1


def test_a_budget_leaves_out_what_it_cannot_afford_and_says_so():
    embeddings, targets, classes = data(30)
    nothing = [None] * len(targets)
    parts = split(targets, np.arange(len(targets)), nothing, nothing, 0)
    notes = {}
    for budget in (1e-9, 3600.0):
        result = race(
            embeddings,
            {"class": targets},
            classes,
            parts,
            TASK,
            "auto",
            {},
            0,
            lambda facts: None,
            lambda: None,
            budget,
        )
        notes[budget] = result.note
        assert result.table
    assert "left out" in notes[1e-9] and "all that suit the data were tried" in notes[3600.0]


def test_what_is_left_out_depends_on_the_data_and_never_on_the_clock():
    assert run(40)[0].note == run(40)[0].note


def test_rare_classes_can_count_as_much_as_common_ones():
    embeddings, targets, classes = data(200, spread=3.0)
    keep = np.flatnonzero((targets != 2) | (np.arange(len(targets)) % 10 == 2))
    embeddings, targets = embeddings[keep], targets[keep]
    nothing = [None] * len(targets)
    parts = split(targets, np.arange(len(targets)), nothing, nothing, 0)
    recalls = {}
    for prior in ("data", "uniform"):
        arguments = (classes, parts, TASK, "logistic", {"prior": prior}, 0, lambda facts: None, lambda: None)
        result = race(embeddings, {"class": targets}, *arguments)
        fresh, truth, _ = data(300, spread=3.0, seed=1)
        rare = truth == 2
        recalls[prior] = (programs.run(result.program, fresh)[rare].argmax(axis=1) == 2).mean()
    assert recalls["uniform"] > recalls["data"] + 0.1
