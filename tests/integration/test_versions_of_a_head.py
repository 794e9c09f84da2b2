"""From one version to the next, through the whole pipeline: what is held out stays so, groups stay whole, and the gate
asks nobody about what they have learned."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from support.training import COLOURS, Bench, Picture, bench, picture

from adapters.comparison import out_of_fold, versions
from adapters.runtime.heads.head import Head
from adapters.store import heads
from adapters.training.data import dataset
from adapters.training.publish import champion
from adapters.training.publish.drafts import Draft
from adapters.types import Edit, HeadRef, HeadVersion, SplitName

LABELS = tuple(COLOURS)
COUNT, MORE, BURST = 2100, 150, 3  # over the limit for a test set of our own


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("bench")) as made:
        yield made


def some(count: int, start: int = 0, split: SplitName | None = None, copy: int = 0) -> list[Picture]:
    """Pictures of every class in turn."""
    return [picture(n, LABELS[n % 3], split, copy=copy) for n in range(start, start + count)]


def bursts(count: int, start: int = 0, offset: int = 0) -> list[Picture]:
    """Pictures in a caller's groups of three, which look nothing alike; another offset is others of the same groups."""
    numbers = range(start, start + count)
    return [picture(n + offset, LABELS[n // BURST % 3], group=f"burst {n // BURST}") for n in numbers]


def shas(pictures: list[Picture]) -> set[str]:
    return {sent.example.sha256 for sent in pictures}


def mislabeled(pictures: list[Picture]) -> list[Picture]:
    """The same with the name of the next class."""
    names = dict(zip(LABELS, (*LABELS[1:], LABELS[0]), strict=True))
    return [replace(p, example=replace(p.example, label=names[p.example.label])) for p in pictures]


# Held out for good


@pytest.fixture(scope="module")
def grown(shop: Bench) -> tuple[dict, dict]:
    """Where a head's examples were put at first, and after more were appended, half of them to groups it had."""
    shop.teach("grown", bursts(COUNT))
    before = shop.parts("grown")
    shop.teach("grown", bursts(MORE // 2, offset=10**6) + bursts(MORE // 2, start=COUNT), seed=1)
    return before, shop.parts("grown")


def within(parts: dict, *names: SplitName) -> set[str]:
    return {sha for sha, (_, assignment) in parts.items() if assignment.split in names}


@pytest.mark.slow
def test_what_was_held_out_stays_held_out(grown):
    """And what was trained on is not tested on, whatever the seed of the new version."""
    before, after = grown
    assert len(before) == COUNT and len(after) == COUNT + MORE
    assert len(within(before, "test")) > 0.19 * COUNT
    assert within(before, "test") <= within(after, "test")
    assert within(before, "train", "val") <= within(after, "train", "val")
    new = after.keys() - before.keys()
    assert new & within(after, "test") and new & within(after, "train", "val")


def test_a_callers_group_never_straddles(grown):
    """Neither the test set nor what candidates are compared on, in the first version and in the next."""
    for parts in grown:
        sides = defaultdict(set)
        for example, assignment in parts.values():
            sides[example.group].add(assignment.split)
        assert all(len(side) == 1 for side in sides.values())
        assert set.union(*sides.values()) == {"train", "val", "test"}


def test_the_gate_compares_large_versions_on_all_that_is_held_out(shop, grown):
    """None of it has taught the live version; what was appended to it counts as well."""
    _, after = grown
    verdict = heads.resolve(shop.shop.engine, HeadRef("grown", version=2)).manifest["gate"]
    assert verdict["examples"] == len(within(after, "test")) > len(within(grown[0], "test"))


@pytest.mark.parametrize("held", [[], some(6, start=300, split="test")], ids=["folds", "a caller's test set"])
def test_a_callers_group_never_straddles_a_fold(shop, held):
    """Of few examples; one of a group whose other members are to be tested on is not trained on."""
    groups = bursts(60)
    if held:
        held = [replace(p, example=replace(p.example, group=f"burst {i}")) for i, p in enumerate(held)]
    draft = shop.draft(f"few {len(held)}", groups + held)
    members = [example.group for example in draft.examples]
    sides = [{members[i] for i in positions} for positions in draft.folds]
    assert len(sides) == 1 if held else len(sides) >= 2
    for i, positions in enumerate(draft.folds):
        learned = [k for k, a in enumerate(draft.assignments) if a.split in ("train", "val") and k not in positions]
        assert sides[i] and not sides[i] & {members[k] for k in learned}
    tested = {a.sha256 for a in draft.assignments if a.split == "test"}
    assert len(tested) == (6 * (BURST + 1) if held else 0)


def test_copies_never_straddle_though_nobody_says_so(shop):
    """Each picture twice, the second one a pixel apart: they are found by what they look like."""
    draft = shop.draft("twice", some(30) + some(30, copy=1))
    names = [example.file_name.split("-")[0] for example in draft.examples]
    sides = [{names[i] for i in positions} for positions in draft.folds]
    assert sum(map(len, sides)) == 30 and all(len(p) == 2 * len(s) for p, s in zip(draft.folds, sides, strict=True))


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_what_is_sent_again_goes_where_it_was(shop, mode):
    """Without a wish of its own, also where it takes the place of all there was."""
    head = f"again {mode}"
    parts: tuple[SplitName, ...] = ("train", "val", "test")
    sent = [picture(n, LABELS[n % 3], parts[n // 3 % 3]) for n in range(36)]
    shop.teach(head, sent)
    wanted = {p.example.sha256: p.example.split for p in sent}
    again = [replace(p, example=replace(p.example, split=None)) for p in sent[::2]]
    found = dataset.assemble(shop.shop.engine, shop.job(head, [*again, *some(3, start=50)], mode=mode))
    there = shas(sent if mode == "append" else again) | shas(some(3, start=50))
    assert dict(zip(found.sha256s, found.known, strict=True)) == {sha: wanted.get(sha) for sha in there}


def test_a_corrected_label_leaves_an_example_where_it_was_and_a_removal_forgets_where_all_were(shop):
    """What is left after a removal is split as if the others had never been sent."""
    parts: tuple[SplitName, ...] = ("train", "train", "test")
    sent = [picture(n, LABELS[n % 3], parts[n // 3 % 3]) for n in range(36)]
    shop.teach("edited", sent)
    wanted = [p.example.split for p in sorted(sent, key=lambda p: p.example.sha256)]
    changed = [replace(p, example=replace(p.example, label="c")) for p in sent[:3]]
    relabeled = dataset.assemble(shop.shop.engine, shop.job("edited", changed, edit=Edit(relabel=3)))
    assert relabeled.known == wanted
    removed = dataset.assemble(shop.shop.engine, shop.job("edited", sent[:3], edit=Edit(remove=3)))
    assert removed.known == [None] * 33


# The gate


def swapped(shop: Bench, head: str, first: tuple[SplitName, ...], second: tuple[SplitName, ...]) -> HeadVersion:
    """The second version of a head whose pictures come in three lots; its owner moves lots to other parts."""
    for wished in (first, second):
        lots = [some(24, start=100 * i, split=part) for i, part in enumerate(wished)]
        made = shop.teach(head, [sent for lot in lots for sent in lot], mode="replace", deploy="auto")
    assert made.number == 2
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "fair"),
    [
        (("train", "train", "test"), ("test", "train", "train"), 0),
        (("train", "val", "test"), ("train", "test", "val"), 0),
        (("train", "val", "test"), ("test", "test", "train"), 0),
        (("train", "test", "test"), ("train", "train", "test"), 24),
        (("train", "train", "test"), ("train", "test", "test"), 24),
    ],
    ids=["trained on", "chosen by", "both", "still held out", "one lot of two"],
)
def test_a_version_is_not_asked_about_what_it_has_learned(shop, first, second, fair):
    """By the gate, and when two versions are compared on what neither has learned."""
    head = "-".join((*first, *second))
    verdict = swapped(shop, head, first, second).manifest["gate"]
    assert verdict["examples"] == fair and verdict["passed"]
    a, b = (heads.resolve(shop.shop.engine, HeadRef(head, version=n)) for n in (1, 2))
    for one, other in ((a, b), (b, a)):
        compared = versions.compare(one, other, shop.shop.engine, shop.shop.trunks, 5)
        assert compared["examples"] == fair


def gate(shop: Bench, draft: Draft, live: HeadVersion) -> dict:
    """Its verdict."""
    known = shop.shop
    return champion.compare(
        draft, "classification", live, known.artifacts, shop.embedder, known.trunks, known.engine
    )  # fmt: skip


def test_of_cross_validated_versions_the_answers_from_the_folds_count(shop):
    """What a version says now of what it was trained on is no evidence; here fits without it had all of it wrong."""
    sent, artifacts = sorted(some(30), key=lambda p: p.example.sha256), shop.shop.artifacts
    live = shop.teach("remembered", sent)
    draft = shop.draft("remembered", some(15, start=400))
    wrong = np.eye(3, dtype="<f4")[[(LABELS.index(p.example.label) + 1) % 3 for p in sent]]
    told = {"data": live.manifest["data"] | {"answers": artifacts.put(wrong.tobytes())}}
    liar = replace(live, manifest=live.manifest | told)
    verdict = gate(shop, draft, liar)
    assert verdict["examples"] == 45 and verdict["live_accuracy"] <= 15 / 45 and verdict["against"] == 1
    verdict = gate(shop, draft, live)
    assert verdict["examples"] == 45 and verdict["live_accuracy"] > 15 / 45
    compared = versions.compare(liar, live, shop.shop.engine, shop.shop.trunks, 100)
    assert compared["examples"] == 30 and compared["merit_a"] == 0 < compared["merit_b"]


@pytest.mark.parametrize("split", [None, "test"], ids=["folds", "a caller's test set"])
def test_the_same_data_again_is_as_good_as_before_example_by_example(shop, split):
    """Two heads that are one: not a single answer differs."""
    head, sent = f"same {split}", some(36, start=1000, split=split and "train") + some(12, start=1100, split=split)
    for _ in range(2):
        made = shop.teach(head, sent)
    verdict = made.manifest["gate"]
    assert verdict["examples"] == (12 if split else 48) and verdict["candidate_accuracy"] == verdict["live_accuracy"]
    assert verdict["live_better"] == verdict["candidate_better"] == 0


@pytest.mark.parametrize(("deploy", "served"), [("auto", 1), ("manual", 1), ("always", 2)])
def test_a_version_that_was_taught_nonsense_does_not_go_live_by_itself(shop, deploy, served):
    """It loses on test images that the live one knows; its owner may want it all the same."""
    head, held = f"nonsense {deploy}", some(30, start=1200, split="test")
    taught = some(60, start=1300, split="train")
    shop.teach(head, taught + held)
    made = shop.teach(head, mislabeled(taught) + held, deploy=deploy)
    assert made.number == 2 and not made.manifest["gate"]["passed"]
    assert made.status == ("rejected" if deploy == "auto" else "published")
    assert heads.resolve(shop.shop.engine, HeadRef(head)).number == served


def test_what_is_remembered_of_a_version_is_what_its_figures_are_from(shop):
    """Example by example, in whatever order they came."""
    live = shop.teach("figures", some(40, start=900))
    said = out_of_fold.remembered(live, shop.shop.artifacts)
    labels = {p.example.sha256: p.example.label for p in some(40, start=900)}
    right = [LABELS[row["probabilities"].argmax()] == labels[sha] for sha, row in said.items()]
    assert said.keys() == labels.keys()
    assert np.mean(right) == pytest.approx(live.manifest["metrics"]["accuracy"]) and np.mean(right) > 0.5


def test_what_a_version_left_out_of_training_it_may_be_asked_about(shop):
    """A copy of a test image that it was not trained on; of its training images it may not."""
    held, copies = some(12, start=500, split="test"), some(12, start=500, split="train", copy=1)
    live = shop.teach("left out", some(24, start=600, split="train") + held + copies)
    assert shop.part("left out", None) == shas(copies) and live.manifest["data"]["splits"]["left out"] == 12
    moved = [replace(p, example=replace(p.example, split="test")) for p in copies]
    draft = shop.draft("left out", some(24, start=600, split="train") + moved, mode="replace")
    verdict = gate(shop, draft, live)
    assert verdict["examples"] == 12


# What a job says reaches the head


def answers(shop: Bench, version: HeadVersion) -> np.ndarray:
    probes = np.random.default_rng(0).normal(size=(20, version.manifest["inputs"]["embedding"][1])).astype(np.float32)
    graph = shop.shop.artifacts.get(version.digest)
    return Head.from_bytes(graph).answer(np.abs(probes) * 100).arrays["probabilities"]


def test_labels_of_test_images_do_not_change_the_head(shop):
    """Only what is said of it: the two are as good as each other, and told to be unlike."""
    taught, held = some(36, start=700, split="train"), some(12, start=800, split="test")
    lots = (held, mislabeled(held))
    made = [shop.teach(f"tested {n}", taught + asked, method="auto") for n, asked in enumerate(lots)]
    np.testing.assert_array_equal(*(answers(shop, version) for version in made))
    assert made[0].manifest["metrics"]["accuracy"] != made[1].manifest["metrics"]["accuracy"]


def test_the_seed_of_a_request_reaches_the_head(shop):
    """The same seed again is the same network."""
    sent = some(36, start=700, split="train") + some(12, start=800, split="test")
    asked = {"method": "mlp", "hyperparameters": {"hidden": 8, "epochs": 2}}
    one, other, again = (
        answers(shop, shop.teach(f"seeded {i}", sent, seed=seed, **asked)) for i, seed in enumerate((1, 2, 1))
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
