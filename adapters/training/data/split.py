"""Split: which examples a head is trained on, chosen with, and measured on.

Rules, in order: the caller's wish; what an earlier version did (an example once held out stays held out, one trained on
stays trained on, so that two versions can be compared on data neither has seen); then ours, stratified by class.
Near-duplicates and the caller's groups never straddle: they would make memory look like skill.

Why 2,000 examples for a test set: a fifth of fewer is under 400 answers, and an accuracy of 95 % then has an interval
wider than ± 2 points. On 1,097 photos the same head measured 92, 94 and 95 % with three seeds of the split. Five-fold
cross-validation measures on every example, ± 1.3 points there, and lets the final head learn from all of them.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from adapters.errors import NotEnoughData
from adapters.labels import some
from adapters.types import Assignment, Indices, SplitName

ENOUGH = 2000  # examples in all, for a test set of our choosing
ENOUGH_PER_CLASS = 20
PLENTY = 5000  # examples in all: above it five fits are dear, and a rare class (5 or more) does not change that
PLENTY_PER_CLASS = 5
TEST_SHARE = 0.20
VALIDATION_SHARE = 0.20  # of what is not test
ONE_VALIDATION = (
    500  # examples beside the test set; with fewer, one validation split of < 100 is too noisy to choose by
)
FOLDS = 5
UNCOUNTED = 10  # one class in so many does not count for the number of folds

Fold = tuple[Indices, Indices]  # positions to fit on, positions to measure on


@dataclass(frozen=True, slots=True)
class Split:
    """Positions i64 of each part. What is not in `test` or `dropped` trains the final head, validation included."""

    train: Indices
    val: Indices  # empty when `folds` are of cross-validation
    test: Indices  # empty when `evaluation` is cross-validation
    folds: list[Fold]  # how candidates are compared: (train, val) once, or K folds of the rest; never none
    evaluation: Literal["holdout", "cross-validation"]
    explanation: str
    dropped: Indices = field(default_factory=lambda: np.zeros(0, np.int64))  # copies of test examples
    groups: Indices = field(default_factory=lambda: np.zeros(0, np.int64))  # [N], or empty: each example is its own

    @property
    def rest(self) -> Indices:
        """What the final head is trained on: train and validation, i64, ascending."""
        return np.sort(np.concatenate([self.train, self.val]))

    def names(self, count: int) -> list[SplitName | None]:
        """The part of each of `count` examples, None for the dropped: what a version records as its assignments."""
        names: list[SplitName | None] = [None] * count
        parts: list[tuple[SplitName, Indices]] = [("train", self.train), ("val", self.val), ("test", self.test)]
        for name, positions in parts:
            for position in positions.tolist():
                names[position] = name
        return names


def earlier(sha256s: Sequence[str], assignments: Sequence[Assignment]) -> list[SplitName | None]:
    """Where an earlier version put each example, None for new ones; of several records the last one counts."""
    known = {assignment.sha256: assignment.split for assignment in assignments}
    return [known.get(sha256) for sha256 in sha256s]


def split(
    targets: Indices,
    groups: Indices,
    wished: Sequence[SplitName | None],
    known: Sequence[SplitName | None],
    seed: int,
    names: Sequence[str] = (),
    noun: str = "input",
) -> Split:
    """Split N examples: targets, groups i64 [N]; the caller's wishes and earlier parts, one for each example.

    `names` are those of the classes that targets count, and `noun` is what one input is called, for messages.

    The same arguments give the same split. Raises NotEnoughData when the caller's split leaves a class without
    training examples, or leaves nothing to choose a head by.
    """
    return _Splitter(targets, groups, list(wished), list(known), seed, names, noun).split()


class _Splitter:
    """One split in the making; each step fills `part`."""

    def __init__(
        self,
        targets: Indices,
        groups: Indices,
        wished: list[SplitName | None],
        known: list[SplitName | None],
        seed: int,
        names: Sequence[str] = (),
        noun: str = "input",
    ) -> None:
        self.names, self.noun = names, noun
        self.targets, self.groups = targets, groups
        self.random = np.random.default_rng(seed)
        self.notes: list[str] = []
        self.members: dict[int, list[int]] = defaultdict(list)
        for position, group in enumerate(groups.tolist()):
            self.members[group].append(position)
        self.wished = self._test_from_val(wished)
        self.known = known
        self.part: list[SplitName | Literal["dropped"] | None] = [None] * len(targets)

    def split(self) -> Split:
        self._test()
        rest = self._positions(None, "train", "val")
        self._require_all_classes(rest)
        test = self._positions("test")
        folds, val = self._selection(rest)
        train = np.setdiff1d(rest, val)
        return Split(
            train=train,
            val=val,
            test=test,
            folds=folds,
            evaluation="holdout" if len(test) else "cross-validation",
            explanation=self._explain(len(test), folds, val),
            dropped=self._positions("dropped"),
            groups=self.groups,
        )

    # The test set
    def _test_from_val(self, wished: list[SplitName | None]) -> list[SplitName | None]:
        """A caller who sends train and val only means val to be what the head is measured on."""
        if "val" not in wished or "test" in wished:
            return wished
        self.notes.append("your validation examples are the held-out test set")
        return ["test" if wish == "val" else wish for wish in wished]

    def _test(self) -> None:
        self.part = [wish or ("test" if k == "test" else None) for wish, k in zip(self.wished, self.known, strict=True)]
        self._keep_together()
        if "test" in self.wished or not self._enough(range(len(self.targets))):
            return
        trained = {p for p, k in enumerate(self.known) if k in ("train", "val")}
        before = self.part.count("test")
        self._draw_test(closed=trained)
        if trained and not before and self.part.count("test") < TEST_SHARE * ENOUGH:
            # Heads are trained anew each time, so this is no leak; only the comparison with the live version suffers.
            self.notes.append("earlier versions held too little out, so examples they trained on are in the test set")
            self._draw_test(closed=set())
        if before:
            self.notes.append(f"{before} test examples are those of earlier versions")

    def _enough(self, positions: Sequence[int] | range) -> bool:
        counts = np.bincount(self.targets[list(positions)])
        smallest = int(counts[counts > 0].min())
        enough = len(positions) >= ENOUGH and smallest >= ENOUGH_PER_CLASS
        return enough or (len(positions) >= PLENTY and smallest >= PLENTY_PER_CLASS)

    def _keep_together(self) -> None:
        """A group with a test example is test: free members join it, and training copies are dropped."""
        dropped = 0
        for members in self.members.values():
            if len(members) > 1 and any(self.part[p] == "test" for p in members):
                for p in members:
                    if self.part[p] in ("train", "val") or (self.part[p] is None and self.known[p] in ("train", "val")):
                        self.part[p] = "dropped"
                        dropped += 1
                    elif self.part[p] is None:
                        self.part[p] = "test"
        if dropped:
            self.notes.append(f"{dropped} training copies of test {self.noun}s are left out of training")

    def _draw_test(self, closed: set[int]) -> None:
        """Move 20 % of each class's open examples to test, whole groups at a time."""
        open_groups = [
            members
            for members in self.members.values()
            if not any(p in closed or self.part[p] is not None for p in members)
        ]
        for p in self._draw(open_groups, TEST_SHARE):
            self.part[p] = "test"

    def _draw(self, groups: list[list[int]], share: float) -> list[int]:
        """Positions of whole groups, in random order, as long as each brings the classes nearer to their share."""
        totals = Counter(int(self.targets[p]) for members in groups for p in members)
        wanted = {label: round(share * count) for label, count in totals.items()}
        taken: list[int] = []
        for number in self.random.permutation(len(groups)).tolist():
            counts = Counter(int(self.targets[p]) for p in groups[number])
            if sum(abs(wanted[k] - c) - abs(wanted[k]) for k, c in counts.items()) < 0:
                taken += groups[number]
                for label, count in counts.items():
                    wanted[label] -= count
        return taken

    # Choosing among candidates
    def _selection(self, rest: Indices) -> tuple[list[Fold], Indices]:
        """The caller's validation set, one of ours, or K folds of the rest."""
        wished = self._positions("val")
        if len(wished):
            val = self._without_copies(wished)
        elif len(self._positions("test")) and len(rest) >= ONE_VALIDATION:
            val = self._ours(rest)
        else:
            return self._folds(rest), np.zeros(0, np.int64)
        val = self._leave_each_class(rest, val)
        if not len(val):
            return self._folds(rest), val
        return [(np.setdiff1d(rest, val), val)], val

    def _without_copies(self, val: Indices) -> Indices:
        """A validation example whose group is trained on as well proves nothing: train on it."""
        trained = {int(self.groups[p]) for p in range(len(self.part)) if self.part[p] == "train"}
        kept = [p for p in val.tolist() if int(self.groups[p]) not in trained]
        inside = set(self.groups[kept].tolist())
        free = [p for p in range(len(self.part)) if self.part[p] is None and int(self.groups[p]) in inside]
        return np.array(sorted(kept + free), dtype=np.int64)

    def _ours(self, rest: Indices) -> Indices:
        inside = set(rest.tolist())
        groups = [kept for members in self.members.values() if (kept := [p for p in members if p in inside])]
        return np.array(sorted(self._draw(groups, VALIDATION_SHARE)), dtype=np.int64)

    def _folds(self, rest: Indices) -> list[Fold]:
        """Stratified K folds of whole groups."""
        count = self._count(rest)
        fold_of = self._assign(rest, count)
        folds = []
        for number in range(count):
            val = self._leave_each_class(rest, rest[fold_of == number])
            if len(val):
                folds.append((np.setdiff1d(rest, val), val))
        if not folds:
            raise NotEnoughData("every class is one example and copies of it; add different examples of each class")
        return folds

    def _count(self, rest: Indices) -> int:
        """K = min(5, groups of the smallest class), at least 2: more folds choose no better (ADR 9).

        A tenth of the classes do not count: one copy in one of 77 classes of five left all of them few folds, on which
        other candidates win. Such a class is missing where some folds are measured, and never where one is fitted.
        """
        pairs = {(int(self.targets[p]), int(self.groups[p])) for p in rest.tolist()}
        sizes = sorted(Counter(label for label, _ in pairs).values())
        return max(2, min(FOLDS, sizes[len(sizes) // UNCOUNTED]))

    def _assign(self, rest: Indices, count: int) -> Indices:
        """The fold of each position of `rest`: large groups first, each to where its classes are rarest."""
        members: dict[int, list[int]] = defaultdict(list)
        for row, group in enumerate(self.groups[rest].tolist()):
            members[group].append(row)
        all_rows = list(members.values())
        order = [all_rows[i] for i in self.random.permutation(len(all_rows)).tolist()]
        have: dict[int, list[int]] = defaultdict(lambda: [0] * count)
        sizes = [0] * count
        fold_of = np.zeros(len(rest), np.int64)
        for rows in sorted(order, key=len, reverse=True):
            labels = self.targets[rest[rows]].tolist()
            best = min(range(count), key=lambda f: (sum(have[k][f] for k in set(labels)), sizes[f]))
            fold_of[rows] = best
            sizes[best] += len(rows)
            for label in labels:
                have[label][best] += 1
        return fold_of

    # What must always hold
    def _leave_each_class(self, rest: Indices, val: Indices) -> Indices:
        """Give back validation examples of classes that would have nothing left to train on."""
        left = set(self.targets[np.setdiff1d(rest, val)].tolist())
        bare = {label for label in set(self.targets[rest].tolist()) if label not in left}
        back = {int(self.groups[p]) for p in val.tolist() if int(self.targets[p]) in bare}
        return val[[int(self.groups[p]) not in back for p in val.tolist()]] if back else val

    def _require_all_classes(self, rest: Indices) -> None:
        missing = sorted(set(self.targets.tolist()) - set(self.targets[rest].tolist()))
        if missing:
            named = some(repr(self.names[k][:50]) for k in missing) if self.names else f"{len(missing)} classes"
            hint = "their examples, or copies of them, are in the test split; add others to train"
            first = self.names[missing[0]] if self.names else None
            raise NotEnoughData(f"no training examples are left for {named}: {hint}", item=first)

    def _positions(self, *parts: str | None) -> Indices:
        return np.array([p for p, part in enumerate(self.part) if part in parts], dtype=np.int64)

    def _explain(self, test: int, folds: list[Fold], val: Indices) -> str:
        if test:
            text = f"measured on {test} examples that were never trained on"
        else:
            text = f"too few examples for a test set: measured by {len(folds)}-fold cross-validation on all of them"
        if test:
            chosen = f"{len(val)} more" if len(val) else f"{len(folds)}-fold cross-validation on the rest"
            text += f"; the method was chosen on {chosen}"
        return "; ".join([text, *self.notes]) + "."
