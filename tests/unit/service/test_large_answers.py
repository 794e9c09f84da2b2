"""Large answers are made a part at a time, off the event loop, and say byte for byte what they would say at once."""

import asyncio
import math
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic_core import to_json

from adapters import decoding
from adapters.predict import Predictions
from adapters.runtime.queueing import aside
from adapters.suggest import Suggestions
from service.api import large_answers
from service.api.inference import predict, suggest
from service.api.inference.schemas import PredictResponse, SuggestResponse
from service.wire import Wire

HEAD = SimpleNamespace(version=SimpleNamespace(head="acme/cats", number=3, digest="d" * 64))
ROWS = np.random.default_rng(0).normal(scale=1e-4, size=(400, 96)).astype(np.float32)
ENCODERS = [to_json, large_answers.as_python_does]


def predictions(count: int, top: int = 5) -> list[Any]:
    """With numbers that the two encoders write each its own way."""
    said = [{"label": f"größe {n}", "score": 1e-7 * n} for n in range(top)]
    return [decoding.Prediction(n, HEAD, said[0] | {"top": said, "novelty": None}) for n in range(count)]


class Recorder:
    """An encoder that notes where it was called and with how many numbers."""

    def __init__(self, encode: large_answers.Encode) -> None:
        self.encode, self.calls = encode, list[tuple[bool, int]]()

    def __call__(self, content: Any) -> bytes:
        here = threading.current_thread() is threading.main_thread()
        self.calls.append((here, np.size(content) if isinstance(content, list) else 0))
        return self.encode(content)


def listed(rows: Any, encode: large_answers.Encode, after: dict[str, Any]) -> bytes:
    made = large_answers.listing("rows", rows, np.ndarray.tolist, ROWS.shape[1], {"name": "x"}, after, encode)
    return bytes(asyncio.run(made).body)


@pytest.mark.parametrize("encode", ENCODERS, ids=["pydantic", "python"])
@pytest.mark.parametrize("after", [{}, {"errors": [], "cut": [{"index": 1}]}], ids=["last", "more"])
@pytest.mark.parametrize("count", [0, 1, 20, 21, 52, 53, 104, 400])
def test_in_parts_it_is_byte_for_byte_what_it_is_at_once(count, after, encode):
    """Around the bounds: up to 20 rows are written at once, then 52 at a time."""
    whole = encode({"name": "x", "rows": ROWS[:count].tolist()} | after)
    assert listed(ROWS[:count], encode, after) == whole


def test_no_call_writes_more_than_a_step_and_none_of_many_on_the_event_loop():
    seen = Recorder(large_answers.as_python_does)
    listed(ROWS, seen, {})
    assert sum(numbers for _, numbers in seen.calls) == ROWS.size
    assert max(numbers for _, numbers in seen.calls) <= aside.STEP
    assert all(numbers <= aside.INLINE for here, numbers in seen.calls if here)


def test_few_numbers_are_written_in_one_call_on_the_event_loop():
    """The way of nearly every prediction, which no thread makes slower."""
    seen = Recorder(to_json)
    asyncio.run(large_answers.listing("rows", ["a"], list, 10, {}, {"errors": []}, seen))
    assert seen.calls == [(True, 0)]


def test_numbers_that_json_has_not_are_refused_in_parts_as_well():
    with pytest.raises(ValueError, match="not JSON compliant"):
        listed(np.full_like(ROWS, np.nan), large_answers.as_python_does, {})


@pytest.mark.parametrize("count", [1, 100, 5000])
def test_predictions_are_the_same_however_many(count):
    result = Predictions(predictions(count), [], 7, [], range(count), 20)
    cut = {"cut": [{"index": 0, "tokens": 600, "cut": 88}]}
    whole = to_json(PredictResponse.plain(result) | cut)
    assert bytes(asyncio.run(predict._in_parts(result, cut)).body) == whole
    assert result.predictions == [], "they are let go a few at a time, not all at once on the event loop"


def test_steps_of_two_requests_take_turns():
    order = list[str]()

    def work(some: list[str]) -> None:
        order.extend(some)

    async def both() -> None:
        await asyncio.gather(*(aside.in_steps(work, [name] * 6, aside.STEP) for name in "ab"))

    asyncio.run(both())
    assert order == list("ab" * 6)


class Row(Wire):
    """With what the options of a route leave out."""

    name: str
    at: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    found: Any = None


class Page(Wire):
    """As pages are."""

    rows: list[Row]
    plain: tuple[int, ...] = tuple(range(100))
    more: dict[str, Any] | None = None
    next: str | None = None


@pytest.mark.parametrize("options", [{}, {"exclude_none": True}, {"exclude_unset": True}], ids=str)
@pytest.mark.parametrize("count", [0, 1, large_answers.FEW, large_answers.FEW + 1, 300])
def test_a_page_is_written_by_entry_as_it_would_be_in_one_call(count, options):
    rows = [Row(name=f"größe {n}", found=[{"a": None, "b": 1e-7, "c": math.nan}, None][n % 2]) for n in range(count)]
    for page in (Page(rows=rows), Page(rows=rows, more={"x": None}, next="9")):
        assert large_answers.written(page, **options) == page.model_dump_json(**options).encode()


def test_a_suggestion_is_written_as_fastapi_would():
    head = SimpleNamespace(version=SimpleNamespace(head="acme/cats", number=3))
    answers, doubts = [{"label": ["a", "ö"], "score": 1e-7}] * 30, [0.25] * 30
    found = Suggestions(head, "typical", "why", list(range(30)), answers, doubts, 0.5, [])
    for cut in ({}, {"cut": [{"index": 1, "tokens": 600, "cut": 88}]}):
        whole = SuggestResponse.of(found, cut).model_dump_json(exclude_unset=True, by_alias=True)
        assert suggest._written(found, cut) == whole.encode()
