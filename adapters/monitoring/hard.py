"""Which of the answers of a head are to inputs that it finds hard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters import arrays, tasks
from adapters.runtime.heads.head import HeadAnswers
from adapters.runtime.heads.loaded import LiveHead
from adapters.sampling.facts import Why
from adapters.trust import NOVEL
from adapters.types import Arrays, Floats

UNSURE = 0.8  # hesitation (`tasks`): of two classes one is at most a fifth likelier than the other
NUMBERS = 20_000  # of answers that are looked at in a request: a millisecond of the event loop
MOST_TOP = 5  # labels of an answer that are kept


@dataclass(frozen=True, slots=True)
class Hard:
    """A hard input, by its row."""

    row: int
    why: tuple[Why, ...]
    hardness: float  # the greater of hesitation and novelty


def rows(head: LiveHead, output: HeadAnswers, answers: Sequence[Mapping[str, Any]]) -> list[Hard]:
    """What a head said of M inputs and what was answered → the hard ones, the hardest first."""
    each = arrays.numbers(tasks.get(head.task).shapes(head.classes))
    count = min(len(answers), max(1, NUMBERS // max(1, each)))
    hesitation, novelty = _hesitation(head, arrays.take(output.arrays, slice(count))), _novelty(output, count)
    hardness = np.maximum(hesitation, novelty)
    found = [
        Hard(row, why, float(hardness[row]))
        for row in range(count)
        if (why := _why(answers[row], float(hesitation[row]), float(novelty[row])))
    ]
    return sorted(found, key=lambda hard: -hard.hardness)


def kept_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as it is kept: of many likely labels the first."""
    return {name: value[:MOST_TOP] if isinstance(value, list) else value for name, value in answer.items()}


def _hesitation(head: LiveHead, answers: Arrays) -> Floats:
    """f32 [M]; nothing where answers are numbers, which tell of no doubt."""
    task = tasks.get(head.task)
    return np.zeros(arrays.count(answers), np.float32) if task.ALONG else task.hesitation(answers)


def _novelty(output: HeadAnswers, count: int) -> Floats:
    return np.zeros(count, np.float32) if output.novelty is None else output.novelty[:count]


def _why(answer: Mapping[str, Any], hesitation: float, novelty: float) -> tuple[Why, ...]:
    reasons: tuple[tuple[Why, bool], ...] = (
        ("abstained", answer.get("abstain") is True), ("unsure", hesitation >= UNSURE), ("novel", novelty > NOVEL),
    )  # fmt: skip
    return tuple(why for why, so in reasons if so)
