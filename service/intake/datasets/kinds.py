"""Which modality the files of an archive or a folder are of: by their suffixes, else by their first bytes.

Text beside other inputs is about them (captions, licences, tables): it is the input only where nothing else is there,
and lies in folders.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

from adapters import modalities
from adapters.errors import InvalidInput, WrongModality
from adapters.types import ORIGINAL
from service.intake.datasets import names, other_tables, passed_over

SNIFFED = 1 << 20  # bytes of a file that are looked at
Read = Callable[[str, int], bytes]  # (name, at most so many bytes)


def suffix(name: str) -> str:
    """Of a file, lower case with its dot."""
    return PurePosixPath(name).suffix.lower()


def candidates(inside: Sequence[str], prefix: str) -> tuple[list[str], dict[str, str]]:
    """Of files below `prefix`: which may be examples, and the others with the reason."""
    junk = {name: reason for name in inside if (reason := passed_over.reason(name.removeprefix(prefix)))}
    if len(junk) < len(inside) or not (texts := _texts(inside, prefix)):
        return [name for name in inside if name not in junk], junk
    return texts, {name: _beside(reason) for name, reason in junk.items() if name not in set(texts)}


def _texts(inside: Sequence[str], prefix: str) -> list[str]:
    """Texts in folders, but for tables of labels and what is about the whole."""
    suffixes = frozenset().union(*(m.SUFFIXES for m in map(modalities.get, modalities.names())))
    taken = suffixes & passed_over.TEXT_SUFFIXES
    return [name for name in inside if suffix(name) in taken and _may_be_example(name.removeprefix(prefix))]


def _may_be_example(name: str) -> bool:
    about = passed_over.of_a_system(name) or passed_over.is_about(name) or other_tables.is_manifest(name)
    return "/" in name and not about


def _beside(reason: str) -> str:
    return passed_over.BESIDE if reason == passed_over.TEXT else reason


def of(files: Sequence[str], read: Read, expected: str | None, error: type[InvalidInput]) -> str:
    """The modality of files; `expected` is that of the head. Raises `error` for a mix, WrongModality for another."""
    found = _by_suffix(files)
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise error(
            f"{names.brief(first)} is {a(one)} and {names.brief(second)} {a(other)}; a head reads one kind: send one",
            item=second,
        )
    told = next(iter(found), None) or _by_bytes(files, read)
    if expected is not None and told not in (None, expected):
        name = found.get(told, files[0]) if told else files[0]
        raise WrongModality(f"{names.brief(name)} is {a(str(told))}, and the head reads {a(expected)}", item=name)
    return told or expected or ORIGINAL


def _by_suffix(files: Sequence[str]) -> Mapping[str, str]:
    """Modality → its first file."""
    by_suffix = {s: name for name in modalities.names() for s in modalities.get(name).SUFFIXES}
    found: dict[str, str] = {}
    for name in files:
        if modality := by_suffix.get(suffix(name)):
            found.setdefault(modality, name)
    return found


def _by_bytes(files: Sequence[str], read: Read) -> str | None:
    """By the first file whose bytes look like any."""
    for name in files[:1]:
        if (found := sniffed(read(name, SNIFFED))) is not None:
            return found
    return None


def sniffed(data: bytes | memoryview) -> str | None:
    """The modality that bytes look like, the original first; None for none."""
    order = sorted(modalities.names(), key=lambda name: name != ORIGINAL)
    return next((name for name in order if modalities.get(name).sniff(data)), None)


def of_file(name: str, data: bytes | memoryview) -> str | None:
    """The modality of one file: by its name, else by its bytes; None where neither says."""
    return next(iter(_by_suffix([name])), None) or sniffed(data[:SNIFFED])


def a(modality: str) -> str:
    """One input of it, for a message: "an image"."""
    return article(modalities.get(modality).NOUN)


def article(noun: str) -> str:
    """A noun with "a" or "an"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
