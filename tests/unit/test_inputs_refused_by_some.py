"""Backbones of one request may refuse different inputs: what is said of one is never said of another."""

import asyncio
import io
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.served_deep import BOTH, Served

from adapters import predict
from adapters.errors import BackboneDamaged, InvalidInput
from adapters.monitoring import hard
from adapters.monitoring.sampler import Sampler
from adapters.runtime import passes
from adapters.runtime.passes import EmbeddedInputs, ItemError

# Of three channels, of four, deep on that of three, and a shallow and a deep one in one on that.
NAMES = ["colours", "veiled", "deep", "both"]


def photo(mode: str, seed: int) -> bytes:
    channels = {"RGB": 3, "RGBA": 4}[mode]
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, channels), np.uint8)  # never all opaque
    file = io.BytesIO()
    Image.fromarray(pixels, mode).save(file, "PNG")
    return file.getvalue()


OPAQUE, VEILED = [photo("RGB", n) for n in range(3)], [photo("RGBA", n) for n in range(3)]
READ_BY = {  # which heads can be asked about it
    **{data: {"colours", "deep", "both"} for data in OPAQUE},
    **{data: {"colours", "veiled", "deep", "both"} for data in VEILED},
    b"broken": set[str](),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"))
    made.shallow("colours", 1)
    made.shallow("veiled", 2, on=made.backbone(4))
    made.deep("deep", 3)
    made.deep("both", 4, BOTH)
    yield made
    made.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(READ_BY)), min_size=1, max_size=6),
    st.permutations(NAMES).flatmap(lambda order: st.integers(1, 4).map(lambda count: order[:count])),
)
def test_every_answer_is_to_its_own_input(served, inputs, heads):
    """As it is where that input is the whole request; one that some head cannot be asked about is an error, once."""
    found = asyncio.run(served.ask(heads, inputs, on_error="skip"))
    good = [index for index, data in enumerate(inputs) if set(heads) <= READ_BY[data]]
    assert [error.index for error in found.errors] == [n for n in range(len(inputs)) if n not in good]
    said = [(one.index, one.head.version.head, one.answer["novelty"], one.answer["score"]) for one in found.predictions]
    alone = [(n, name, served([name], [inputs[n]])[0][2]) for n in good for name in heads]
    assert said == [(n, name, pytest.approx(a["novelty"]), pytest.approx(a["score"])) for n, name, a in alone]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=4), st.integers(0, 8))
def test_what_passes_tell_is_of_the_same_inputs_row_by_row(refused, count):
    """Whatever each refuses; of one that failed there is the reason, and what nobody asked for has no say."""
    found: passes.Found = {str(n): told(count, each) for n, each in enumerate(refused)}
    found |= {"away": BackboneDamaged("gone"), "unasked": told(count, set(range(8)))}
    heads = [SimpleNamespace(source=source, needs=(source,), trial=None) for source in found if source != "unasked"]
    aligned = passes.aligned(found, heads)
    assert list(aligned) == [head.source for head in heads] and aligned.pop("away") is found["away"]
    wrong = set[int]().union(*refused) & set(range(count))
    for each in aligned.values():
        assert each.embeddings[:, 0].tolist() == each.indices == [n for n in range(count) if n not in wrong]
        assert [error.index for error in each.errors] == sorted(wrong)


def told(count: int, refused: set[int]) -> EmbeddedInputs:
    """Of each of so many inputs that is not refused its number."""
    good = [n for n in range(count) if n not in refused]
    errors = [ItemError(n, "invalid_image", "why") for n in sorted(refused) if n < count]
    return EmbeddedInputs(np.array(good, np.float32).reshape(-1, 1), good, errors)


def test_who_wants_all_or_nothing_is_told_of_the_input(served):
    """Whichever of the heads cannot be asked about it."""
    for order in (NAMES, NAMES[::-1]):
        with pytest.raises(InvalidInput, match="image 1: "):
            served(order, [VEILED[0], OPAQUE[0]])


def test_samples_are_of_the_inputs_that_were_hard(served, monkeypatch):
    """Bytes and embeddings belong together."""
    monkeypatch.setattr(hard, "UNSURE", 0.0)  # all of them are
    sampler = Sampler(served.engine, served.artifacts, every=3600)
    sampler.heads, served.predictor.sampler = frozenset({"colours"}), sampler
    try:
        inputs = [OPAQUE[0], VEILED[1], OPAQUE[1], VEILED[2]]
        asyncio.run(served.ask(["veiled", "colours"], inputs, on_error="skip"))
    finally:
        served.predictor.sampler = None
    assert {item.data for item in sampler._queue.items} == {VEILED[1], VEILED[2]}
    for item in sampler._queue.items:
        (alone,) = asyncio.run(embedded(served, item.data))
        np.testing.assert_allclose(item.embedding, alone, rtol=1e-5)


async def embedded(served: Served, data: bytes) -> np.ndarray:
    """What the backbone of `colours` tells of an input."""
    return (await predict.embed(served.predictor, [data], served.base.digest)).embeddings
