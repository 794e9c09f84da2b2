"""A journey in texts, over HTTP on the real parts: teach from a table, ask, correct a label, unlearn, roll back.

What texts share with photos (copies, suspected labels, novelty, coverage, report, suggestions, unlearning, comparison,
a rebuild) is shown of both by the tests that take the fixture `inputs`.
"""

import hashlib
import json
import uuid
from pathlib import Path

import httpx
import pytest
from support.services import Service, espalier
from support.texts import ASKED, labeled, table

from service.client import ApiError


def ended(server: Service, job: dict) -> dict:
    """The job at its end, which must be a success."""
    job = server.client.wait(job["id"])
    assert job["status"] == "succeeded", job["error"]
    return job


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def answers(server: Service, head: str, texts: list[str] | None = None) -> list[dict]:
    """What a head says of each text."""
    found: list[dict] = server.client.predict([head], texts=texts or list(ASKED.values()))["predictions"]
    return found


def labels(server: Service, head: str) -> list[str]:
    return [answer["label"] for answer in answers(server, head)]


@pytest.fixture(scope="module")
def intents(server: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A head taught by the command line from a CSV file."""
    head = f"intents-{uuid.uuid4().hex[:8]}"
    path = Path(tmp_path_factory.mktemp("texts") / "messages.csv")
    path.write_text(table())
    done = espalier("finetune", head, str(path), "--server", server.url, "--json", home=server.home)
    assert json.loads(done.stdout)["status"] == "succeeded"
    return head


def test_the_backbone_for_texts_is_there(server):
    """`espalier init` built it beside the one for images, and says what it is."""
    found = {each["name"]: each for each in server.client.backbones()}
    assert found["minilm"]["modality"] == "text" and found["minilm"]["dimension"] == 384


def test_a_head_taught_from_a_table_answers_texts(server, intents):
    """By form, raw body and JSON, the same each time."""
    assert labels(server, intents) == list(ASKED)
    said = ASKED["card"]
    url = f"{server.url}/predict"
    by_form = httpx.post(url, data={"head": intents}, files={"texts": (None, said)}).json()
    by_body = httpx.post(url, params={"head": intents}, content=said.encode(), headers={"Content-Type": "text/plain"})
    by_json = httpx.post(url, json={"head": intents, "inputs": [said]}).json()
    one, *others = (found["predictions"][0] for found in (by_form, by_body.json(), by_json))
    assert one["label"] == "card" and all(other == one for other in others)
    loud = answers(server, intents, [said.upper(), f"\ufeff{said}"])
    assert [each["label"] for each in loud] == ["card", "card"]


def test_what_is_no_text_for_it_is_refused(server, intents):
    """Named, with the reason; the good ones are answered where the caller asked for that."""
    for text, code in [("", "invalid_text"), ("x" * 200_000, "text_too_long"), ("👍", "invalid_text")]:
        with pytest.raises(ApiError) as error:
            server.client.predict([intents], texts=[text])
        assert (error.value.status, error.value.code) == (422, code)
    kept = server.client.predict([intents], texts=[ASKED["money"], "\u200b"], on_error="skip")
    assert [each["code"] for each in kept["errors"]] == ["invalid_text"]
    assert kept["predictions"][0]["label"] == "money"


def test_embeddings_are_those_of_sentence_transformers(server):
    """Length 1, and near the vector that fp32 gives: its first numbers are 0.0677, 0.0635, 0.0487, 0.0793."""
    found = server.client.embed(texts=["This is an example sentence"])
    (vector,) = found["embeddings"]
    assert (
        found["backbone"] == "minilm"
        and len(vector) == 384
        and sum(x * x for x in vector) == pytest.approx(1, abs=1e-5)
    )
    assert vector[:4] == pytest.approx([0.0677, 0.0635, 0.0487, 0.0793], abs=0.005)


def test_teach_correct_unlearn_and_roll_back(server):
    """Each is a version of its own, and the graph forgets what was unlearned."""
    head = f"journey-{uuid.uuid4().hex[:8]}"
    wrong = "Where is my card?"
    sent = [(text, "money" if text == wrong else label) for text, label in labeled()]
    first = ended(server, server.client.finetune(head, texts=sent, method="prototype"))
    assert labels(server, head) == list(ASKED)
    corrected = ended(server, server.client.relabel(head, {sha(wrong): "card"}))
    listed = {e["sha256"]: e["label"] for e in server.client.examples(head)}
    assert (first["version"], corrected["version"], listed[sha(wrong)]) == (1, 2, "card")
    assert server.client.content(head, sha(wrong)) == wrong.encode()
    unlearned = ended(server, server.client.forget(head, [sha(wrong)]))
    assert unlearned["version"] == 3
    assert sha(wrong) not in {e["sha256"] for e in server.client.examples(head)}
    more = ended(server, server.client.finetune(head, texts=[("My card is late", "card")], method="prototype"))
    assert more["version"] == 4
    server.client.set_alias(head, "live", 3, everywhere=True)
    assert {answer["version"] for answer in answers(server, head)} == {3}
    assert labels(server, head) == list(ASKED)


def test_several_labels_and_numbers_are_learned_of_texts(server):
    """The tasks stand as they are."""
    several = f"several-{uuid.uuid4().hex[:8]}"
    urgent = ("locked", "Wrong PIN", "nothing came", "cannot", "never")
    sent = [(t, [label] + ["urgent"] * any(word in t for word in urgent)) for t, label in labeled()]
    ended(server, server.client.finetune(several, texts=sent, task="multilabel", method="logistic"))
    (answer,) = answers(server, several, ["I am locked out, my PIN is wrong"])
    assert "code" in answer["label"]
    numbers = f"numbers-{uuid.uuid4().hex[:8]}"
    scale = {"card": 1.0, "money": 5.0, "code": 9.0}
    ended(server, server.client.finetune(numbers, texts=[(t, scale[k]) for t, k in labeled()], task="regression"))
    low, middle, high = (each["label"] for each in answers(server, numbers))
    assert low < middle < high
