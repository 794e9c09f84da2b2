"""The data report on real inputs through real backbones: wrong labels and copies that were put in are found."""

import shutil
from pathlib import Path

import pytest

from benchmarks import trust
from benchmarks.trust import Embedded

pytestmark = pytest.mark.data
INTENTS = ("activate_my_card", "beneficiary_not_allowed", "country_support", "request_refund", "visa_or_mastercard")
FILES = {"image": trust.weather, "text": lambda: trust.questions(INTENTS, trust.DATA)}
CHANGES = {"image": trust.photo_changed, "text": trust.text_changed}


@pytest.fixture(scope="module", params=FILES)
def known(
    request: pytest.FixtureRequest, data: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Embedded, Embedded]:
    """1,097 distinct photos of weather, or questions of five intents, and the same with changed copies of 100."""
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("trust") / "home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust, "DATA", data)
        files = FILES[request.param]()
    embedding = trust.Embedding(home, request.param)
    more = trust.copies(files, 100, change=CHANGES[request.param])
    return embedding.embedded(files), embedding.embedded(files + more)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.2])
def test_flipped_labels_are_ranked_above_sound_ones(known, share):
    """AUROC of at least 0.9, and no worse than self-confidence, cleanlab's ranking, on the same answers."""
    labels, wrong = trust.flipped(known[0].labels, share, seed=0)
    job = trust.trained(known[0], labels)
    probabilities, given = trust.answers(job)
    truth = wrong[job.result.index]
    found = trust.suspicion(probabilities, given)
    ours = trust.auroc(found.score, truth)
    assert ours >= 0.9
    assert ours >= trust.auroc(1 - probabilities[range(len(given)), given], truth) - 0.001
    assert truth[found.flagged].mean() >= 0.8 and found.flagged[truth].mean() >= 0.6
    assert 0.5 <= found.estimate / truth.sum() <= 1.5


@pytest.mark.slow
def test_sound_labels_are_hardly_suspected(known):
    """Of labels as they came, at most 3 % are flagged; the estimate is of that order, too."""
    suspects = trust.trained(known[0]).report()["findings"]["suspected_labels"]
    assert suspects["judged"] == suspects["examples"] == len(known[0].examples)
    assert suspects["flagged"] <= 0.03 * suspects["judged"] and suspects["estimate"] <= 0.05 * suspects["judged"]


def test_copies_that_were_put_in_are_found_and_none_straddles_the_split(known):
    """Recall of at least 0.95 at no more than 1 % false alarms."""
    found = trust.found_copies(*known)
    assert found["recall"] >= 0.95 and found["false_alarms"] <= 0.01
    copies = trust.trained(known[1]).report()["findings"]["duplicates"]
    assert copies["straddling"] == 0 and copies["groups"] >= 95


@pytest.mark.slow
def test_the_curve_says_what_more_examples_would_bring(known):
    """Accuracy grows from a quarter of the examples to all of them, and the answer follows from the figures."""
    found = trust.trained(known[0]).curve()
    accuracies = [p["score"] for p in found["points"]]
    assert accuracies[-1] >= accuracies[0] and accuracies[-1] >= 0.93
    low, high = found["gain"]["interval"]
    assert found["more_inputs"] == ("yes" if low > 0 else "no" if high < 0.01 else "unclear")
