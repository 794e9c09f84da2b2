"""Hard inputs that are labeled are learned as what /finetune is sent, whatever the head is."""

from collections.abc import Iterator

import numpy as np
import pytest
from support import teachable
from support.teachable import DEEP, QUICK, live, pictures
from support.training import Bench, Picture

from adapters import finetune as pipeline
from adapters.sampling.facts import Candidate
from adapters.store import capabilities, examples
from adapters.store.quotas.limits import Limits
from adapters.store.sampling import merging, switches
from adapters.training.deep import conditions, deep_round, outcome
from adapters.training.stages import deep
from adapters.types import Job
from service.intake.submissions import Submissions
from service.sampling import labeling
from service.settings import Settings


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A head with one deep version that samples are kept of, on a bench where few examples are reason to try deep."""
    monkeypatch.setattr(conditions, "LEAST", 10)
    monkeypatch.setattr(conditions, "LEAST_EACH", 3)
    monkeypatch.setattr(deep, "_hyperparameters", lambda job: QUICK)
    with teachable.bench(tmp_path_factory.mktemp("labels")) as made:
        capabilities.replace_all(made.shop.engine, "method", {"prototype": {}})
        made.teach("shop", pictures(15), **DEEP)
        switches.switch_on(made.shop.engine, "shop", 50, 30.0)
        yield made


def kept(shop: Bench, sent: list[Picture]) -> dict[str, str]:
    """Pictures that are kept as samples, and what each is."""
    vectors = np.eye(12, dtype=np.float32)
    found = [
        Candidate("shop", 1, "k" * 64, p.example.sha256, p.data, vectors[row], {}, ("novel",), 0.9)
        for row, p in enumerate(sent)
    ]
    assert merging.add(shop.shop.engine, shop.shop.artifacts, found, Limits()) == len(sent)
    return {p.example.sha256: p.example.label for p in sent}


def submitted(shop: Bench, labels: dict[str, str], **settings: str) -> Job:
    submissions = Submissions(Settings(**settings), shop.shop.engine, shop.shop.artifacts)
    return labeling.submit(submissions, "shop", labels, "key")


def test_a_head_that_is_deep_stays_so(shop, monkeypatch):
    job = submitted(shop, kept(shop, pictures(3, first=500)))
    assert job.request.deep == "auto"
    declined = outcome.Declined({"passed": False, "reason": "worse", "examples": 9}, [], [], "one cut", 0.1)
    asked: list[object] = []
    monkeypatch.setattr(deep_round, "run", lambda *given, **named: asked.append(given) or declined)
    assert pipeline.finetune(job.id, shop.shop) in ("succeeded", "rejected")
    assert len(asked) == 1, "in this very job, as the live version is deep"


def test_the_operator_may_have_said_never(shop):
    job = submitted(shop, kept(shop, pictures(1, first=500)), deep="never")
    assert job.request.deep == "never"
    assert len(examples.of_head(shop.shop.engine, "shop")) == 45 and "deep" in live(shop, "shop").manifest
