"""What novelty of a deep version is told by: distances through tails that had not seen the example."""

import json

import numpy as np
import pytest
from safetensors.torch import load, save
from support import deep_fits as deep

from adapters import recipe
from adapters.training.deep.records import END, Record, Records
from adapters.training.deep.trial import Journal, Trial
from adapters.training.race.cross_validation import Data
from adapters.types import HeadProgram, Indices

TRAIN, UNSEEN = np.arange(16), np.arange(16, deep.COUNT)
SETTINGS = {"epochs": 6, "batch_size": 8, "unfreeze": "a.1", "learning_rate": 0.01}


class Given:
    """What a trial reads of a race's data, and where every fit begins."""

    classes, objective = deep.CLASSES, "softmax"

    def __init__(self) -> None:
        import torch

        self.targets = torch.from_numpy(deep.labels())

    def on(self, index: Indices) -> HeadProgram:
        return deep.start()


def tried(tmp_path, groups: Indices | None, **settings: object) -> tuple[Trial, Record]:
    given = Given()
    chosen = recipe.check(SETTINGS | settings)
    data: Data = given  # type: ignore[assignment]
    trial = Trial(deep.cut(), deep.tail(), deep.made_taps(tmp_path), data, given, chosen, 0, groups)
    (record,) = trial.tried([(TRAIN, UNSEEN)], 1, Journal(Records(), lambda row: None, lambda state: None))
    return trial, record


def by_hand(pooled: np.ndarray) -> np.ndarray:
    """Squared distances of the unseen from the nearest mean of a class of the others, f64 [M]."""
    x = np.sqrt(pooled.astype(np.float64))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    means = np.stack([x[TRAIN][deep.labels()[TRAIN] == k].mean(axis=0) for k in range(deep.CLASSES)])
    return np.square(x[UNSEEN, None] - means).sum(axis=2).min(axis=1)


def test_distances_are_through_the_tail_of_the_fit_that_had_not_seen_them(tmp_path):
    """For each mix but none of it, where a tail knows nobody by heart yet."""
    trial, record = tried(tmp_path, deep.labels())
    assert record.mixes == [0.25, 0.5, 0.75, 1.0] and record.apart((0, 0.0)) is None
    fitting = trial._fitting(TRAIN, UNSEEN, SETTINGS["epochs"])
    weights = fitting.run(lambda state: None).weights
    for mix in (0.25, 1.0):
        fitting.network.become(fitting.network.mixed(weights, mix))
        pooled = fitting.network.pooled(trial.taps, np.arange(deep.COUNT), lambda: None)
        found = record.apart((END, mix))
        assert found is not None and 0 < found.scatter < 1
        np.testing.assert_allclose(found.distances, by_hand(pooled), atol=1e-5)


def test_an_epoch_is_told_by_the_end_of_its_fit(tmp_path):
    """With patience epochs are options as well."""
    _, record = tried(tmp_path, deep.labels(), patience=3, mix=0.5)
    one, end = record.apart((1, 0.5)), record.apart((END, 0.5))
    assert one is not None and end is not None
    np.testing.assert_array_equal(one.distances, end.distances)


def test_a_test_set_leaves_nothing_to_be_told_by_folds(tmp_path):
    """And no pass is made for it."""
    _, record = tried(tmp_path, None)
    assert record.mixes == [] and record.apart((END, 1.0)) is None


def kept(tmp_path) -> bytes:
    _, record = tried(tmp_path, deep.labels())
    return Records({"a.1, fold 1 of 5": record}, None, "same").to_bytes()


def test_a_checkpoint_has_them(tmp_path):
    """Bit for bit."""
    _, wanted = tried(tmp_path, deep.labels())
    found = Records.gone_on(kept(tmp_path), "same").done["a.1, fold 1 of 5"]
    assert found.mixes == wanted.mixes and found.scatters == wanted.scatters and found.options == wanted.options
    np.testing.assert_array_equal(found.distances, wanted.distances)
    np.testing.assert_array_equal(found.said, wanted.said)


@pytest.mark.parametrize("name", ["a.1, fold 1 of 5"])
def test_a_checkpoint_of_an_earlier_release_has_none_and_is_gone_on_from(tmp_path, name):
    """Its fits are not made again."""
    whole = kept(tmp_path)
    facts = json.loads(json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])["__metadata__"]["deep"])
    for new in ("mixes", "scatters"):
        del facts["done"][name][new]
    tensors = load(whole)
    del tensors[f"distances.{name}"]
    found = Records.gone_on(save(tensors, {"deep": json.dumps(facts)}), "same").done[name]
    assert found.apart((END, 1.0)) is None and len(found.options) == 5
