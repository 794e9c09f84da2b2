"""What a deep fit takes of memory is known before it begins, and what cannot fit is refused with the way out."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import deep_fits as deep
from support import teachable

from adapters import training_memory
from adapters.errors import TooMuchData
from adapters.recipe import Hyperparameters
from adapters.training.backbone.observing import images
from adapters.training.deep import plan, step_memory
from adapters.training.deep.interpreter import Tail
from adapters.training_memory import BESIDE, GRADIENTS, HELD, DeepFit

COUNT = plan.PLENTY  # examples, of which `auto` tries all


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is small enough to be tried whatever is left."""
    monkeypatch.setattr(training_memory, "SMALL", 0)


def planned(chosen: str = "auto", memory: float = math.inf, always: bool = False, **settings: object) -> plan.Plan:
    folds = [(np.arange(COUNT - COUNT // 10), np.arange(COUNT // 10))]
    recipe = Hyperparameters(unfreeze=chosen, **settings)  # type: ignore[arg-type]
    return plan.plan(
        teachable.graph(), images(teachable.SIDE), recipe, plan.Known(COUNT, COUNT), folds, None, always=always,
        memory=memory,
    )  # fmt: skip


# What it takes
@pytest.mark.skipif(torch.cuda.is_available(), reason="an accelerator keeps halves of it")
@pytest.mark.parametrize("name", ["b.1", "a.1", "all"])
def test_what_is_kept_of_an_example_is_what_autograd_keeps(name):
    """Of thirty-two at once as of one, weights left out; the more, the earlier the cut."""
    cut, tail = deep.cut(name), deep.tail(name)
    found = step_memory.of(tail, cut, 32, False)
    module = Tail(tail)
    weights = {weight.untyped_storage().data_ptr() for weight in module.weights}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights and tensor.numel() > 1:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made = module(torch.zeros(32, *cut.shape))
    assert made.requires_grad
    assert sum(each.untyped_storage().nbytes() for each in kept.values()) == pytest.approx(32 * found.each, rel=0.01)
    assert found.weights == sum(weight.nbytes for weight in module.weights)
    assert step_memory.of(deep.tail("b.1"), deep.cut("b.1"), 32, False).each <= found.each


def test_a_batch_an_average_and_large_weights_count():
    """A checkpoint's copies outweigh the step of a large tail with a small batch."""
    fit = DeepFit(weights=1000, each=10, batch=8)
    assert replace(fit, batch=4096).needed == (HELD + BESIDE + GRADIENTS) * 1000 + 40_960
    assert replace(fit, averaged=True).needed > fit.needed >= (HELD + BESIDE + GRADIENTS) * 1000 + 80
    assert fit.needed == (HELD + BESIDE + 9) * 1000
    assert replace(fit, accelerated=True).needed == (HELD + GRADIENTS) * 1000 + 80  # checkpoints are made elsewhere


def test_the_largest_batch_that_fits_fits():
    fit = DeepFit(weights=1000, each=100, batch=4096)
    for there in (20_000, 54_321, 1_000_000):
        most = fit.most(there)
        if most:
            assert replace(fit, batch=most).fits(there) and not replace(fit, batch=most + 1).fits(there)
    assert fit.most(14_999) == 0 < fit.most(15_100)


def test_little_is_tried_whatever_is_left(monkeypatch):
    fit = DeepFit(weights=1000, each=100, batch=32)
    training_memory.require_deep(fit.needed, "all", fit)
    with pytest.raises(TooMuchData):
        training_memory.require_deep(fit.needed - 1, "all", fit)
    monkeypatch.setattr(training_memory, "SMALL", fit.needed)
    training_memory.require_deep(0, "all", fit)


# What is refused
def test_a_batch_is_as_large_as_the_examples_make_it():
    """Batches are about alike: of 5,000 in batches of at most 4,096, 2,500, and of the fold's 4,500 2,250."""
    assert [planned("all", batch_size=size).entries[0].fit.batch for size in (32, 4096, 2400)] == [32, 2500, 2250]


def test_a_named_cut_whose_step_does_not_fit_is_refused_with_the_batch_that_does():
    (entry,) = planned("all", batch_size=4096).entries
    assert planned("all", entry.fit.needed, batch_size=4096).entries
    with pytest.raises(TooMuchData, match="a cut nearer to the end") as refused:
        planned("all", entry.fit.needed - 1, batch_size=4096)
    assert refused.value.item == "batch_size" and "2,500 examples" in refused.value.message
    most = int(re.search(r"at most ([\d,]+) or", refused.value.message)[1].replace(",", ""))
    assert planned("all", entry.fit.needed - 1, batch_size=most).entries


def test_weights_that_do_not_fit_whatever_the_batch_are_refused_without_one():
    (entry,) = planned("all").entries
    with pytest.raises(TooMuchData, match="left: ask for a cut nearer") as refused:
        planned("all", entry.fit.weights)
    assert "batch_size" not in refused.value.message


def test_auto_leaves_out_what_there_is_no_memory_for_and_says_so():
    part, everything = planned(batch_size=4096).entries
    assert part.fit.needed < everything.fit.needed
    less = planned(memory=everything.fit.needed - 1, batch_size=4096)
    assert [entry.cut.name for entry in less.entries] == [part.cut.name]
    assert "more memory" in less.note and f"all ({everything.fit.needed:,} bytes)" in less.note
    assert planned(memory=1).entries == []
    with pytest.raises(TooMuchData, match=part.cut.name):
        planned(memory=1, always=True)
