"""The encoder of texts becomes a backbone that is proven, stored, the same each time, and learns in whole jobs."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from support.texts import ASKED, labeled

from adapters import finetune as pipeline
from adapters import predict as serving
from adapters.backbones.cards import Card, embedded_card
from adapters.errors import InvalidInput, InvalidText, ParityError, WrongModality
from adapters.modalities import image
from adapters.modalities import text as modality
from adapters.runtime.backbone import Backbones, BackboneSession
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.queueing.traffic import Traffic
from adapters.store import backbones, database, heads, jobs, schema
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import onnx_encoder
from adapters.training.backbone.build import build
from adapters.types import Backbone, Example, HeadRef, HeadVersion, Job, JobRequest

CARD = embedded_card("minilm")


@dataclass(frozen=True)
class Built:
    """A backbone for texts with a database and a folder."""

    context: pipeline.TrainingContext
    backbone: Backbone

    @property
    def session(self) -> BackboneSession:
        return self.context.backbones.get(self.backbone.digest)

    def embed(self, *texts: str) -> np.ndarray:
        spec = self.backbone.spec
        return np.concatenate([self.session.embed([modality.decode(each.encode(), spec)]) for each in texts])

    def job(self, head: str, texts: list[tuple[str, str]], **request: object) -> Job:
        sent = [self._sent(text, label) for text, label in texts]
        asked = JobRequest(head, backbone=self.backbone.name, **({"method": "prototype"} | request))
        return jobs.create(self.context.engine, asked, sent, fingerprint="")

    def teach(self, head: str, texts: list[tuple[str, str]], **request: object) -> HeadVersion:
        """The version that a job makes."""
        done = self.job(head, texts, **request)
        pipeline.finetune(done.id, self.context)
        number = jobs.get(self.context.engine, done.id).version
        return heads.resolve(self.context.engine, HeadRef(head, version=number))

    def _sent(self, text: str, label: str) -> Example:
        self.context.artifacts.put(text.encode())
        return Example(sha(text), label, text[:20])


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder: Path = tmp_path_factory.mktemp("texts")
    engine = database.connect(f"sqlite:///{folder}/espalier.sqlite")
    database.migrate(engine)
    artifacts = Artifacts(str(folder / "artifacts"))
    backbone = build(CARD, engine, artifacts)
    loaded = Backbones(lambda digest: (backbone, artifacts.get(backbone.artifact)))
    yield Built(pipeline.TrainingContext(engine, artifacts, loaded, lanes=2, most={}), backbone)
    engine.dispose()


@pytest.mark.slow
def test_what_is_stored_says_what_it_is(built):
    """Modality, spec, width and proof; it comes back from the database as it was."""
    assert (built.backbone.modality, built.backbone.dimension, built.backbone.precision) == ("text", 384, "fp32")
    assert built.backbone.spec == modality.Spec(**CARD.spec)
    assert max(built.backbone.details["parity"].values()) < 1e-5
    assert backbones.find(built.context.engine, "minilm") == built.backbone


def test_the_release_before_can_read_the_row(built):
    """It takes these keys and no other, and knows images only: with any other row it would not start."""
    with built.context.engine.connect() as connection:
        facts = connection.execute(sa.select(schema.backbones.c.facts)).scalars().first()
    known = {"name", "digest", "artifact", "preprocessing", "precision", "dimension", "channels", "details"}
    assert facts.keys() == known and image.Preprocessing(**facts["preprocessing"]).size == 1


@pytest.mark.slow
def test_building_again_gives_the_same_digest(built):
    """So that replicas and repairs agree."""
    assert build(CARD, built.context.engine, built.context.artifacts).digest == built.backbone.digest


def test_tokenizer_and_length_are_in_the_digest(built):
    """A head of another reading is another backbone's."""
    spec = CARD.spec
    others = [replace(CARD, name="other", spec=spec | change) for change in ({"max_length": 128},)]
    found = {build(card, built.context.engine, built.context.artifacts).digest for card in others}
    assert built.backbone.digest not in found


