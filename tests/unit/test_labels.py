"""A label is one label however it was typed, and what is only alike is told, not merged."""

import pytest

from adapters.errors import InvalidLabel, NotEnoughData
from adapters.labels import clean, refuse_contradictions, refuse_held_out_only
from adapters.tasks import classification
from adapters.training.data.similar_names import similar_names
from adapters.types import Example, SplitName

INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\ufeff\u00ad\u034f\u061c\u180e\u3164\ufe0f\U000e0041"


@pytest.mark.parametrize("mark", INVISIBLE, ids=lambda mark: f"U+{ord(mark):04X}")
def test_a_mark_that_nobody_sees_makes_no_other_class(mark: str) -> None:
    """invisible-characters-in-labels: before, within and behind."""
    assert {clean(text, "x") for text in (f"{mark}cat", f"c{mark}at", f"cat{mark}", f" {mark} cat {mark} ")} == {"cat"}


@pytest.mark.parametrize("space", "\u00a0\u2009\u202f\u3000\u1680", ids=lambda space: f"U+{ord(space):04X}")
def test_a_space_is_a_space(space: str) -> None:
    assert clean(f"{space}New{space}York{space}", "x") == "New York"


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",
        "क्\u200dष",
        "❤\ufe0f",
        "👩\u200d🔬",
        "1\ufe0f\u20e3",
        "🏴\U000e0067\U000e0062\U000e007f",
        "葛\U000e0100",
    ],
)
def test_marks_that_shape_what_is_seen_stay(text: str) -> None:
    assert clean(f" {text} ", "x") == text


@pytest.mark.parametrize("text", ["cat\u2800", "\u2800cat", "\ufff9cat", "cat\ufffa\ufffb"])
def test_blanks_of_braille_and_marks_of_annotations_vanish(text: str) -> None:
    assert clean(text, "x") == "cat" and clean("\u2803\u2800\u2801", "x") == "\u2803 \u2801"


@pytest.mark.parametrize(
    "text",
    ["['cat', 'dog']", "{'a': 1}", '["cat"]', '{"a": 1}', "('a', 'b')", "{'a', 'b'}", "[]", "[None]", "['it\\'s \\d']"],
)
def test_a_list_or_an_object_is_no_class_however_it_is_written(text: str) -> None:
    """list-labels-become-classes, and how pandas writes a column of lists."""
    with pytest.raises(InvalidLabel, match="not the name of a class"):
        classification.parse_label(f" {text} ", "image 1")


@pytest.mark.parametrize(
    "text", ["[cat]", "(cat)", "{cat}", "[", "['cat'", "cat", "('a')", "[x for x in y]", "[" * 199]
)
def test_brackets_alone_make_no_list(text: str) -> None:
    assert classification.parse_label(text, "image 1") == text


@pytest.mark.parametrize("text", ["", "\u200b", " \ufeff ", "a\u2028b", "a\u2029b", "a\tb", "a\x85b"])
def test_nothing_and_ends_of_lines_are_no_label_and_shown(text: str) -> None:
    with pytest.raises(InvalidLabel) as caught:
        clean(text, "image 1")
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "group",
    [("Cat", "cat"), ("CAT", "cat", "Cat"), ("cat", "ｃａｔ"), ("cat", "с\u0430t"),
     ("New York", "new_york", "new-york"),
     ("0K", "OK"), ("l1", "ll"), ("straße", "strasse"), ("cat", "cat."), ("ΑΒ", "AB"),
     ("1", "1.0", "1.00", "01"), ("İzmir", "izmir"), ("ı", "i"), ("cat", "cat\u2800"), ("cat", "cat\ufff9")],
)  # fmt: skip
def test_classes_with_nearly_one_name_are_a_group(group: tuple[str, ...]) -> None:
    """class-names-differ-by-case, and width, letters of another script, separators."""
    assert similar_names(sorted([*group, "dog", "bird"])) == [sorted(group)]


def test_names_that_differ_are_no_group() -> None:
    assert similar_names(["cat", "bat", "car", "кошка", "café", "cafe", "1", "2", "猫", "犬"]) == []


def test_every_image_with_two_labels_is_listed() -> None:
    examples = [Example(f"{n % 3}", label, f"{n}.jpg") for n, label in enumerate("abcabx")]
    assert len(refuse_contradictions(examples[:5])) == 3
    with pytest.raises(InvalidLabel, match="on_error=skip") as caught:
        refuse_contradictions([*examples, Example("0", "z", "6.jpg")])
    assert [problem.item for problem in caught.value.errors] == ["2.jpg, 5.jpg", "0.jpg, 6.jpg"]


def split_of(*pairs: tuple[str, SplitName | None]) -> list[Example]:
    return [Example(str(n), label, f"{n}.jpg", split) for n, (label, split) in enumerate(pairs)]


def test_a_class_that_is_only_held_out_is_named() -> None:
    """class-only-in-test; `val` is what is held out where there is no `test`."""
    examples = split_of(("cat", "train"), ("cat", "test"), ("bird", "test"), ("fox", "test"), ("dog", "val"))
    with pytest.raises(NotEnoughData, match="'bird' has examples in the test split only") as caught:
        refuse_held_out_only(examples, {}, lambda label: [label])
    assert [problem.item for problem in caught.value.errors] == ["bird", "fox"]
    with pytest.raises(NotEnoughData, match="'dog'"):
        refuse_held_out_only(split_of(("cat", "train"), ("dog", "val")), {}, lambda label: [label])
    refuse_held_out_only(split_of(("cat", None), ("dog", "train")), {"0": "train"}, lambda label: [label])
    with pytest.raises(NotEnoughData, match="'cat'"):
        refuse_held_out_only(split_of(("cat", None), ("dog", "train")), {"0": "test"}, lambda label: [label])
