"""One fit: it begins as the shallow head, learns, is the same for a seed, and goes on from where it was left."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from support import deep_fits as deep

from adapters import recipe
from adapters.errors import Cancelled, InvalidHyperparameter
from adapters.training import programs
from adapters.training.deep import interpreter
from adapters.training.deep.fit import Fit, Fitting
from adapters.training.deep.fitting import randaugment
from adapters.training.deep.fitting.batches import Batches
from adapters.training.deep.fitting.head import Head
from adapters.training.stages import curves
from adapters.types import HeadProgram, L2Normalize, Linear, Relu


def no_watch(state: Callable[[], bytes]) -> None:
    """Nobody looks."""


def bits(weights: list[torch.Tensor]) -> list[bytes]:
    return [weight.detach().contiguous().numpy().tobytes() for weight in weights]


def same(one: Fit, other: Fit) -> bool:
    answers = all(np.array_equal(a, b) for a, b in zip(one.said, other.said, strict=True))
    return bits(one.weights) == bits(other.weights) and one.curves == other.curves and answers


def said(fitting: Fitting) -> np.ndarray:
    """Raw outputs of what is held out, by the weights as they are."""
    return fitting.network.asked(fitting._batches.taps, np.arange(16, deep.COUNT), lambda: None)


# Where it begins and where it goes
def test_without_any_of_the_training_a_deep_head_answers_as_its_start_does(tmp_path):
    """mix=0: the graph's tail and the shallow head, bit for bit."""
    fitting = deep.fitting(tmp_path)
    fit = fitting.run(no_watch)
    fitting.network.become(fitting.network.mixed(fit.weights, 0.0))
    assert fitting.network.tail.to_onnx() == interpreter.Tail(deep.tail()).to_onnx()
    program = fitting.network.head.program()
    for mine, theirs in zip(program.steps, deep.start().steps, strict=True):
        for name in mine.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    served = deep.made_taps(tmp_path).data[0, 16:].astype(np.float32)
    wanted = programs.run(deep.start(), interpreter.run(deep.tail(), served))
    np.testing.assert_allclose(said(fitting), wanted, rtol=1e-4, atol=1e-5)


def test_a_fit_learns(tmp_path):
    """The loss of what it is taught falls, and so does that of what is held out; every epoch is told."""
    told: list[dict] = []
    fit = deep.fitting(tmp_path, epochs=12, learning_rate=0.003).run(no_watch, told.append)
    assert [row["epoch"] for row in fit.curves] == list(range(1, 13))
    assert told == fit.curves
    for name in ("train_loss", "held_out_loss"):
        assert fit.curves[-1][name] < fit.curves[0][name]


def test_the_weights_of_every_block_move_and_the_exported_tail_is_what_was_trained(tmp_path):
    """And the program on it answers as the network does."""
    fitting = deep.fitting(tmp_path)
    fit = fitting.run(no_watch)
    moved = [float((now - before).abs().max()) for now, before in zip(fit.weights, fitting.network.start, strict=True)]
    assert min(moved) > 0
    served = deep.made_taps(tmp_path).data[0, 16:].astype(np.float32)
    pooled = interpreter.run(fitting.network.tail.to_onnx(), served)
    got = programs.run(fitting.network.head.program(), pooled)
    np.testing.assert_allclose(got, said(fitting), rtol=1e-4, atol=1e-5)


def test_half_way_is_between(tmp_path):
    """WiSE-FT's weights are those on the line from the start."""
    fitting = deep.fitting(tmp_path)
    fit = fitting.run(no_watch)
    for begin, half, end in zip(
        fitting.network.start, fitting.network.mixed(fit.weights, 0.5), fit.weights, strict=True
    ):
        torch.testing.assert_close(half, (begin + end) / 2)


