"""A submission is accepted whole, or refused before anything is stored."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from support import forms
from support.pictures import shape

from adapters import recipe, training_memory
from adapters.errors import (
    BackboneNotFound,
    EspalierError,
    IdempotencyConflict,
    InvalidHyperparameter,
    InvalidImage,
    InvalidInput,
    NotEnoughData,
    NotReady,
    Overloaded,
    StorageFull,
    TooMuchData,
)
from adapters.methods import logistic
from adapters.modalities import text
from adapters.modalities.image import Preprocessing
from adapters.store import backbones, capabilities, database, examples, jobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.objects.folder import Folder
from adapters.types import Backbone, JobRequest
from service.intake import options
from service.intake.options import hyperparameters
from service.intake.submissions import Submissions
from service.processes import worker_memory
from service.settings import Settings

IMAGES = [(f"{k}-{n}.png", shape(k, n)) for n in range(2) for k in ("circle", "square")]
LABELS = ["circle", "square"] * 2


@pytest.fixture
def submissions(tmp_path: Path):
    """A submissions over an empty installation with one backbone and one method."""
    settings = Settings(home=tmp_path, max_jobs=2, max_examples=10)
    engine = database.connect(settings.database)
    database.migrate(engine)
    shape = Preprocessing(224, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
    backbones.save(engine, Backbone("tf_efficientnet_lite0", "d", "a", shape, "fp32", 1280, 1280))
    capabilities.replace_all(engine, "method", {"logistic": logistic.Hyperparameters.model_json_schema()})
    yield Submissions(settings, engine, Artifacts(settings.artifacts))
    engine.dispose()


def submit(submissions: Submissions, key: str | None = None, images=IMAGES, labels=LABELS, **fields: str):
    """Send a form as httpx builds it."""
    data = {"head": "shapes", "labels": list(labels)} | fields
    with forms.received(data, [("images", image) for image in images]) as upload:
        return submissions.submit(upload, key)


def is_empty(submissions: Submissions) -> bool:
    blobs = list((submissions.settings.home / "artifacts").rglob("*"))
    return jobs.count_unfinished(submissions.engine) == 0 and not [b for b in blobs if b.is_file()]


def test_an_accepted_job_has_its_examples_and_their_bytes_in_the_store(submissions):
    job = submit(
        submissions,
        method="logistic",
        hyperparameters='{"regularization": 0.5}',
        seed="3",
        deploy="manual",
        mode="replace",
    )
    sent = examples.of_job(submissions.engine, job.id)
    assert [(e.file_name, e.label) for e in sent] == list(zip([n for n, _ in IMAGES], LABELS, strict=True))
    assert [submissions.artifacts.get(e.sha256) for e in sent] == [data for _, data in IMAGES]
    request = jobs.get(submissions.engine, job.id).request
    assert (request.head, request.method, request.seed) == ("shapes", "logistic", 3)
    assert (request.mode, request.deploy, request.backbone) == ("replace", "manual", "tf_efficientnet_lite0")
    assert request.hyperparameters == {"regularization": 0.5}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"head": "a/b"}, InvalidInput),
        ({"task": "sorting"}, InvalidInput),
        ({"method": "magic"}, InvalidInput),
        ({"method": "logistic", "hyperparameters": '{"regularization": "much"}'}, InvalidHyperparameter),
        ({"method": "logistic", "hyperparameters": "[1]"}, InvalidHyperparameter),
        ({"backbone": "vgg"}, BackboneNotFound),
        ({"surprise": "1"}, InvalidInput),
        ({"labels": ["circle"] * 4}, NotEnoughData),
        ({"images": [*IMAGES[:3], ("bad.png", b"bad")]}, InvalidImage),
        ({"images": IMAGES * 3, "labels": LABELS * 3}, InvalidInput),
        ({"key": ""}, InvalidInput),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value.__name__,
)
def test_what_is_refused_leaves_nothing(submissions, change, error):
    with pytest.raises(error):
        submit(submissions, **change)
    assert is_empty(submissions)


def test_an_image_that_comes_twice_with_one_label_counts_once(submissions):
    job = submit(submissions, images=[*IMAGES, IMAGES[0]], labels=[*LABELS, LABELS[0]])
    assert len(examples.of_job(submissions.engine, job.id)) == 4
    with pytest.raises(NotEnoughData, match="different examples"):
        submit(submissions, images=[IMAGES[0], IMAGES[0], IMAGES[1], IMAGES[1]], labels=["a", "a", "b", "b"])


def test_a_key_gives_the_job_there_is_also_when_there_is_no_room(submissions):
    first = submit(submissions, key="k")
    submit(submissions, head="other")
    assert submit(submissions, key="k").id == first.id
    with pytest.raises(IdempotencyConflict):
        submit(submissions, key="k", seed="1")
    with pytest.raises(Overloaded) as full:
        submit(submissions, head="third")
    assert full.value.retry_after > 0


def test_a_store_that_fills_up_keeps_nothing_of_what_was_sent(submissions, monkeypatch):
    """But for images that another job holds."""
    other = submit(submissions, images=[*IMAGES[:2], ("a", shape("circle", 8)), ("b", shape("square", 8))])
    held = {e.sha256 for e in examples.of_job(submissions.engine, other.id)}
    whole, room = Folder.write, iter((True, False))

    def write(folder: Folder, path: str, data: bytes) -> None:
        if not next(room):
            raise StorageFull("there is no space left")
        whole(folder, path, data)

    monkeypatch.setattr(Folder, "write", write)
    with pytest.raises(StorageFull):
        submit(submissions)
    blobs = {b.name for b in (submissions.settings.home / "artifacts").rglob("*") if b.is_file()}
    assert blobs == held and next(room, "both used") == "both used"


def test_before_a_worker_has_started_once_the_answer_is_not_ready(submissions):
    with submissions.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM capabilities")
    with pytest.raises(NotReady, match="espalier worker"):
        submit(submissions)
    assert is_empty(submissions)


@pytest.mark.parametrize("text", ["auto", '"auto"', " auto ", "{}"])
def test_auto_leaves_the_hyperparameters_open(text):
    assert hyperparameters(text) == {}


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        "[" * 100_000,
        "{",
        '"x"',
        "1",
        "null",
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 1}}',
    ],
)
def test_hyperparameters_that_are_no_finite_json_object_are_refused(text):
    with pytest.raises(InvalidHyperparameter) as refused:
        hyperparameters(text)
    assert len(json.dumps(refused.value.message)) < 400 and isinstance(refused.value, EspalierError)


def test_what_no_worker_has_the_memory_for_is_refused_with_the_figures(submissions, monkeypatch):
    monkeypatch.setattr(training_memory, "SMALL", 0)
    for name, left in (("one", 1 << 10), ("other", 5_000)):
        worker_memory.tell(submissions.engine, name, left)
    with pytest.raises(TooMuchData, match=r"training on 4 examples takes about .* the worker has 0.0 GB left"):
        submit(submissions)
    assert not jobs.list_page(submissions.engine, limit=9)
    worker_memory.tell(submissions.engine, "other", 1 << 30)  # one that can is enough
    assert submit(submissions).status == "queued"


BAD = [("bad.png", b"bad"), ("cut.png", IMAGES[0][1][:300])]
TWICE = [("again.png", IMAGES[0][1])]  # the same picture under another label


def test_every_image_that_cannot_be_used_is_in_one_answer(submissions):
    with pytest.raises(InvalidInput, match=r"3 of 7 images cannot be used") as caught:
        submit(submissions, images=[*IMAGES, *BAD, *TWICE], labels=[*LABELS, "circle", "circle", "square"])
    said = {problem.item: problem.code for problem in caught.value.errors}
    assert said == {
        "circle-0.png, again.png": "invalid_label",
        "image 4 (bad.png)": "invalid_image",
        "image 5 (cut.png)": "invalid_image",
    }
    assert is_empty(submissions)


def test_on_error_skip_leaves_them_out_and_says_so(submissions):
    more = [(f"{k}-9.png", shape(k, 9)) for k in ("circle", "square")]
    images, labels = [*IMAGES, *BAD, *TWICE, *more], [*LABELS, "circle", "circle", "square", "circle", "square"]
    job = submit(submissions, key="k", images=images, labels=labels, on_error="skip")
    assert [e.file_name for e in examples.of_job(submissions.engine, job.id)] == [
        *(name for name, _ in IMAGES[1:]), "circle-9.png", "square-9.png",
    ]  # fmt: skip
    left_out = job.request.received["left_out"]
    assert left_out["count"] == 3
    assert [row["item"] for row in left_out["list"]] == [
        "circle-0.png, again.png", "image 4 (bad.png)", "image 5 (cut.png)",
    ]  # fmt: skip
    assert job.request.received["classes"] == {"count": 2, "list": {"circle": 2, "square": 3}}
    assert job.request.on_error == "skip"
    assert submit(submissions, key="k", images=images, labels=labels, on_error="skip").id == job.id


def test_on_error_is_part_of_what_a_key_stands_for(submissions):
    submit(submissions, key="k")
    with pytest.raises(IdempotencyConflict):
        submit(submissions, key="k", on_error="skip")


def test_too_few_images_left_are_refused_also_when_bad_ones_may_be_skipped(submissions):
    with pytest.raises(NotEnoughData, match="'square'"):
        submit(submissions, images=[*IMAGES[:3], BAD[0]], on_error="skip")
    assert is_empty(submissions)


def test_every_label_that_cannot_be_used_is_in_one_answer(submissions):
    """list-labels-become-classes: a list is no class, nor is an object."""
    with pytest.raises(InvalidInput, match="is a list, not the name of a class") as caught:
        submit(submissions, labels=['["cat"]', '{"a": 1}', " ", "dog"])
    assert [problem.item for problem in caught.value.errors] == [f"image {n} ({IMAGES[n][0]})" for n in range(3)]


def test_a_label_that_is_kept_otherwise_than_it_was_sent_is_told(submissions):
    """invisible-characters-in-labels"""
    job = submit(submissions, labels=["circle\u200b", "square ", "\u202acircle", "squ\u00adare"])
    assert {e.label for e in examples.of_job(submissions.engine, job.id)} == {"circle", "square"}
    changed = job.request.received["labels_changed"]
    assert changed["count"] == 4 and {"sent": "square ", "kept": "square"} in changed["list"]
    assert {"sent": "\\u202acircle", "kept": "circle"} in changed["list"]


def test_an_option_of_archives_without_one_is_refused(submissions):
    for option in ("archive_encoding", "root"):
        with pytest.raises(InvalidInput, match=f"'{option}' is about an `archive`"):
            submit(submissions, **{option: "cp932"})


def test_a_worker_that_has_gone_is_not_counted_on(submissions, monkeypatch):
    worker_memory.tell(submissions.engine, "gone", 1 << 40)
    monkeypatch.setattr(worker_memory, "SILENT", -1.0)
    assert worker_memory.largest(submissions.engine) is None
    monkeypatch.setattr(worker_memory, "SILENT", 3600.0)
    capabilities.record(submissions.engine, "memory", "gone", {"bytes": 1 << 40, "at": 0.0})
    worker_memory.tell(submissions.engine, "there", 7)
    assert worker_memory.largest(submissions.engine) == 7
    assert list(capabilities.of_kind(submissions.engine, "memory")) == ["there"]


@pytest.mark.parametrize(
    ("sent", "deep"),
    [({}, "auto"), ({"deep": "never"}, "never"), ({"deep": "only"}, "only"), ({"method": "deep"}, "only"),
     ({"method": "deep", "deep": "auto"}, "only")],
)  # fmt: skip
def test_training_deep_is_left_to_the_setting_asked_for_or_meant_by_the_method(submissions, sent, deep):
    schemas = {"logistic": logistic.Hyperparameters, "deep": recipe.Hyperparameters}
    known = {name: model.model_json_schema() for name, model in schemas.items()}
    capabilities.replace_all(submissions.engine, "method", known)
    request = submit(submissions, **sent).request
    assert (request.deep, request.races) == (deep, "auto")


@pytest.mark.parametrize(
    ("sent", "item"),
    [({"deep": "yes"}, "deep"), ({"method": "deep", "deep": "never"}, "deep"),
     ({"method": "deep", "hyperparameters": '{"epochs": 0}'}, "epochs"),
     ({"method": "deep", "hyperparameters": '{"epoch": 3}'}, "epoch"),
     ({"method": "deep", "hyperparameters": '{"mixup": 0.2}'}, "mixup"),
     ({"method": "deep", "hyperparameters": '{"freeze_epochs": 8}'}, "freeze_epochs"),
     ({"method": "deep", "hyperparameters": '{"augment": "crops"}'}, "augment"),
     ({"method": "deep", "hyperparameters": '{"augment": "flip\\n"}'}, "augment"),
     ({"method": "deep", "hyperparameters": '{"momentum": 0.5}'}, "momentum"),
     ({"method": "deep", "hyperparameters": '{"unfreeze": "no.such.block"}'}, "unfreeze"),
     ({"deep": "only", "hyperparameters": '{"epochs": 3}'}, "hyperparameters")],
)  # fmt: skip
def test_what_deep_training_cannot_mean_is_refused_by_its_name(submissions, sent, item):
    knows_deep(submissions, ["all", "blocks.4"])
    with pytest.raises(InvalidInput) as refused:
        submit(submissions, **sent)
    assert refused.value.item == item and is_empty(submissions)


def knows_deep(submissions, cuts: list[str] | None) -> None:
    """The method, and a backbone with cuts of these names on record."""
    capabilities.replace_all(submissions.engine, "method", {"deep": recipe.Hyperparameters.model_json_schema()})
    known = backbones.find(submissions.engine, "tf_efficientnet_lite0")
    details = {} if cuts is None else {"cuts": [{"name": name} for name in cuts]}
    backbones.save(submissions.engine, replace(known, digest=f"d{cuts}", details=details))


@pytest.mark.parametrize(("cuts", "name"), [(["all", "blocks.4"], "blocks.4"), (["all"], "auto"), (None, "blocks.9")])
def test_a_cut_that_is_on_record_or_that_nobody_can_know_yet_is_taken(submissions, cuts, name):
    knows_deep(submissions, cuts)
    asked = submit(submissions, method="deep", hyperparameters=json.dumps({"unfreeze": name})).request
    assert asked.hyperparameters == {"unfreeze": name}


def test_a_backbone_that_cannot_be_cut_is_refused_to_who_asks_for_nothing_but_deep(submissions):
    knows_deep(submissions, [])
    with pytest.raises(InvalidInput, match="cannot be cut"):
        submit(submissions, method="deep")


def test_a_key_stands_for_the_deep_that_was_sent_and_for_none_as_before(submissions):
    job = submit(submissions, key="k")
    assert submit(submissions, key="k").id == job.id
    with pytest.raises(IdempotencyConflict):
        submit(submissions, key="k", deep="auto")


@pytest.mark.parametrize("recorded", [{}, {"cuts": []}])
def test_a_backbone_that_is_known_to_have_no_cuts_is_not_trained(submissions, recorded):
    """One whose cuts are not on record, as an older release built it, may have some: its graph is not read here."""
    spec = text.Spec("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 128)
    backbone = Backbone("minilm", "m", "a", spec, "int8", 384, 0, recorded, "text")
    backbones.save(submissions.engine, backbone)
    options.check_cut(JobRequest("a", backbone="minilm", deep="auto"), backbone)
    with pytest.raises(InvalidInput, match="cannot be cut") if recorded else nullcontext():
        options.check_cut(JobRequest("a", backbone="minilm", deep="only"), backbone)
