"""Label text: one spelling of a class name, whichever task it belongs to."""

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from adapters.errors import InvalidLabel, NotEnoughData
from adapters.nfc import nfc
from adapters.problems import Problems
from adapters.types import Example, SplitName

MAX_LABEL = 200  # characters
NAMED = 5  # how many offenders a message lists
KEYCAP = "\u20e3"
BLANK = "\u2800"  # of Braille: a space, but none by its category
# What programs write for a value that is missing: pandas and NumPy, Python, JavaScript and SQL, spreadsheets. `none`
# and `NA` are not among them: both are classes of real sets.
MISSING = frozenset({"nan", "NaN", "NAN", "NaT", "<NA>", "None", "null", "NULL", "#N/A"})
# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt, 16.0), and the marks of annotations (U+FFF9 to
# U+FFFB): nothing is drawn for them.
_IGNORABLE = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Of these, what changes the characters around it: joiners, variation selectors, the letters of flags' tags.
_JOINER = re.compile("[\u200c\u200d\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0020-\U000e007f\U000e0100-\U000e01ef]")
_LOOSE = "\u200c\u200d"  # a joiner at the end joins nothing


def clean(text: str, item: str) -> str:
    """One spelling of a label: NFC, no spaces around it, no characters that nobody sees.

    "café" composed and decomposed, `cat` and `cat` with a zero-width space are one class each; a space of any kind is
    a plain one. Raises InvalidLabel, naming `item`, for a label that is empty, too long (MAX_LABEL) or has control
    characters.
    """
    if len(text) > 4 * MAX_LABEL:  # before normalising: a megabyte costs nothing
        raise InvalidLabel(f"{item}: the label has {len(text):,} characters; at most {MAX_LABEL}", item=item)
    label = visible(nfc(text))
    if not label:
        raise InvalidLabel(f"{item}: the label is empty; give the name of its class", item=item)
    if len(label) > MAX_LABEL:
        raise InvalidLabel(f"{item}: the label has {len(label):,} characters; at most {MAX_LABEL}", item=item)
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in label):  # line breaks, NUL, half characters
        shown = label[:50].encode("unicode_escape").decode()
        raise InvalidLabel(f"{item}: the label '{shown}' has control characters; remove them", item=item)
    return label


def visible(text: str) -> str:
    """Text without characters that leave no mark, and with plain spaces, none of them at the ends.

    Joiners and variation selectors stay where they can do something: behind a character that is not ASCII (a Persian
    word, an emoji), or before the keycap that an emoji ends with.
    """
    if text.isascii():
        return text.strip()
    kept: list[str] = []
    for position, c in enumerate(text):
        if _IGNORABLE.match(c):
            works = _JOINER.match(c) and (
                bool(kept and kept[-1] > "\x7f") or text[position + 1 : position + 2] == KEYCAP
            )
            if not works:
                continue
        kept.append(" " if c == BLANK or unicodedata.category(c) == "Zs" else c)
    return "".join(kept).strip().rstrip(_LOOSE).strip()


class Twice(ValueError):
    """A name comes twice where each may come once, as a key of a JSON object; `name` is it, for people to read."""

    def __init__(self, name: str) -> None:
        self.name = name[:80].encode("utf-8", "replace").decode()  # which may hold halves of surrogate pairs
        super().__init__(f"{self.name!r} comes twice; keep one")


def distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of which each key is there once: Python's reader silently takes the last. Raises Twice."""
    if len(found := dict(pairs)) == len(pairs):
        return found
    seen = set[str]()
    raise Twice(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]


def is_composite(text: str) -> bool:
    """Whether a label is a list or an object, as JSON has it or as Python writes it (`['cat', 'dog']`)."""
    if text.lstrip()[:1] not in ("[", "{", "(") or len(text) > 64 * MAX_LABEL:
        return False
    try:
        return isinstance(json.loads(text), list | dict)
    except (ValueError, RecursionError):
        return _is_of_python(text.strip())


def _is_of_python(text: str) -> bool:
    """Whether a text is how Python writes a list, a dictionary, a set or a tuple."""
    if len(text) > 4 * MAX_LABEL:  # none is a label, and no shorter one is deep enough to hurt the parser
        return False
    plain = text.replace("\\'", "").replace('\\"', "").replace("\\", "/")  # of escapes the parser warns
    try:
        return isinstance(ast.literal_eval(plain), list | dict | set | tuple)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def refuse_contradictions(examples: Iterable[Example], what: str = "labels") -> list[Example]:
    """The examples without repetitions. Raises InvalidLabel that lists every input which has two different labels."""
    problems, first = Problems(), dict[str, Example]()
    for group in contradictions(examples, first).values():
        problems.add(_two_labels(group, what))
    problems.raise_any()
    return list(first.values())


def contradictions(examples: Iterable[Example], first: dict[str, Example] | None = None) -> dict[str, list[Example]]:
    """SHA-256 → the examples of an input that came with different labels; `first` is filled with one of each."""
    seen = {} if first is None else first
    found: dict[str, list[Example]] = {}
    for example in examples:
        known = seen.setdefault(example.sha256, example)
        if known.label != example.label:
            found.setdefault(example.sha256, [known]).append(example)
    return found


def _two_labels(group: list[Example], what: str) -> InvalidLabel:
    names, labels = some(e.file_name[:80] for e in group), some(repr(e.label[:50]) for e in group)
    hint = "keep one, or leave such examples out with on_error=skip"
    return InvalidLabel(f"the same input has two {what}: {names} ({labels}); {hint}", item=names)


def refuse_held_out_only(
    examples: Sequence[Example], known: Mapping[str, SplitName | None], names: Callable[[str], Sequence[str]]
) -> None:
    """Every class has examples to train on; `known`: splits of earlier versions by SHA-256, `names`: a label's classes.

    Raises NotEnoughData that lists the classes whose examples are all held out for the test.
    """
    wished = {example.split for example in examples}
    test = {"test", "val"} if "val" in wished and "test" not in wished else {"test"}
    trained, held = set[str](), set[str]()
    for example in examples:
        is_held = example.split in test or (example.split is None and known.get(example.sha256) == "test")
        (held if is_held else trained).update(names(example.label))
    problems = Problems()
    for name in sorted(held - trained):
        hint = "add some to train, or leave it out"
        problems.add(NotEnoughData(f"the class {name[:50]!r} has examples in the test split only; {hint}", item=name))
    problems.raise_any()


def some(offenders: Iterable[str]) -> str:
    """At most five of them, then how many more."""
    all_of_them = list(offenders)
    more = f" and {len(all_of_them) - NAMED} more" if len(all_of_them) > NAMED else ""
    return ", ".join(all_of_them[:NAMED]) + more


def words(label: Any) -> str:
    """A label of any task as text: a class, labels joined, a number, numbers by name."""
    if isinstance(label, dict):
        return ", ".join(f"{name} {words(value)}" for name, value in label.items())
    if isinstance(label, list):
        return ", ".join(map(str, label)) or "none"
    return f"{label:.4g}" if isinstance(label, float) else str(label)