def test_what_answers_after_each_epoch_is_as_far_from_the_start_as_is_asked(tmp_path):
    """And the fit itself goes on from where it was, whatever answers."""
    fitting, plain = deep.fitting(tmp_path, mix=0.25), deep.fitting(tmp_path)
    fit = fitting.run(no_watch)
    assert bits(fit.weights) == bits(plain.run(no_watch).weights)
    fitting.network.become(fitting.network.mixed(fit.weights, 0.25))
    np.testing.assert_array_equal(fit.said[-1], said(fitting))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_strong_pull_keeps_weights_where_they_began(tmp_path, optimizer):
    """L2-SP; a weak one lets them go farther."""
    gone = {}
    for stay in (0.0, 1e6):
        fitting = deep.fitting(tmp_path, stay=stay, optimizer=optimizer)
        fit = fitting.run(no_watch)
        pairs = zip(fit.weights, fitting.network.start, strict=True)
        gone[stay] = max(float((now - before).abs().max()) for now, before in pairs)
    assert gone[1e6] < 1e-3 * gone[0.0]


def test_gradual_unfreezing_begins_with_the_head(tmp_path):
    """Then one more block with each epoch, from the top; lower ones do not move before their time."""
    fitting = deep.fitting(tmp_path, schedule="gradual", epochs=6, batch_size=16)
    moved: list[set[str]] = []

    def look(state: Callable[[], bytes]) -> None:
        network = fitting.network
        changed = [not torch.equal(w, s) for w, s in zip(network.weights, network.start, strict=True)]
        names = [network.tail.blocks[name] for name in network.tail.names] + ["top", "top"]
        moved.append({name for name, yes in zip(names, changed, strict=True) if yes})

    fitting.run(look)
    assert moved[0] == {"top"}
    steps = list(dict.fromkeys(map(frozenset, moved)))
    assert steps == [
        {"top"}, {"top", "head"}, {"top", "head", "b.1"}, {"top", "head", "b.1", "b.0"},
        {"top", "head", "b.1", "b.0", "b"},
    ]  # fmt: skip


def test_lower_blocks_move_less(tmp_path):
    """Rates fall from block to block; all alike without a decay."""
    network = deep.fitting(tmp_path, layer_decay=0.5).network
    assert network.factors[:4] == pytest.approx([1 / 8, 1 / 4, 1 / 2, 1])
    assert set(deep.fitting(tmp_path, layer_decay=1).network.factors) == {1.0}
    assert deep.fitting(tmp_path).network.decay == 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [{"dropout": 0.5}, {"ema": 0.9}, {"decay": "cosine"}, {"decay": "constant"}, {"augment": "flip"},
     {"augment": "crop"}, {"optimizer": "sgd"}, {"label_smoothing": 0.0}, {"weight_decay": 0.5}, {"warmup": 0.0},
     {"optimizer": "adam"}, {"clip_grad": 0.01}, {"freeze_epochs": 1}],
)  # fmt: skip
def test_every_hyperparameter_changes_what_comes_out(tmp_path, changed):
    """None is accepted and forgotten."""
    plain, other = deep.fitting(tmp_path / "a"), deep.fitting(tmp_path / "b", **changed)
    assert bits(plain.run(no_watch).weights) != bits(other.run(no_watch).weights)


