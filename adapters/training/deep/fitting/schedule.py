"""Rates of a fit: how they go over its steps, how they fall from block to block, and which blocks move at all."""

import math
from collections.abc import Collection

from adapters.recipe import AUTO, Hyperparameters

CONVOLUTIONS, WHOLE, TRANSFORMERS = 0.002, 0.0005, 0.0003
ATTENTION = ("tokens", "sequence")  # kinds of cuts that transformers have
DECAY, LEAST = 0.5, 0.1  # of the rate a block; of the head's rate that the first block has at least, in `auto`
START, END = 25.0, 1e4  # of one-cycle: its highest rate over its first one, that over its last one (fastai's)
FREEING, FREEING_OF = 2, 3  # two thirds of the epochs free blocks, the last third trains all


def share(recipe: Hyperparameters, step: int, steps: int) -> float:
    """What part of the highest rate a step has, 0 to 1."""
    rising = max(1, round(recipe.warmup * steps)) if recipe.warmup else 0
    first = 1 / START if recipe.decay == "one-cycle" else 0.0
    if step < rising:
        return _between(first, 1.0, (step + 1) / rising)
    if recipe.decay == "constant":
        return 1.0
    return _between(1.0, first / END, (step - rising) / max(1, steps - rising))


def highest(recipe: Hyperparameters, kind: str = "map", kinds: Collection[str] = ()) -> float:
    """The learning rate at its highest, for a tail that reads a tap of that kind, of a backbone with cuts of `kinds`.

    All layers of convolutions (a cut of the kind "input") want less than the last ones. At 0.002 those of everyday
    photos went so far that a quarter of the way was best; at 0.0005 half of it was, with less loss: 0.293, 0.247.
    Signs, unlike what the backbone had seen, can do with more: 0.024, 0.034 (held out, one fold each; docs/adr/0030).

    Transformers want less than convolutions: of 0.0001, 0.0003 and 0.002 the middle one did best with the questions of
    banking77 behind a cut of MiniLM (docs/adr/0032). None with weights that know anything is at hand for images: a ViT
    is given the same.
    """
    if recipe.learning_rate != AUTO:
        return float(recipe.learning_rate)
    whole = kind == "input"
    read = kinds if whole else (kind,)
    if any(each in ATTENTION for each in read):
        return TRANSFORMERS
    return WHOLE if whole else CONVOLUTIONS


def _between(one: float, other: float, part: float) -> float:
    """Along half a cosine."""
    return other + (one - other) * (1 + math.cos(math.pi * part)) / 2


def decay(recipe: Hyperparameters, blocks: int) -> float:
    """What is left of the rate one block nearer to the input."""
    if recipe.layer_decay == AUTO:
        return max(DECAY, LEAST ** (1 / max(1, blocks - 1)))
    return float(recipe.layer_decay)


def factors(decay: float, blocks: int) -> list[float]:
    """What part of the head's rate each block has, the one nearest to the input first."""
    return [decay ** (blocks - 1 - block) for block in range(blocks)]


def moving(recipe: Hyperparameters, epoch: int, blocks: int) -> int:
    """How many blocks move in an epoch besides the head, counted from the top; of `gradual` all in the last third.

    As in ULMFiT (Howard & Ruder 2018) the head begins alone, each epoch frees one more block, and then all are trained
    on. Where the first two thirds have fewer epochs than there are blocks, each frees several: what is never freed
    would be published as trained. A single epoch leaves none to begin with less, and moves all.
    """
    if epoch < recipe.freeze_epochs:
        return 0
    begun, left = epoch - recipe.freeze_epochs, recipe.epochs - recipe.freeze_epochs
    waiting = left * FREEING // FREEING_OF  # epochs before all move
    if recipe.schedule == "together" or begun >= waiting:
        return blocks
    first = 1 if recipe.freeze_epochs else 0  # the head has had its epochs alone
    return min(blocks, first + max(begun, begun * (blocks - first) // waiting))
