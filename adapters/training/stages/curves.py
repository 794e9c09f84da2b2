"""How a deep round's fits went, epoch by epoch, and what that means: too little trained, too much, or neither."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Json = dict[str, Any]
RISE = 0.02  # of the least held-out loss: a rise of more after it is no noise of one epoch
FALL = 0.01  # of it: the last epoch still brought more
GAP = 0.5  # of the held-out loss that the training loss is below it


def summary(rows: Sequence[Json], cut: str) -> Json:
    """{"cut", "epochs", "best", "gap", "meaning", "reached"}: mean losses of the fits to folds of one cut, by epoch.

    `rows` are {"fit", "epoch", "train_loss", "held_out_loss", …}; fits to all examples hold none out and do not count.
    Every mean is over all fits: one that stopped, for want of patience, counts with its last losses from then on, and
    `reached` is the last epoch that all made. Means over fewer would rise or fall by which fits they leave out.
    """
    mine = [row for row in rows if row["fit"].startswith(f"{cut},") and row.get("held_out_loss") is not None]
    fits = [[row for row in mine if row["fit"] == fit] for fit in dict.fromkeys(row["fit"] for row in mine)]
    if not fits:
        return {"cut": cut, "epochs": [], "best": None, "gap": None, "meaning": "nothing was held out to judge it by"}
    epochs = [
        {
            "epoch": number + 1,
            "train_loss": _mean(fits, number, "train_loss"),
            "held_out_loss": _mean(fits, number, "held_out_loss"),
        }
        for number in range(max(map(len, fits)))
    ]
    best = min(epochs, key=lambda row: row["held_out_loss"])
    gap = best["held_out_loss"] - best["train_loss"]
    found = {"cut": cut, "epochs": epochs, "best": best["epoch"], "gap": gap, "meaning": _meaning(epochs, best, gap)}
    return found | {"reached": min(map(len, fits))}


def _mean(fits: Sequence[Sequence[Json]], number: int, name: str) -> float:
    return float(np.mean([fit[min(number, len(fit) - 1)][name] for fit in fits]))


def _meaning(epochs: Sequence[Json], best: Json, gap: float) -> str:
    """One sentence, with what to try."""
    first, last, least = epochs[0], epochs[-1], best["held_out_loss"]
    if len(epochs) == 1:
        return (
            f"One epoch shows no trend: the loss on held-out examples is {least:.3f}, and nobody can tell whether it "
            "would have fallen further; try more epochs."
        )
    if last["held_out_loss"] > least * (1 + RISE) and last["train_loss"] < best["train_loss"]:
        return (
            f"Overfitting from epoch {best['epoch'] + 1} on: the loss on held-out examples rose from {least:.3f} to "
            f"{last['held_out_loss']:.3f} while that on training examples fell to {last['train_loss']:.3f}; try fewer "
            "epochs, patience, dropout or stay, or add examples."
        )
    if best is last and epochs[-2]["held_out_loss"] - least > least * FALL:
        return (
            f"Not learned out: the last epoch still lowered the loss on held-out examples from "
            f"{epochs[-2]['held_out_loss']:.3f} to {least:.3f}; try more epochs or a higher learning rate."
        )
    if best is first and last["train_loss"] >= first["train_loss"]:
        return "It learned nothing: no loss fell after the first epoch; try a lower learning rate or a deeper cut."
    if gap > GAP * least:
        return (
            f"It knows what it was taught ({best['train_loss']:.3f}) better than what is new ({least:.3f}), without "
            "having become worse at it; more examples, or other views of them (augment, of images), would do most."
        )
    return f"Neither too little nor too much: both losses levelled out, at {least:.3f} on held-out examples."
