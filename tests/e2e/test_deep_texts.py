"""Deep versions of texts, over HTTP on the real parts: what is trained behind a cut of MiniLM reads any length."""

import uuid
from typing import Any

import pytest
from support.services import Service, eventually
from support.texts import ASKED, labeled

from service.client import ApiError

CUT = "encoder.layer.4"
QUICK = {"unfreeze": CUT, "epochs": 1}
LONG = "please " * 300  # more pieces than are read


def taught(server: Service, head: str, **options: Any) -> dict[str, Any]:
    """The job at its end, which must be a success."""
    job = server.client.finetune(head, texts=labeled(), **options)
    job = server.client.wait(job["id"])
    assert job["status"] == "succeeded", job["error"]
    return job


def said(server: Service, heads: list[str], texts: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.client.predict(heads, texts=texts)["predictions"]
    return found


@pytest.fixture(scope="module")
def head(server: Service) -> str:
    name = f"deep-texts-{uuid.uuid4().hex[:8]}"
    taught(server, name, method="deep", hyperparameters=QUICK | {"learning_rate": 0.0003, "mix": 1})
    return name


def test_it_is_deep_and_answers(server, head):
    (version,) = server.client.head(head)["versions"]
    assert (version["depth"], version["cut"]) == ("deep", CUT)
    manifest = server.client.manifest(head, 1)
    assert manifest["deep"]["cut"]["kind"] == "sequence" and manifest["deep"]["precision"]["precision"] == "fp32"
    assert [answer["label"] for answer in said(server, [head], list(ASKED.values()))] == list(ASKED)


def test_texts_of_any_length_are_answered_together_as_alone(server, head):
    """Which are padded in one request, and not in the other."""
    asked = ["hi", *ASKED.values(), LONG]
    together = said(server, [head], asked)
    for text, answer in zip(asked, together, strict=True):
        (alone,) = said(server, [head], [text])
        assert alone["label"] == answer["label"] and alone["score"] == pytest.approx(answer["score"], abs=1e-4)
        assert alone["novelty"] == pytest.approx(answer["novelty"], abs=1e-3)


def test_a_shallow_head_beside_it_answers_as_alone(server, head):
    """One pass tells the embedding and the tap."""
    plain = f"{head}-plain"
    taught(server, plain, deep="never")
    asked = list(ASKED.values())
    both = said(server, [plain, head], asked)
    alone = {name: said(server, [name], asked) for name in (plain, head)}
    for answer in both:
        mine = alone[answer["head"]][answer["index"]]
        assert answer["label"] == mine["label"] and answer["score"] == pytest.approx(mine["score"], abs=1e-4)


def test_a_shallow_head_has_a_say_in_texts_of_any_length(server):
    """Sequences that are padded, and embeddings that have one length, row by row."""
    name = f"both-texts-{uuid.uuid4().hex[:8]}"
    taught(server, name, method="deep", hyperparameters=QUICK | {"mix": 1, "ensemble": 0.5})
    assert server.client.manifest(name, 1)["deep"]["beside"] == 384
    asked = ["hi", *ASKED.values(), LONG]
    together = said(server, [name], asked)
    for text, answer in zip(asked, together, strict=True):
        (alone,) = said(server, [name], [text])
        assert alone["label"] == answer["label"] and alone["score"] == pytest.approx(answer["score"], abs=1e-4)


def test_hard_texts_are_kept_of_a_shallow_head_beside_it(server, head):
    """What the deep one reads are sequences of several lengths, which no two inputs are compared by."""
    plain = f"{head}-sampled"
    taught(server, plain, deep="never")
    server.client.set_sampling(plain, True)
    asked = ["the", "what is this in your opinion", "a card or a rate or a PIN or a loan, whichever comes first"]

    def kept() -> list[dict[str, Any]]:
        assert len(said(server, [plain, head], asked)) == 2 * len(asked)
        return list(server.client.samples(plain))

    assert eventually(kept, pause=0.5)
    server.client.set_sampling(plain, False)


@pytest.mark.slow  # test_deep_versions.py shows it of photos
def test_more_texts_are_added_and_versions_compared(server, head):
    """The exact retrain is deep again, and the one before is asked the same texts."""
    more = [("my PIN is blocked again", "code"), ("the rate of the euro", "money")]
    job = server.client.finetune(head, texts=more, method="deep", hyperparameters=QUICK)
    assert server.client.wait(job["id"])["status"] in ("succeeded", "rejected")
    assert server.client.compare(head, 1, 2)["examples"]


@pytest.mark.slow  # test_examples_not_kept.py shows it of pictures
def test_examples_that_are_not_kept_are_added_to(server):
    """Fits go on from the tail that is live, which reads sequences as it did."""
    head = f"gone-{uuid.uuid4().hex[:8]}"
    taught(server, head, method="deep", hyperparameters=QUICK, keep_examples="false")
    more = [(f"{text} Thank you, and please answer soon.", label) for text, label in labeled()[::2]]
    job = server.client.finetune(head, texts=more, hyperparameters={"epochs": 1}, method="deep")
    job = server.client.wait(job["id"])
    assert job["status"] in ("succeeded", "rejected"), job["error"]
    assert job["deep"]["stage"] == "deep"


@pytest.mark.parametrize(
    ("hyperparameters", "item"), [({"unfreeze": "all"}, "unfreeze"), ({"unfreeze": CUT, "augment": "flip"}, "augment")]
)
def test_what_cannot_be_is_refused_at_once(server, hyperparameters, item):
    """With what can: tables of words are not trained, and texts are not mirrored."""
    with pytest.raises(ApiError) as refused:
        server.client.finetune("refused", texts=labeled(), method="deep", hyperparameters=hyperparameters)
    assert refused.value.status == 422 and refused.value.problem["item"] == item
