"""The deep round of a job: what it is given, how it gives way, and its result as the steps after it take a race's."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adapters.backbones.cuts import TAP
from adapters.errors import CorruptArtifact, InvalidInput, NotFound
from adapters.modalities import NONE
from adapters.recipe import AUTO
from adapters.store import checkpoints, heads, jobs, leases, reports
from adapters.training.backbone import observing
from adapters.training.context import TrainingContext
from adapters.training.deep import deep_round
from adapters.training.deep.examples import Examples
from adapters.training.deep.outcome import Declined, DeepResult
from adapters.training.embedding.views import Source
from adapters.training.progress import Progress
from adapters.training.publish.drafts import Draft
from adapters.training.race.race import RaceResult
from adapters.training.stages import curves, scratch, warm
from adapters.training.stages.material import Material
from adapters.types import DEEP, HeadRef, Indices, Job, Tensors

EVERY, OFTEN = 30.0, 5.0  # seconds between checkpoints, and at least so many where an epoch has ended
CHEAP = 1.0  # seconds that one may take of somebody who waits for us to leave
LOOK = 1.0  # seconds between looks whether another job waits
Json = dict[str, Any]
OF_SHALLOW: Json = {"of": "shallow"}  # said of a learning curve that is the head's on the frozen backbone
SKIPPED: Json = {"skipped": "a deep version is not trained on parts of its examples; deep=never shows what more do"}


def run(
    context: TrainingContext, material: Material, shallow: RaceResult, progress: Progress, always: bool
) -> DeepResult | Declined:
    """Fine-tune from the shallow winner, and say whether that is better.

    One that adds to a head whose examples were not kept begins at the live version in the place of both.
    Raises InvalidInput where the backbone cannot be cut as the caller asked, TooMuchData where that has no room,
    OSError (ENOSPC) where there is none now, Cancelled, and GaveWay of a next stage, or where the worker is to stop.
    """
    clear_ended(context)
    _make_way(context, material.job.id)
    try:
        with context.leaving.heeded():
            return _round(context, material, shallow, progress, always)
    except InvalidInput as error:
        if always:
            raise
        evidence = {"passed": False, "reason": error.message}  # nobody asked for it, so nobody has to mend anything
        return Declined(evidence, [], [], error.message, 0.0)


def _round(
    context: TrainingContext, material: Material, shallow: RaceResult, progress: Progress, always: bool
) -> DeepResult | Declined:
    job, backbone = material.job, material.backbone
    asked, begin, version = _hyperparameters(job), None, material.begun
    if version is not None:
        asked, begin = warm.hyperparameters(version, asked), warm.begin(context, material, version, progress)
    watch, basis = _Watch(context, job, progress), _basis(material)
    with scratch.room(context, job.id) as room:
        return deep_round.run(
            _taps(context, job.id, basis), context.artifacts.get(backbone.artifact), observing.of(backbone),
            _examples(context, material, progress), shallow, asked, job.request.seed, watch.report, watch,
            lanes=context.lanes, device=context.backbones.get(backbone.digest).device, budget=job.request.budget,
            always=always, checkpoint=checkpoints.find(context.engine, context.scratch(job.id), job.id), basis=basis,
            begin=begin, room=room, memory=scratch.memory(context),
        )  # fmt: skip


def folder(context: TrainingContext, job_id: str) -> Path:
    """Where a job keeps what it can make again."""
    return context.folder / job_id


def _basis(material: Material) -> str:
    """Digest of what fits stand on: examples, labels, folds, and the version that they begin at.

    Between two attempts at a job somebody may promote another version, or take examples back.
    """
    begun, split = material.begun, material.divided
    said = [[e.sha256, e.label] for e in material.data.examples], None if begun is None else begun.digest
    digest = hashlib.sha256(json.dumps(said).encode())
    for part in (split.rest, *(part for fold in split.folds for part in fold)):
        digest.update(b"%d:" % len(part) + np.asarray(part, "<i8").tobytes())
    return digest.hexdigest()


def _taps(context: TrainingContext, job_id: str, basis: str) -> Path:
    """The folder for taps of these examples; those of others, in another order, are let go of."""
    mine = folder(context, job_id) / basis[:16]
    mine.mkdir(parents=True, exist_ok=True)
    for other in mine.parent.iterdir():
        if other != mine:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    return mine


def clear(context: TrainingContext, job_id: str) -> None:
    """Delete that of a job which is done: decoded examples, and what the backbone told of them."""
    shutil.rmtree(folder(context, job_id), ignore_errors=True)


def clear_ended(context: TrainingContext) -> None:
    """Those of jobs that have ended elsewhere: this worker was at work on them, and another one was last."""
    for left in context.folder.glob("job_*"):
        if jobs.is_settled(context.engine, left.name):
            clear(context, left.name)


def _make_way(context: TrainingContext, job_id: str) -> None:
    """What else can be made again goes, where room is short."""
    for left in context.folder.glob("job_*"):
        if scratch.is_in_the_way(context, left, job_id):
            clear(context, left.name)


def as_race(deep: DeepResult, shallow: RaceResult) -> RaceResult:
    """The same answers, program and figures as those of a race, whose table stays that of the shallow one."""
    return replace(
        shallow, program=deep.program, uncalibrated=deep.uncalibrated, finish=deep.finish, method=DEEP,
        hyperparameters=deep.hyperparameters, source=Source(NONE, TAP), reads=deep.reads,
        note=f"{shallow.note}; {deep.note}", outputs=deep.outputs, unscaled=deep.unscaled, index=deep.index,
        calibration=deep.calibration, seconds=shallow.seconds + deep.seconds,
    )  # fmt: skip


def told(found: DeepResult | Declined, job: Job) -> Json:
    """What the job's answer says of it, ready for JSON."""
    cut = asdict(found.cut) if isinstance(found, DeepResult) else None
    said = {"stage": "deep", "of": job.request.of, "evidence": found.evidence, "why": found.evidence["reason"]}
    return said | ({"cut": cut} if cut else {}) | {"seconds": round(found.seconds, 3)}


