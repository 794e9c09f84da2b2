"""What no route knows is refused, wherever it comes: in the query or in a form, as a file or as a text."""

import json
from typing import Any

import pytest

from adapters.errors import InvalidInput
from service.api.openapi import FINETUNE_FORM, PREDICT_FORM
from service.intake import json_bodies, strict
from service.wire import Wire


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("topk", "unknown option 'topk'; did you mean 'top_k'? There are: coverage, top_k"),
        ("Coverage", "unknown option 'Coverage'; did you mean 'coverage'? There are: coverage, top_k"),
        ("threshold", "unknown option 'threshold'; there are: coverage, top_k"),
        ("x" * 10**6, f"unknown option {'x' * 50!r}; there are: coverage, top_k"),
    ],
)
def test_the_nearest_name_is_told(sent, said):
    with pytest.raises(InvalidInput) as refused:
        strict.check([sent, "top_k"], {"top_k", "coverage"}, "option")
    assert refused.value.message == said and refused.value.item == sent[:50]


def test_where_nothing_is_known_that_is_said():
    with pytest.raises(InvalidInput, match="unknown option 'a'; there are none here"):
        strict.check(["a"], (), "option")


def test_known_names_pass():
    strict.check(["a", "b"], {"a", "b", "c"})
    strict.check_files(["images"], strict.of_form(PREDICT_FORM), "`images`")


def test_of_files_the_field_is_told():
    with pytest.raises(InvalidInput, match="there is no field 'file' for files; send them as `images`") as refused:
        strict.check_files(["images", "file"], strict.of_form(PREDICT_FORM), "`images`")
    assert refused.value.item == "file"


def test_a_forms_options_may_be_in_the_query_where_its_image_may_be_the_body():
    assert strict.also_in_query(PREDICT_FORM) == strict.of_form(PREDICT_FORM) > {"images", "head", "top_k"}
    assert strict.also_in_query(FINETUNE_FORM) == frozenset() < strict.of_form(FINETUNE_FORM)
    assert strict.of_form({}) == frozenset()


@pytest.mark.parametrize(
    ("sent", "said", "item"),
    [
        ({"limit": {}}, "unknown field 'limit'; did you mean 'limits'? There are: limits, rules", "limit"),
        ({"limits": {"hads": 1}}, "unknown field 'hads'; did you mean 'heads'? There are: heads", "limits.hads"),
        ({"limits": {}, "rules": [{"heds": 1}]}, "unknown field 'heds'; did you mean 'heads'?", "rules.0.heds"),
        ({"\ud800" * 99: 1, "limits": {}}, "Input should be a valid string", None),
        ({"x" * 10**5: 1, "limits": {}}, f"unknown field {'x' * 50!r}; there are: limits, rules", "x" * 200),
    ],
)
def test_an_unknown_field_of_a_json_body_is_told_before_what_is_missing(sent: Any, said: str, item: str | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        json_bodies.read(json.dumps(sent).encode(), Whole)
    assert refused.value.message.startswith(said) and refused.value.item == item


class Part(Wire):
    """A model inside of another."""

    heads: int = 0


class Whole(Wire):
    """One with a required field, a list of models, and a union."""

    limits: Part
    rules: list[Part] | None = None