def test_sgd_has_the_momentum_that_is_asked_for(tmp_path):
    """None of it, and another one, end elsewhere."""
    fits = [deep.fitting(tmp_path / str(m), optimizer="sgd", momentum=m, clip_grad=0) for m in (0.0, 0.5, 0.9)]
    assert len({str(bits(fit.run(no_watch).weights)) for fit in fits}) == 3


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_an_optimizer_takes_the_steps_that_torch_takes(tmp_path, name):
    """Adam, and SGD with momentum, of a constant rate and nothing besides, against torch.optim."""
    plain = {"decay": "constant", "warmup": 0, "layer_decay": 1, "label_smoothing": 0, "clip_grad": 0}
    fitting = deep.fitting(tmp_path, optimizer=name, learning_rate=0.01, weight_decay=0, **plain)
    twin = copy.deepcopy(fitting.network)
    steps = {"adam": torch.optim.Adam, "sgd": partial(torch.optim.SGD, momentum=0.9)}[name](twin.weights, lr=0.01)
    truth = torch.from_numpy(deep.labels())
    for step in range(4):
        taps, targets = fitting._batches.drawn(fitting._batches.rows(step // 2, step % 2), step, truth)
        steps.zero_grad()
        torch.nn.functional.cross_entropy(twin.raw(taps), targets).backward()
        steps.step()
    reached = fitting.run(no_watch).weights
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(reached, twin.weights, strict=True))


@pytest.mark.parametrize("schedule", ["together", "gradual"])
def test_the_head_is_trained_alone_for_as_many_epochs_as_are_asked_for(tmp_path, schedule):
    """fastai's fine_tune: then all blocks move, or one more with each epoch."""
    fitting = deep.fitting(tmp_path, freeze_epochs=2, epochs=4, schedule=schedule)
    moved = []

    def look(state: Callable[[], bytes]) -> None:
        pairs = zip(fitting.network.tail.weights, fitting.network.start, strict=False)
        moved.append(any(not torch.equal(weight, begin) for weight, begin in pairs))

    fitting.run(look)
    assert moved[: 2 * fitting.per_epoch] == [False] * (2 * fitting.per_epoch) and moved[-1]


def test_randaugment_changes_what_is_trained_on_by_the_seed_and_leaves_others_their_numbers():
    """Each image by operations of its own; the same for one seed; torch's own generator goes on where it was."""
    pixels = torch.from_numpy(deep.pixels(8))
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    one, two, other = (randaugment.applied(pixels, 9, 2, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), wanted)
    assert one.shape == pixels.shape and one.dtype == torch.uint8
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert sum(not torch.equal(a, b) for a, b in zip(one, pixels, strict=True)) >= 6
    grey = pixels[..., :1].contiguous()
    assert randaugment.applied(grey, 9, 2, np.random.default_rng(1)).shape == grey.shape


@pytest.mark.parametrize(
    "changed", [{"augment": "flip"}, {"augment": "crop"}, {"augment": "rand-m9-n2"}, {"mixup": 0.4}]
)
def test_augmentation_changes_what_is_trained_on_and_nothing_of_held_out_answers(tmp_path, changed):
    """Of pixels: a batch is another one, and what is asked about held-out examples is what is served."""
    plain, other = (deep.fitting(tmp_path / k, name="all", **c) for k, c in (("a", {}), ("b", changed)))
    rows, truth = np.arange(8), torch.from_numpy(deep.labels())
    before, after = (f._batches.drawn(rows, 3, truth)[0] for f in (plain, other))
    assert before.shape == after.shape and before.dtype == after.dtype and not torch.equal(before, after)
    unseen = np.arange(16, deep.COUNT)
    assert torch.equal(plain._batches.taps.served(unseen), other._batches.taps.served(unseen))
    assert np.array_equal(*(f.network.asked(f._batches.taps, unseen, lambda: None) for f in (plain, other)))


@pytest.mark.parametrize(("augment", "views"), [("none", 1), ("flip", 2), ("crop", 5), ("rand-m9-n2", 5)])
def test_behind_a_cut_views_of_each_example_are_told_by_the_trunk_and_drawn_by_steps(tmp_path, augment, views):
    """The first of them is what is served; the same for a seed, however many lanes make them."""
    found, again = (deep.made_taps(tmp_path / str(n), augment=augment, lanes=n, count=6) for n in (1, 3))
    assert len(found.data) == len(found.views) == views and np.array_equal(found.data, again.data)
    assert np.array_equal(found.data[0], deep.made_taps(tmp_path, augment="none", count=6).data[0])
    others = [view for view in found.data[1:] if (view != found.data[0]).any(axis=(1, 2, 3)).sum() >= 4]
    assert len(others) == views - 1
    assert len({view.tobytes() for view in found.data}) == views


@pytest.mark.parametrize(
    "changed", [{}, {"augment": "crop"}, {"augment": "randaugment"}, {"augment": "none", "mixup": 0.4}]
)
def test_everything_is_trained_from_pixels(tmp_path, changed):
    """unfreeze=all: cropped, mirrored and mixed as a batch is drawn."""
    fitting = deep.fitting(tmp_path, name="all", batch_size=16, **changed)
    fit = fitting.run(no_watch)
    assert np.isfinite(fit.said[-1]).all()
    assert not torch.equal(fit.weights[0], fitting.network.start[0])


def test_overfitting_is_seen_under_mixup_too(tmp_path):
    """Training examples are learned by heart, and of those held out one in four has the label of another class.

    Beside mixed targets, of which no loss falls below their entropy, both losses seem to level out. So it is told of
    examples as they are served, as that of held-out ones.
    """
    truth = deep.labels().copy()
    truth[16::4] = (truth[16::4] + 1) % deep.CLASSES
    settings = {"mixup": 10.0, "label_smoothing": 0.0, "epochs": 48, "learning_rate": 0.02}
    fitting = deep.fitting(tmp_path, name="all", truth=truth, **settings)
    rows = fitting.run(no_watch).curves
    raw = fitting.network.asked(fitting._batches.taps, np.arange(16), lambda: None)
    wanted = torch.nn.functional.cross_entropy(torch.from_numpy(raw), torch.from_numpy(truth[:16]))
    assert rows[-1]["train_loss"] == pytest.approx(float(wanted), rel=1e-5)
    assert "Overfitting" in curves.summary([row | {"fit": "all, fold 1 of 1"} for row in rows], "all")["meaning"]


def test_the_examples_whose_loss_is_told_are_some_of_those_trained_on_and_change_nothing(tmp_path, monkeypatch):
    """As many as are held out, 64 at least and 500 at most; the same for a seed. Which they are moves no weight."""
    drawn = deep.fitting(tmp_path)._batches
    many = replace(drawn, index=np.arange(100, 1100))
    found = {held_out: many.sample(held_out) for held_out in (0, 80, 900)}
    assert [len(set(found[each])) for each in found] == [64, 80, 500] and min(found[900]) >= 100
    np.testing.assert_array_equal(found[80], replace(many).sample(80))
    np.testing.assert_array_equal(drawn.sample(8), drawn.index)
    fits = [deep.fitting(tmp_path, dropout=0.2).run(no_watch)]
    monkeypatch.setattr(Batches, "sample", lambda batches, held_out: batches.index[:3])
    fits.append(deep.fitting(tmp_path, dropout=0.2).run(no_watch))
    assert bits(fits[0].weights) == bits(fits[1].weights) and fits[0].curves != fits[1].curves


@pytest.mark.parametrize("objective", ["sigmoid", "squared"])
def test_labels_and_numbers_are_learned_as_well(tmp_path, objective):
    """f32 targets [N, K]."""
    truth = np.eye(deep.CLASSES, dtype=np.float32)[deep.labels()][:, :2]
    fit = deep.fitting(tmp_path, truth=truth, objective=objective, epochs=2, learning_rate=0.003).run(no_watch)
    assert fit.curves[-1]["train_loss"] < fit.curves[0]["train_loss"]


def test_it_stops_when_what_is_held_out_gets_no_better(tmp_path):
    """Nothing can be learned of labels that say the opposite."""
    wrong = deep.labels().copy()
    wrong[16:] = (wrong[16:] + 1) % deep.CLASSES
    fit = deep.fitting(tmp_path, truth=wrong, epochs=30, patience=2, learning_rate=0.02).run(no_watch)
    losses = [row["held_out_loss"] for row in fit.curves]
    assert len(losses) < 30 and len(losses) == 3 + int(np.argmin(losses))


# The same again
def test_a_seed_gives_the_same_fit_and_another_seed_another(tmp_path):
    """Bit for bit, on one device."""
    one, two, other = (deep.fitting(tmp_path, seed=seed, dropout=0.2).run(no_watch) for seed in (5, 5, 6))
    assert same(one, two)
    assert bits(one.weights) != bits(other.weights)


@pytest.mark.parametrize("where", range(1, 6))
def test_a_fit_goes_on_from_any_step_to_the_same_end(tmp_path, where):
    """Bit for bit: weights, answers after each epoch, curves; with averages, dropout and blocks that wait."""
    settings = {"dropout": 0.3, "ema": 0.8, "schedule": "gradual", "epochs": 3}
    whole = deep.fitting(tmp_path, **settings).run(no_watch)
    kept: list[bytes] = []

    def stop(state: Callable[[], bytes]) -> None:
        kept.append(state())
        if len(kept) == where:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        deep.fitting(tmp_path, **settings).run(stop)
    later = deep.fitting(tmp_path, **settings)
    later.resume(kept[-1])
    assert same(later.run(no_watch), whole)
    assert b"pickle" not in kept[-1]
    json.loads(kept[-1][8 : 8 + int.from_bytes(kept[-1][:8], "little")])  # safetensors: a header of JSON


def test_a_fit_ends_with_the_step_in_which_it_is_cancelled(tmp_path):
    """The owner is asked after every one."""
    asked = []

    def cancelled(state: Callable[[], bytes]) -> None:
        asked.append(1)
        raise Cancelled("by its owner")

    with pytest.raises(Cancelled):
        deep.fitting(tmp_path).run(cancelled)
    assert len(asked) == 1


def test_what_is_held_out_changes_nothing_of_a_fit(tmp_path):
    """Neither its labels nor that it is there: other labels, the same weights."""
    wrong = deep.labels().copy()
    wrong[16:] = (wrong[16:] + 1) % deep.CLASSES
    fits = [deep.fitting(tmp_path, truth=truth).run(no_watch) for truth in (None, wrong)]
    alone = deep.fitting(tmp_path, unseen=np.zeros(0, np.int64)).run(no_watch)
    assert bits(fits[0].weights) == bits(fits[1].weights) == bits(alone.weights)
    assert "held_out_loss" not in alone.curves[0] and not alone.said


# Heads
def test_a_head_is_trained_in_every_form_that_races_make(tmp_path):
    """Hidden layers and normalised rows among them; its slope is finite at zero, where a square root's is not."""
    random = np.random.default_rng(0)
    first, second = (random.normal(size=shape).astype(np.float32) for shape in ((deep.WIDTH, 5), (5, 3)))
    hidden = (L2Normalize(), Linear(first, np.zeros(5, np.float32)), Relu(), Linear(second, np.zeros(3, np.float32)))
    for program in (deep.start(), HeadProgram(hidden)):
        head, x = Head(program), torch.zeros(2, deep.WIDTH)
        x[1] = torch.from_numpy(random.normal(size=deep.WIDTH).astype(np.float32))
        np.testing.assert_allclose(head(x).detach().numpy(), programs.run(program, x), rtol=1e-5, atol=1e-6)
        x.requires_grad_(True)
        (slope,) = torch.autograd.grad(head(x).sum(), x)
        assert torch.isfinite(slope).all()


# Hyperparameters
@pytest.mark.parametrize(
    ("given", "field"),
    [({"epochs": 0}, "epochs"), ({"epoch": 3}, "epoch"), ({"learning_rate": float("nan")}, "learning_rate"),
     ({"schedule": "later"}, "schedule"), ({"mix": 1.5}, "mix"), ({"unfreeze": ""}, "unfreeze"),
     ({"augment": "rand-m11-n2"}, "augment"), ({"optimizer": "rmsprop"}, "optimizer")],
)  # fmt: skip
def test_a_hyperparameter_that_cannot_be_is_named(given, field):
    """With what there is."""
    with pytest.raises(InvalidHyperparameter, match="unfreeze") as caught:
        recipe.check(given)
    assert str(caught.value.item).startswith(field)


@pytest.mark.parametrize(
    ("given", "field", "fix"),
    [({"freeze_epochs": 8}, "freeze_epochs", "raise epochs"),
     ({"mixup": 0.2}, "mixup", "unfreeze=all"), ({"momentum": 0.5}, "momentum", "optimizer=sgd"),
     ({"momentum": 0.9, "optimizer": "adam"}, "momentum", "leave momentum out")],
)  # fmt: skip
def test_hyperparameters_that_would_do_nothing_are_refused_with_the_fix(given, field, fix):
    with pytest.raises(InvalidHyperparameter, match=fix) as caught:
        recipe.check(given)
    assert caught.value.item == field


def test_smoothing_of_labels_is_refused_where_there_are_none():
    """Of numbers; not to have named it is no error."""
    with pytest.raises(InvalidHyperparameter, match="numbers have none") as caught:
        recipe.check({"label_smoothing": 0.2}, "squared")
    assert caught.value.item == "label_smoothing"
    assert recipe.check({}, "squared").label_smoothing == recipe.check({"label_smoothing": 0.1}).label_smoothing
