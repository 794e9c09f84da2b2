"""What every method keeps, whichever it is: one suite over the files of adapters/methods."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from adapters import methods, tasks
from adapters.errors import InvalidHyperparameter, InvalidInput
from adapters.fitting.inputs import Inputs
from adapters.methods import Regime
from adapters.runtime.heads.head import Head
from adapters.training import programs
from adapters.training.data.split import split
from adapters.training.publish import export
from adapters.training.publish.verify import verify
from adapters.training.trust import novelty
from adapters.types import HeadProgram, Linear, Schema, Softmax

CLASSES, DIMENSION = 3, 24
TASK, SCHEMA = tasks.get("classification"), Schema(tuple("abc"))
SHAPES = {"few": 9, "many": 120}  # N < D and N > D


def data(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    targets = np.arange(count) % CLASSES
    centres = np.random.default_rng(9).normal(size=(CLASSES, DIMENSION))
    inputs = np.abs(centres[targets] + random.normal(size=(count, DIMENSION)))  # pooled activations are not negative
    return torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets)


def fit(name: str, count: int, settings=None) -> tuple[list[dict], list[HeadProgram]]:
    inputs, targets = data(count)
    method = methods.get(name)
    regime = Regime(count, DIMENSION, CLASSES, count // CLASSES, count / CLASSES, count // CLASSES)
    settings = settings or method.settings(method.Hyperparameters(), regime)
    return settings, method.fit(Inputs(inputs), targets, CLASSES, settings, 0, lambda: None, final=True)


def probabilities(program: HeadProgram, inputs: torch.Tensor) -> np.ndarray:
    return programs.run(program.then(Softmax()), inputs)


@pytest.fixture(params=methods.names())
def name(request) -> str:
    return request.param


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def count(request) -> int:
    return request.param


def test_every_hyperparameter_has_a_default_and_a_description(name):
    schema = methods.get(name).Hyperparameters.model_json_schema()
    assert issubclass(methods.get(name).Hyperparameters, BaseModel) and "required" not in schema
    assert all(field.get("description") for field in schema["properties"].values())
    json.dumps(schema, allow_nan=False)


@pytest.mark.parametrize("wrong", [{"nonsense": 1}, {"inputs": "sideways"}, {"inputs": float("nan")}])
def test_a_wrong_hyperparameter_is_refused_by_name(name, wrong):
    with pytest.raises(InvalidHyperparameter, match=next(iter(wrong))):
        methods.check(name, wrong)


def test_settings_are_concrete_and_ready_for_json(name, count):
    settings, _ = fit(name, count)
    assert settings and "auto" not in json.dumps(settings, allow_nan=False)


def test_each_setting_gives_one_program_that_ends_in_logits(name, count):
    settings, fitted = fit(name, count)
    assert len(fitted) == len(settings)
    for program in fitted:
        assert isinstance(program.steps[-1], Linear)
        first = next(step for step in program.steps if isinstance(step, Linear))
        assert first.weight.shape[0] == DIMENSION and program.steps[-1].weight.shape[1] == CLASSES
        assert program.steps[-1].weight.dtype == np.float32


def test_it_learns(name):
    inputs, targets = data(120, seed=1)
    _, fitted = fit(name, 120)
    best = max((programs.run(p, inputs).argmax(axis=1) == targets.numpy()).mean() for p in fitted)
    assert best > 0.7


def test_the_same_seed_gives_the_same_program(name, count):
    _, once = fit(name, count)
    _, again = fit(name, count)
    assert [programs.to_bytes(p) for p in once] == [programs.to_bytes(p) for p in again]


def test_inputs_are_not_changed(name, count):
    inputs, targets = data(count)
    before = inputs.clone(), targets.clone()
    settings, _ = fit(name, count)
    methods.get(name).fit(Inputs(inputs), targets, CLASSES, settings, 0, lambda: None)
    assert torch.equal(inputs, before[0]) and torch.equal(targets, before[1])


def test_a_setting_fitted_with_others_is_as_fitted_alone(name, count):
    settings, together = fit(name, count)
    inputs, _ = data(60, seed=2)
    for setting, program in zip(settings, together, strict=True):
        _, (alone,) = fit(name, count, [setting])
        ours, theirs = probabilities(program, inputs), probabilities(alone, inputs)
        assert np.abs(ours - theirs).mean() < 1e-3  # iterates part by rounding; both stop this near to the optimum
        sure = np.sort(ours, axis=1)[:, -2:] @ [-1, 1] > 0.02
        np.testing.assert_array_equal(ours.argmax(axis=1)[sure], theirs.argmax(axis=1)[sure])


def test_a_batch_answers_as_its_items_do_and_sums_to_one(name, count):
    inputs, _ = data(20, seed=3)
    for program in fit(name, count)[1]:
        batch = probabilities(program, inputs)
        np.testing.assert_allclose(batch.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(
            batch, np.concatenate([probabilities(program, row[None]) for row in inputs]), atol=1e-5
        )


def test_programs_survive_being_stored_and_exported(name, count):
    inputs, _ = data(20, seed=4)
    for program in fit(name, count)[1]:
        program = program.then(Softmax())
        wanted = programs.run(program, inputs)
        np.testing.assert_array_equal(programs.run(programs.from_bytes(programs.to_bytes(program)), inputs), wanted)
        graph = export.to_onnx(program, DIMENSION, ["a", "b", "c"], {})
        np.testing.assert_allclose(
            Head.from_bytes(graph).answer(inputs.numpy()).arrays["probabilities"], wanted, atol=1e-5
        )


def test_novelty_joins_a_program_and_changes_no_answer(name, count):
    inputs, targets = data(count)
    groups = targets.numpy()
    parts = split(groups, np.arange(count), [None] * count, [None] * count, 0)
    steps = novelty.fit(inputs.numpy(), groups, parts).steps
    for program in fit(name, count)[1]:
        program = program.then(Softmax())
        graph = export.to_onnx(replace(program, novelty=steps), DIMENSION, ["a", "b", "c"], {})
        answers = Head.from_bytes(graph).answer(inputs.numpy())
        np.testing.assert_allclose(answers.arrays["probabilities"], programs.run(program, inputs), atol=1e-5)
        assert answers.novelty is not None and ((answers.novelty >= 0) & (answers.novelty <= 1)).all()
        verify(graph, replace(program, novelty=steps), inputs.numpy(), 16, TASK, SCHEMA)


def test_features_that_never_vary_do_no_harm(name, count):
    inputs, targets = data(count)
    inputs[:, 0], inputs[:, 1] = 0.0, 1e6
    settings, _ = fit(name, count)
    for program in methods.get(name).fit(Inputs(inputs), targets, CLASSES, settings, 0, lambda: None):
        assert np.isfinite(probabilities(program, inputs)).all()


def test_identical_examples_do_no_harm(name):
    inputs, targets = torch.ones(6, DIMENSION), torch.arange(6) % CLASSES
    settings, _ = fit(name, 9)
    for program in methods.get(name).fit(Inputs(inputs), targets, CLASSES, settings, 0, lambda: None):
        assert np.isfinite(probabilities(program, inputs)).all()


def test_cancelling_is_heard(name):
    class Stop(Exception):
        pass

    def cancelled() -> None:
        raise Stop

    inputs, targets = data(9)
    settings, _ = fit(name, 9)
    with pytest.raises(Stop):
        methods.get(name).fit(Inputs(inputs), targets, CLASSES, settings, 0, cancelled)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_fits_the_same_heads(name, count):
    inputs, targets = data(count)
    settings, on_cpu = fit(name, count)
    on_gpu = methods.get(name).fit(Inputs(inputs.cuda()), targets.cuda(), CLASSES, settings, 0, lambda: None)
    for one, other in zip(on_cpu, on_gpu, strict=True):
        np.testing.assert_allclose(probabilities(one, inputs), probabilities(other, inputs), atol=2e-3)


def test_an_unknown_method_is_answered_with_those_there_are():
    with pytest.raises(InvalidInput, match="there are: auto, gda, logistic, mlp, prototype, ridge"):
        methods.get("svm")
