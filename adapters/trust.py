"""What a version may claim of its own answers, from those it gave on examples that it had not seen. numpy only.

Sets are split conformal (Vovk et al. 2005) with the score 1 − p(truth), LAC (Sadinle et al. 2019): of all rules with a
given coverage it makes the smallest sets, and it needs one number an example. APS makes larger sets to even out
coverage among examples, which calibrated probabilities and the novelty already speak of.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.errors import InvalidInput, NotEnoughHeldOut
from adapters.types import Floats

NOVEL = 0.99  # a novelty above it abstains: one in a hundred inputs like those taught
ACCURACIES = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)  # of the answered, which a version has thresholds for
MOST = 10_000  # probabilities kept for sets: 40 KB, and a coverage known to ± 0.6 points
KEY = "espalier.conformal"  # of the graph's metadata: base64 of those probabilities, little-endian f32, ascending


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a head (or a fit without the example) said of M examples."""

    of_truth: Floats  # [M], how well it did by the truth: the probability of the true label, or less an error
    confidence: Floats | None = None  # [M], of the label it would have answered; None where answers are not labels
    right: NDArray[np.bool_] | None = None  # [M]


@dataclass(frozen=True, slots=True)
class Terms:
    """What one request asks of one version's answers; None where it does not."""

    coverage: float | None = None
    least: float = 0.0  # the probability from which a label belongs to the set
    confidence: float | None = None  # below it: abstain


def thresholds(held_out: HeldOut) -> list[dict[str, float | None]]:
    """For each accuracy: the least confidence to answer with, and the share of the held-out that is answered then.

    The accuracy of the answered is taken as (right + 1) / (answered + 2), Laplace's rule of succession, so that ten of
    ten is not yet 95 %. `confidence` is None where no threshold reaches it.
    """
    assert held_out.confidence is not None and held_out.right is not None
    order = np.argsort(-held_out.confidence, kind="stable")
    confidence, right = held_out.confidence[order], held_out.right[order]
    answered = np.arange(1, len(order) + 1)
    reached = (np.cumsum(right) + 1) / (answered + 2)
    whole = np.append(confidence[1:] < confidence[:-1], True)  # equal confidences are answered together
    return [_threshold(accuracy, confidence, np.flatnonzero(whole & (reached >= accuracy))) for accuracy in ACCURACIES]


def _threshold(accuracy: float, confidence: Floats, allowed: NDArray[np.int64]) -> dict[str, float | None]:
    if not len(allowed):
        return {"accuracy": accuracy, "confidence": None, "answered": 0.0}
    last = int(allowed[-1])
    everything = last == len(confidence) - 1
    least = 0.0 if everything else float(confidence[last])
    return {"accuracy": accuracy, "confidence": least, "answered": (last + 1) / len(confidence)}


def pack(of_truth: Floats) -> str:
    """Probabilities of the truth [M] as text; of more than MOST a random part, which keeps the guarantee."""
    if len(of_truth) > MOST:
        of_truth = np.random.default_rng(0).choice(of_truth, MOST, replace=False)
    return base64.b64encode(np.sort(of_truth).astype("<f4").tobytes()).decode()


def unpack(metadata: Mapping[str, str]) -> Floats:
    """The inverse, from a graph's metadata: f32 [M], empty where it has none."""
    return np.frombuffer(base64.b64decode(metadata.get(KEY, "")), "<f4")


def least_probability(of_truth: Floats, coverage: float) -> float | None:
    """The probability from which a label belongs to a set of that coverage; None where there are too few examples.

    The ⌈(M + 1)·coverage⌉-th best of M held-out examples: a new example of the same kind does at least as well as it
    with that probability, whatever the head and the data are.
    """
    rank = math.ceil((len(of_truth) + 1) * coverage - 1e-9)  # 0.9·(9 + 1) is 9, not 9.000000000000002
    return float(of_truth[len(of_truth) - rank]) if rank <= len(of_truth) else None


def needed(coverage: float) -> int:
    """Held-out examples from which sets of that coverage can be promised: ⌈1/α⌉ − 1."""
    return math.ceil(1 / (1 - coverage) - 1e-9) - 1


def terms(
    head: str, of_truth: Floats, facts: Mapping[str, Any], coverage: float | None, accuracy: float | None
) -> Terms:
    """What a request asks of a version, from what the version knows of itself; `head` is how messages call it.

    Raises NotEnoughHeldOut where the version cannot promise it, InvalidInput for an accuracy without a threshold and
    for a task that promises nothing.
    """
    least = 0.0 if coverage is None else _least(head, of_truth, facts, coverage)
    return Terms(coverage, least, None if accuracy is None else _confidence(head, facts, accuracy))


def _least(head: str, of_truth: Floats, facts: Mapping[str, Any], coverage: float) -> float:
    _require(head, facts, "coverage")
    found = least_probability(of_truth, coverage)
    if found is None:
        most = math.floor(1000 * len(of_truth) / (len(of_truth) + 1)) / 1000
        raise NotEnoughHeldOut(
            f"{head}: a coverage of {coverage:g} needs {needed(coverage)} held-out examples or more, it has "
            f"{len(of_truth)}; teach it more examples, or ask for {most:g} at most",
            item=head,
        )
    return found


def _confidence(head: str, facts: Mapping[str, Any], accuracy: float) -> float:
    _require(head, facts, "abstain")
    known = {row["accuracy"]: row["confidence"] for row in facts["abstain"]}
    if accuracy not in known:
        listed = ", ".join(f"{a:g}" for a in known)
        raise InvalidInput(f"'abstain' must be one of {listed}, not {accuracy:g}", item="abstain")
    if known[accuracy] is None:
        reached = [f"{a:g}" for a, confidence in known.items() if confidence is not None]
        raise NotEnoughHeldOut(
            f"{head}: no confidence makes {accuracy:g} of its answers right on its {facts['held_out']} held-out "
            f"examples; teach it more examples, or ask for {' or '.join(reached[-1:]) or 'no abstain'}",
            item=head,
        )
    return float(known[accuracy])


def _require(head: str, facts: Mapping[str, Any], option: str) -> None:
    if option in facts.get("options", ()):
        return
    if "options" in facts:
        raise InvalidInput(f"{head}: answers of its task come without {option!r}; leave it out", item=option)
    raise NotEnoughHeldOut(
        f"{head}: it has no held-out answers to choose by, because it was made without them; teach it again with "
        f"this release, or leave {option!r} out",
        item=head,
    )
