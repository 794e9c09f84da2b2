"""Classes whose names a person would take for one: other case or width, letters that look alike, marks nobody sees, and
numbers that are equal (`1` and `1.0`, as pandas writes a column with a gap).
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence

from adapters.labels import visible

# Greek, Cyrillic and Armenian letters, each before the Latin one that it is drawn as: the plain cases of Unicode's
# confusables (UTS 39). Then strokes and rings, which many typefaces do not tell apart.
_PAIRS = (
    "αa γy ηn ιi κk νv οo ρp τt υu χx ωw ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX"
    " аa сc ԁd еe һh іi јj ӏl мm оo рp ԛq ѕs уy хx ѵv ѡw кk АA ВB СC ЕE НH ІI ЈJ КK МM ОO РP ЅS ТT ХX ҮY ԌG ԚQ ԜW"
    " օo սu հh ցg Il 1l |l 0o Oo ıi"
)
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,15}\.?[0-9]{0,15}|\.[0-9]{1,15})(?:[eE][-+]?[0-9]{1,2})?")
_DRAWN_AS = {ord(pair[0]): pair[-1] for pair in _PAIRS.split()}


def similar_names(classes: Sequence[str]) -> list[list[str]]:
    """Groups of classes that differ only in what is easily overlooked, each sorted by code point."""
    alike: dict[str, set[str]] = {name: {name} for name in classes}
    for key in (_plain, _drawn, _counted):
        for group in _by(classes, key).values():
            merged = set[str]().union(*(alike[name] for name in group))
            alike |= dict.fromkeys(merged, merged)
    groups = {tuple(sorted(group)) for group in alike.values() if len(group) > 1}
    return [list(group) for group in sorted(groups)]


def _by(classes: Sequence[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        found[key(name)].append(name)
    return found


def _plain(name: str) -> str:
    """Without case, width, joiners and variation selectors, separators, and stops at the end."""
    text = unicodedata.normalize("NFKC", visible(name)).casefold()
    text = "".join(c for c in text if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")
    text = text.replace("i\u0307", "i")  # what is left of a Turkish İ
    return " ".join(text.replace("_", " ").replace("-", " ").split()).rstrip(". ")


def _drawn(name: str) -> str:
    """As it looks: letters of other scripts as the Latin ones that they resemble."""
    return _plain(unicodedata.normalize("NFKC", visible(name)).translate(_DRAWN_AS))


def _counted(name: str) -> str:
    """A number as all spellings of it: without zeros that say nothing."""
    text = unicodedata.normalize("NFKC", visible(name))
    return f"{float(text):.15g}" if _NUMBER.fullmatch(text) else name