def decline(context: TrainingContext, job: Job, found: Declined) -> None:
    """A next stage that proved no better makes no version: its job ends as rejected, and tells the evidence."""
    with context.engine.begin() as connection:
        jobs.refuse_unwanted(connection, job.id)
        jobs.finish(connection, job.id, "rejected", report={"deep": told(found, job) | found_out(found)})


def found_out(found: DeepResult | Declined) -> Json:
    """What the report has beside that: how the fits went, and which cuts were tried."""
    cut = found.cut.name if isinstance(found, DeepResult) else found.table[0]["cut"] if found.table else ""
    kept = found.hyperparameters if isinstance(found, DeepResult) else {}
    names = (("kept", "epochs_kept"), ("of", "epochs"), ("mix", "mix"), ("ensemble", "ensemble"))
    return {
        "losses": curves.summary(found.curves, cut) | {name: kept[key] for name, key in names if key in kept},
        "curves": found.curves,
        "table": found.table,
        "note": found.note,
    }


def curve(context: TrainingContext, job: Job, draft: Draft) -> Json | None:
    """In place of a learning curve of a deep version, for which the backbone would be trained several times more: that
    of the shallow version which it is the next stage of, or why there is none. None where that of the race's winner on
    the same examples is to be measured.
    """
    if job.request.of is not None:
        return _curve_of(context, job)
    if draft.begun_at is not None:
        before = draft.begun_at["version"]
        return {"skipped": f"it goes on from version {before}, whose examples were not kept: there are no parts to try"}
    return None if draft.shallow is not None else SKIPPED


def _curve_of(context: TrainingContext, job: Job) -> Json:
    try:
        of = jobs.get(context.engine, str(job.request.of))
        version = heads.resolve(context.engine, HeadRef(job.request.head, version=of.version))
        found: Json | None = reports.load(context.engine, context.artifacts, version)["curve"]
    except (NotFound, CorruptArtifact):
        return SKIPPED
    return SKIPPED if found is None else found | OF_SHALLOW | {"of_version": version.number}


def _hyperparameters(job: Job) -> Json:
    """As asked for; who leaves it to us gets what answers best, an ensemble, too.

    What is added later to a head without its examples goes on from the weights of one network.
    """
    asked = job.request.hyperparameters if job.request.method == DEEP else {"ensemble": AUTO}
    return asked if job.request.keep_examples else asked | {"ensemble": 0.0}


def _examples(context: TrainingContext, material: Material, progress: Progress) -> Examples:
    return Examples(
        partial(_decoded, context, material), material.embeddings, material.backbone.dimension, material.targets,
        material.classes, material.divided, material.task, _lengths(context, material, progress),
    )  # fmt: skip


def _decoded(context: TrainingContext, material: Material, position: int) -> Tensors:
    """An input as served, its tensors. Raises what `Trunks.decoded` does."""
    return context.trunks.decoded(material.backbone, material.data.examples[position])


def _lengths(context: TrainingContext, material: Material, progress: Progress) -> Indices | None:
    """Of inputs that vary in length, i64 [N]; 1 ms for each of short texts."""
    first = material.modality.inputs(material.backbone.spec)[0]
    if first.shape[0] is not None:
        return None
    found = np.empty(len(material.data.examples), np.int64)
    for position in range(len(found)):
        progress.cancelled()
        found[position] = len(_decoded(context, material, position)[first.name])
    return found


class _Watch:
    """Between two steps of a fit: stop where nobody wants it, keep a checkpoint, give way to who waits, or leave."""

    def __init__(self, context: TrainingContext, job: Job, progress: Progress) -> None:
        self._context, self._job, self._progress = context, job, progress
        self._kept = self._looked = time.monotonic()
        self._epoch_ended = self._somebody_waits = False
        self._cost = 0.0  # seconds that the last checkpoint took

    def report(self, row: Json) -> None:
        """An epoch has ended."""
        self._epoch_ended = True
        self._progress.tell("epoch", row)

    def __call__(self, state: Callable[[], bytes]) -> None:
        """Raises Cancelled, GaveWay, LeaseLost."""
        self._progress.cancelled()
        if self._context.leaving or self._gives_way():
            if self._cost < CHEAP:  # else the last one is gone on from
                self._keep(state)
            raise leases.GaveWay("")
        if time.monotonic() - self._kept >= (OFTEN if self._epoch_ended else EVERY):
            self._keep(state)

    def _keep(self, state: Callable[[], bytes]) -> None:
        began = time.monotonic()
        checkpoints.keep(self._context.engine, self._context.scratch(self._job.id), self._job.id, state())
        self._kept, self._epoch_ended = time.monotonic(), False
        self._cost = self._kept - began

    def _gives_way(self) -> bool:
        """Only of a next stage, and only to one that waited at two looks: another worker may be about to take it."""
        if self._job.request.of is None or time.monotonic() - self._looked < LOOK:
            return False
        waited, self._somebody_waits = self._somebody_waits, leases.others_wait(self._context.engine)
        self._looked = time.monotonic()
        return waited and self._somebody_waits
