"""Inputs of which a backbone reads only a part, as they are too long: said in the answer, so that nobody wonders."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from adapters import modalities
from adapters.predict import Predictor


async def told(
    predictor: Predictor, inputs: Sequence[bytes | memoryview], read: Iterable[int], modality: str
) -> dict[str, list[dict[str, Any]]]:
    """{"cut": [{"index", "tokens", "cut"}]} of those of `inputs`, by position, that were `read` in part; {} of none.

    Nothing is looked at of a modality that reads all, or of inputs shorter than its CUT_FROM, bytes.
    """
    shortest = getattr(modalities.get(modality), "CUT_FROM", None)
    if shortest is None or not (long := [index for index in dict.fromkeys(read) if len(inputs[index]) > shortest]):
        return {}
    found = await predictor.traffic.lanes.run(partial(_cut, predictor, inputs, long, modality))
    return {"cut": found} if found else {}


def _cut(
    predictor: Predictor, inputs: Sequence[bytes | memoryview], indices: Sequence[int], modality: str
) -> list[dict[str, Any]]:
    """In a lane: counting the tokens of the longest text takes 0.1 s, and 0.5 s of one made to be costly."""
    kind, most = modalities.get(modality), modalities.most_of(modality, predictor.most)
    facts = {index: kind.probe(inputs[index], most=most).facts for index in indices}
    return [{"index": i, "tokens": f["tokens"], "cut": f["cut"]} for i, f in facts.items() if f["cut"]]
