"""What no route knows is refused, wherever it comes: in the query or in a form, as a file or as a text."""

import pytest

from adapters.errors import InvalidInput
from service import strict
from service.openapi import FINETUNE_FORM, IMAGE_FORM


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
    strict.check_files(["images"], strict.of_form(IMAGE_FORM), "images")


def test_of_files_the_field_is_told():
    with pytest.raises(InvalidInput, match="there is no field 'file' for files; send them as `images`") as refused:
        strict.check_files(["images", "file"], strict.of_form(IMAGE_FORM), "images")
    assert refused.value.item == "file"


def test_a_forms_options_may_be_in_the_query_where_its_image_may_be_the_body():
    assert strict.also_in_query(IMAGE_FORM) == strict.of_form(IMAGE_FORM) > {"images", "head", "top_k"}
    assert strict.also_in_query(FINETUNE_FORM) == frozenset() < strict.of_form(FINETUNE_FORM)
    assert strict.of_form({}) == frozenset()
