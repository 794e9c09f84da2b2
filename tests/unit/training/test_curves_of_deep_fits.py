"""What the losses of a deep round's fits are said to mean."""

import pytest

from adapters.training.stages import curves


def fit(name: str, train: list[float], held_out: list[float | None]) -> list[dict]:
    pairs = zip(train, held_out, strict=True)
    return [
        {"fit": name, "epoch": epoch, "train_loss": one, "held_out_loss": other}
        for epoch, (one, other) in enumerate(pairs, 1)
    ]


@pytest.mark.parametrize(
    ("train", "held_out", "said", "best"),
    [
        ([1.0, 0.5, 0.2, 0.1], [1.1, 0.8, 0.9, 1.0], "Overfitting from epoch 3 on", 2),
        ([1.0, 0.8, 0.6], [1.1, 0.9, 0.7], "Not learned out", 3),
        ([1.0, 1.1, 1.2], [1.0, 1.1, 1.2], "It learned nothing", 1),
        ([1.0, 0.3, 0.2, 0.2], [1.1, 0.9, 0.885, 0.881], "better than what is new", 4),
        ([1.0, 0.8, 0.75, 0.75], [1.0, 0.8, 0.79, 0.79], "Neither too little nor too much", 3),
        ([1.0], [0.9], "One epoch shows no trend", 1),
    ],
)
def test_one_sentence_says_how_training_went(train, held_out, said, best):
    found = curves.summary(fit("blocks.5, fold 1 of 1", train, held_out), "blocks.5")
    assert said in found["meaning"] and found["best"] == best
    assert found["gap"] == pytest.approx(held_out[best - 1] - train[best - 1])


def test_folds_of_one_cut_are_averaged_and_nothing_else_counts():
    rows = [
        *fit("blocks.5, fold 1 of 2", [1.0, 0.5], [1.0, 0.6]), *fit("blocks.5, fold 2 of 2", [2.0, 0.7], [2.0, 0.8]),
        *fit("blocks.4, fold 1 of 2", [9.0], [9.0]), *fit("blocks.5, on all", [0.1], [None]),
    ]  # fmt: skip
    found = curves.summary(rows, "blocks.5")
    assert found["epochs"] == [
        {"epoch": 1, "train_loss": 1.5, "held_out_loss": 1.5},
        {"epoch": 2, "train_loss": pytest.approx(0.6), "held_out_loss": pytest.approx(0.7)},
    ]


def test_a_fit_that_stopped_early_counts_with_its_last_losses_and_is_told():
    """Both fits only fell or stood still: without the better one the mean would seem to rise."""
    rows = [
        *fit("b, fold 1 of 2", [0.5, 0.4, 0.39, 0.38], [0.6, 0.40, 0.42, 0.43]),
        *fit("b, fold 2 of 2", [0.9, 0.8, 0.7, 0.6, 0.5, 0.45], [0.9, 0.80, 0.75, 0.72, 0.71, 0.70]),
    ]
    found = curves.summary(rows, "b")
    assert [row["held_out_loss"] for row in found["epochs"]] == pytest.approx([0.75, 0.6, 0.585, 0.575, 0.57, 0.565])
    assert found["epochs"][-1]["train_loss"] == pytest.approx((0.38 + 0.45) / 2)
    assert "Overfitting" not in found["meaning"] and (found["best"], found["reached"]) == (6, 4)


def test_without_held_out_losses_nothing_is_claimed():
    found = curves.summary(fit("all, on all", [0.1], [None]), "all")
    assert found["epochs"] == [] and "nothing was held out" in found["meaning"]
