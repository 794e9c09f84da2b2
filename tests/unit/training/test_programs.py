"""Programs: the torch reference, and storage without pickle."""

import numpy as np
import pytest
import torch

from adapters.errors import CorruptArtifact
from adapters.training import programs
from adapters.types import Affine, HeadProgram, L2Normalize, Linear, Power, Scale, Softmax

random = np.random.default_rng(0)
X = random.normal(size=(5, 4)).astype(np.float32)
W = random.normal(size=(4, 3)).astype(np.float32)
B, SHIFT, SCALE = (random.normal(size=n).astype(np.float32) for n in (3, 4, 4))
EVERY_STEP = HeadProgram(
    (Power(0.5), L2Normalize(), Affine(SHIFT, SCALE), Linear(W, B), Scale(0.5), Softmax()),
)


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (Power(0.5), np.sign(X) * np.sqrt(np.abs(X))),
        (L2Normalize(), X / np.linalg.norm(X, axis=1, keepdims=True)),
        (Affine(SHIFT, SCALE), (X - SHIFT) * SCALE),
        (Linear(W, B), X @ W + B),
        (Scale(0.25), X / 4),
        (Softmax(), np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_step_computes_what_its_docstring_says(step, wanted):
    np.testing.assert_allclose(programs.run(HeadProgram((step,)), X), wanted, rtol=1e-5, atol=1e-6)


def test_zeros_stay_finite():
    assert np.isfinite(programs.run(EVERY_STEP, np.zeros((2, 4), np.float32))).all()


def test_arrays_and_tensors_answer_alike_in_any_number(monkeypatch):
    whole = programs.run(EVERY_STEP, X)
    monkeypatch.setattr(programs, "CHUNK", 2)
    np.testing.assert_allclose(programs.run(EVERY_STEP, torch.from_numpy(X)), whole, rtol=1e-6)


def test_a_stored_program_comes_back_equal_and_the_bytes_are_the_same_each_time():
    data = programs.to_bytes(EVERY_STEP)
    assert data == programs.to_bytes(programs.from_bytes(data))
    np.testing.assert_array_equal(programs.run(programs.from_bytes(data), X), programs.run(EVERY_STEP, X))


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80\x04K\x01.", programs.to_bytes(EVERY_STEP)[:-1]])
def test_bytes_that_are_no_program_are_refused(data):
    with pytest.raises(CorruptArtifact):
        programs.from_bytes(data)
