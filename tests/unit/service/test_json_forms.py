"""JSON in a form's place, bounded as the form is."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from adapters.errors import TooLarge
from service.api import finetune
from service.intake import forms, uploads
from service.limits.space import Space
from service.settings import Settings


def request(**body: Any) -> Request:
    sent = json.dumps(body).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": sent, "more_body": False}

    headers = [(b"content-type", b"application/json")]
    return Request({"type": "http", "method": "POST", "headers": headers, "query_string": b""}, receive)


def asked(settings: Settings, space: Space, **body: Any) -> forms.InputForm:
    """What /predict makes of a body."""
    known = frozenset(("head", "top_k", "texts", "inputs"))
    return asyncio.run(forms.receive(request(**body), settings, uploads.unbounded, space, known))


def test_a_body_of_as_many_inputs_and_heads_as_are_taken_is_read():
    space, settings = Space(), Settings(max_predict_inputs=20, max_predict_heads=3)
    form = asked(settings, space, head=["a", "b", "c"], inputs=[""] * 20, top_k=2)
    assert len(form.inputs) == 20 and form.many("head") == ["a", "b", "c"] and form.one("top_k", "") == "2"
    form.close()


@pytest.mark.parametrize("body", [{"inputs": [""] * 5000}, {"head": ["a"] * 5000, "inputs": ["a"]}])
def test_more_parts_than_a_form_may_have_are_too_large_and_hold_no_room(body):
    """Each is an object of a kilobyte, which what follows looks at on the event loop."""
    space = Space()
    with pytest.raises(TooLarge, match="more than 123 inputs and options"):
        asked(Settings(max_predict_inputs=20, max_predict_heads=3), space, **body)
    assert (space.memory, space.temporary) == (0, 0)


def test_finetune_takes_as_many_as_a_form_may_have():
    context = SimpleNamespace(settings=Settings(max_form_parts=10), uploads=Space())
    sent = {"head": "a", "labels": ["x"] * 50}
    with asyncio.run(finetune._received(request(**sent, texts=["a"] * 8), context, uploads.unbounded)) as upload:
        assert len(upload.parts) == 10
    with pytest.raises(TooLarge, match="more than 10 "):
        asyncio.run(finetune._received(request(**sent, texts=["a"] * 9), context, uploads.unbounded))