def test_vectors_are_those_of_sentence_transformers(built):
    """Of fp32, `This is an example sentence` has 0.0677, 0.0635, 0.0487, 0.0793, 0.0374 first; ours are in 8 bits."""
    (vector,) = built.embed("This is an example sentence")
    np.testing.assert_allclose(vector[:5], [0.0677, 0.0635, 0.0487, 0.0793, 0.0374], atol=0.005)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_meaning_is_near_and_padding_changes_nothing(built):
    """A text beside longer ones, in any bucket, has the vector that it has alone."""
    asked = ["Where is my card?", "My card has not come", "How do I bake bread? " * 40]
    alone = built.embed(*asked)
    assert alone[0] @ alone[1] > 0.6 > 0.3 > alone[0] @ alone[2]
    items = [modality.decode(each.encode(), built.backbone.spec) for each in asked]
    for count in (2, 3):
        for pad in (False, True):
            together = built.session.plain(modality.collate(items[:count], built.backbone.spec, pad=pad))
            np.testing.assert_allclose(together, alone[:count], atol=1e-5)


def test_a_file_that_is_not_the_cards_is_refused(built, tmp_path):
    """By its SHA-256; and one that is not there by name."""
    (tmp_path / "model.onnx").write_bytes(b"another")
    for weights, says in [(str(tmp_path / "model.onnx"), "SHA-256 differs"), ("package:no_such/x.onnx", "no_such")]:
        card: Card = replace(CARD, weights=weights)
        with pytest.raises(InvalidInput, match=says):
            build(card, built.context.engine, built.context.artifacts)


def test_a_graph_that_pools_otherwise_is_never_stored(built, monkeypatch):
    """The proof is against numpy on the encoder's own answers."""
    monkeypatch.setattr(onnx_encoder, "_by_hand", lambda encoder, trial: np.zeros((len(trial), 384), np.float32))
    with pytest.raises(ParityError, match="differs from its encoder"):
        build(replace(CARD, name="wrong"), built.context.engine, built.context.artifacts)
    assert "wrong" not in {each.name for each in backbones.list_all(built.context.engine)}


def test_a_head_learns_texts_and_copies_do_not_straddle(built):
    """A whole job: copies are found, a wrong label among them is a finding, and the answers are right."""
    text = "Please tell me the status of my card order"
    version = built.teach("intents", [*labeled(), (text.upper() + "!!", "money")], method="logistic")
    assert version.status == "published" and version.manifest["backbone"]["modality"] == "text"
    findings = json.loads(built.context.artifacts.get(version.manifest["data"]["report"]))["findings"]
    copies = findings["duplicates"]
    assert (copies["groups"], copies["contradicting"], copies["straddling"]) == (1, 1, 0)
    assert {row["sha256"] for row in copies["list"][0]} == {sha(text), sha(f"{text.upper()}!!")}
    said = asyncio.run(answers(built, "intents", list(ASKED.values())))
    assert [each["label"] for each in said] == list(ASKED)


def test_a_head_of_texts_is_not_asked_about_images(built):
    """It says what it reads; a text that cannot be read is named."""
    built.teach("reads", labeled())
    with pytest.raises(WrongModality, match="reads"):
        asyncio.run(answers(built, "reads", ["Where?"], modality="image"))
    with pytest.raises(InvalidText, match="the text is empty") as error:
        asyncio.run(answers(built, "reads", ["Where?", " "]))
    assert error.value.item == "text 1"
    found = asyncio.run(answers(built, "reads", ["Where?", " "], on_error="skip", modality="text"))
    assert len(found) == 1


async def answers(built: Built, head: str, texts: list[str], **options: Any) -> list[dict[str, Any]]:
    """What a service with nothing loaded yet answers."""
    context = built.context
    live = LiveHeads(context.engine, context.artifacts, max_bytes=2**30)
    predictor = serving.Predictor(live, context.backbones, Traffic(2, 1000, 2**30, 60.0))
    try:
        sent = [text.encode() for text in texts]
        found = await serving.predict(predictor, sent, [HeadRef(head)], timeout=30.0, **options)
        return [each.answer for each in found.predictions]
    finally:
        await asyncio.to_thread(predictor.close)
