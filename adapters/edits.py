"""Edits of a head's data: the same words when a request is checked and when its job assembles the data."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from adapters.errors import Conflict, ExampleNotFound, LabelNotFound
from adapters.tasks import Task
from adapters.types import Edit, Example

Names = dict[str, str | None]  # class → what it is called from now on; None: it goes


def apply(task: Task, edit: Edit, held: Sequence[Example], named: Sequence[Example]) -> list[Example]:
    """The examples of a head after an edit; `named` are those it means, with their new labels when it relabels.

    Raises ExampleNotFound, LabelNotFound, Conflict: jobs before this one may have changed what the head holds. To
    remove what is not held any more is no error: versions may still know it.
    """
    labels = {example.sha256: example.label for example in named}
    if edit.remove:
        return [example for example in held if example.sha256 not in labels]
    if edit.relabel:
        _require_held(held, named)
        return [replace(example, label=labels.get(example.sha256, example.label)) for example in held]
    named_now = names(edit, {name for example in held for name in task.names(example.label)})
    moved = ((example, task.renamed(example.label, named_now)) for example in held)
    return [replace(example, label=label) for example, label in moved if label is not None]


def names(edit: Edit, classes: Iterable[str]) -> Names:
    """Every class and its name after an edit. Raises LabelNotFound for one that is not there, Conflict for a clash."""
    found: Names = {label: label for label in sorted(set(classes))}
    changed = _changed(edit)
    for label in changed:
        if label not in found:
            raise LabelNotFound(f"there is no class {label[:80]!r}; there are: {_some(found)}", item=label[:80])
    after = found | changed
    if edit.rename:
        _refuse_clash(after)
    return after


def _changed(edit: Edit) -> Names:
    merged = [(label, into) for into, labels in edit.merge.items() for label in labels]
    twice = [label for label, count in Counter(label for label, _ in merged).items() if count > 1]
    if twice:
        raise Conflict(f"the class {twice[0][:80]!r} cannot become two others; name it once", item=twice[0][:80])
    dropped: Names = dict.fromkeys(edit.drop)
    return dropped | dict(merged) | edit.rename


def _refuse_clash(after: Names) -> None:
    """Renaming changes no class: two of one name would be a merger, which is trained anew."""
    shared = [name for name, count in Counter(after.values()).items() if count > 1 and name is not None]
    if shared:
        new = shared[0][:80]
        raise Conflict(f'two classes would be called {new!r}; to make them one, use "merge"', item=new)


def _require_held(held: Sequence[Example], named: Sequence[Example]) -> None:
    """By position: the message is kept with the job, and must not remember an example that was taken back."""
    there = {example.sha256 for example in held}
    for number, example in enumerate(named, start=1):
        if example.sha256 not in there:
            which = f"example {number} of {len(named)}"
            raise ExampleNotFound(f"{which} was taken back meanwhile; send the others again", item=which)


def _some(classes: Iterable[str], most: int = 20) -> str:
    listed = list(classes)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(label[:50] for label in listed[:most]) + more
