"""Options of /predict and /embed: each wrong one is named, whether it came in the form or in the query."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from adapters.types import HeadRef
from service.intake import options
from service.intake.forms import InputForm, head_ref, head_refs
from service.wire import check_head_name


def form(**options: list[str]) -> InputForm:
    return InputForm([b"image"], options)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("cats", HeadRef("cats")),
        ("cats@3", HeadRef("cats", version=3)),
        ("cats@live", HeadRef("cats")),
        ("cats@canary-1.b_c", HeadRef("cats", alias="canary-1.b_c")),
        ("0.a_b-c", HeadRef("0.a_b-c")),
        ("a" * 63, HeadRef("a" * 63)),
    ],
)
def test_references_are_a_name_a_version_or_an_alias(text, ref):
    assert head_ref(text) == ref


@pytest.mark.parametrize(
    "text",
    ["", "@1", "Cats", "a/b", "../a", "a b", "-a", "ä", "a" * 64, "cats@", "cats@0", "cats@01", "cats@-1", "cats@A",
     "cats@1@2", "cats@1234567890", "cats\n", "cats@live\n", "cats@1٣"],
)  # fmt: skip
def test_anything_else_is_refused_and_named(text):
    with pytest.raises(InvalidInput) as refused:
        head_ref(text)
    assert refused.value.item is not None


@given(st.text())
def test_a_name_is_either_refused_or_safe_in_a_path(text):
    try:
        check_head_name(text)
    except InvalidInput:
        return
    assert text.isascii() and "/" not in text and not text.startswith(".") and 1 <= len(text) <= 63


def test_heads_are_counted():
    with pytest.raises(InvalidInput, match="no head"):
        head_refs([], 2)
    with pytest.raises(InvalidInput, match="3 heads in one request; at most 2"):
        head_refs(["a", "b", "c"], 2)
    assert [r.name for r in head_refs(["b", "a"], 2)] == ["b", "a"]


@pytest.mark.parametrize("text", ["", "x", "1.5", "0", "11", "1e1", "99999999999999999999", "٣"])
def test_a_number_out_of_bounds_or_no_number_is_named(text):
    with pytest.raises(InvalidInput, match="'top_k' must be a whole number from 1 to 10") as refused:
        form(top_k=[text]).integer("top_k", 5, 1, 10)
    assert refused.value.item == "top_k"


@pytest.mark.parametrize("text", ["", "x", "0", "1", "0.0", "1.0", "-0.5", "90", "nan", "9e0", "1_0e-2", "0,9", "."])
def test_a_share_that_is_none_is_named(text):
    with pytest.raises(InvalidInput, match="'coverage' must be a number above 0 and below 1") as refused:
        form(coverage=[text]).share("coverage")
    assert refused.value.item == "coverage"


def test_a_share_is_a_number_or_nothing():
    assert form(coverage=["0.9"]).share("coverage") == form(coverage=[".90"]).share("coverage") == 0.9
    assert form().share("coverage") is None


def test_options_have_defaults_and_come_once():
    assert form().integer("top_k", 5, 1, 10) == 5 and form(top_k=["7"]).integer("top_k", 5, 1, 10) == 7
    assert form().on_error() == "fail" and form(on_error=["skip"]).on_error() == "skip"
    with pytest.raises(InvalidInput, match="sent 2 times"):
        form(on_error=["skip", "fail"]).on_error()
    with pytest.raises(InvalidInput, match="must be fail or skip"):
        form(on_error=["ignore"]).on_error()


@pytest.mark.parametrize(("text", "seconds"), [("2", 2), (".5", 0.5), ("1000", 60), ("5e-2", 0.05), ("1e999", 60)])
def test_a_timeout_is_seconds_and_the_servers_own_is_the_most(text, seconds):
    assert form(timeout=[text]).seconds("timeout", 60) == seconds
    assert form().seconds("timeout", 60) == 60


@pytest.mark.parametrize("text", ["", "0", "0.0", "-1", "1e", "0.049", "5e-324", "inf", "nan", "1,5", "5 s", "٣"])
def test_a_timeout_that_means_nothing_is_refused(text):
    with pytest.raises(InvalidInput, match="timeout"):
        form(timeout=[text]).seconds("timeout", 60)


LONG = "0" * 12


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1.5", "1_0", " 1", "٣", "2147483648", LONG + "9" * 20, LONG + "9" * 5000, "1\n"]
)
def test_a_seed_is_read_to_its_end(text):
    with pytest.raises(InvalidInput, match="'seed' must be a whole number") as refused:
        options.seed(text)
    assert refused.value.item == "seed" and len(refused.value.message) < 200
    assert options.seed("2147483647") == 2**31 - 1 and options.seed(LONG) == 0


@pytest.mark.parametrize("text", ["", "0", "-1", "1_0", "nan", "inf", "1e999", f"5.{'0' * 30}e9", "1" * 5000, "3600.1"])
def test_a_budget_is_read_to_its_end(text):
    with pytest.raises(InvalidInput, match="'budget' must be auto, or seconds") as refused:
        options.budget(text)
    assert refused.value.item == "budget" and len(refused.value.message) < 200
    assert options.budget("auto") is None and options.budget(f"5.{'0' * 40}") == 5.0
