"""A /finetune form → a checked job. Everything that can be refused is refused here, before anything is stored."""

import math
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy.engine import Engine

from adapters import modalities, tasks, training_memory
from adapters.backbones import parts
from adapters.backbones.facts import modality_of
from adapters.comparison import out_of_fold
from adapters.errors import InvalidHyperparameter, InvalidInput, NotReady, Overloaded
from adapters.labels import refuse_held_out_only
from adapters.problems import Problems
from adapters.store import backbones, capabilities, examples, heads, jobs, keeping
from adapters.store.embeddings import EmbeddingCache
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.tenancy import embedded_by, shown
from adapters.types import ORIGINAL, Example, Floats, Job, JobRequest
from service.access.principal import LOCAL, current, mine
from service.intake import fields, going_on, labeled_uploads, options, strict, told
from service.intake.datasets import names, probing, screening
from service.intake.datasets.items import Item
from service.intake.datasets.items import fingerprint as fingerprint_of
from service.intake.datasets.layout import Hints
from service.intake.datasets.sources import Limits, Received
from service.intake.uploads import Upload
from service.limits.upload_throttle import NOBODY, UploadThrottle
from service.operations import requests
from service.processes import default_backbone, worker_memory
from service.quotas import accepting
from service.settings import Settings
from service.wire import check_head_name

FIELDS = frozenset({
    "head", "labels", "archive", "manifest", "task", "method", "hyperparameters", "backbone", "mode", "seed",
    "deploy", "budget", "views", "reads", "on_error", "archive_encoding", "root", "deep", "keep_examples",
    told.FIELD, *fields.known(),
})  # fmt: skip
# Of any modality; which of them the head's has is looked at once that is known.
VIEWS = tuple(dict.fromkeys(c for name in modalities.names() for c in modalities.choices(modalities.get(name))))
Json = dict[str, Any]
MAX_KEY = 255  # characters of an Idempotency-Key
Remembered = Callable[[str, Iterable[str]], dict[str, Floats]]  # (backbone digest, SHA-256s) → vectors f32 [D]


def check_key(key: str | None) -> None:
    """Raises InvalidInput for an Idempotency-Key that cannot be kept."""
    if key is not None and not (1 <= len(key) <= MAX_KEY and jobs.OF_TENANT not in key):
        raise InvalidInput(f"the Idempotency-Key must have 1 to {MAX_KEY} characters", item="Idempotency-Key")


def _nothing(backbone: str, sha256s: Iterable[str]) -> dict[str, Floats]:
    return {}


@dataclass(frozen=True, slots=True)
class Submissions:
    """Where submissions are handed in."""

    settings: Settings
    engine: Engine
    artifacts: Artifacts
    remembered: Remembered = _nothing
    throttle: UploadThrottle = NOBODY

    def submit(self, upload: Upload, idempotency_key: str | None) -> Job:
        """Check everything, store the examples, accept the job. Raises InvalidInput of every kind, Overloaded."""
        check_key(idempotency_key)
        request = self._request(upload)
        received = self._received(upload, request)
        request = self._on_backbone(request, received.modality)
        return self.teach(request, received, _facts(request, upload), idempotency_key)

    def teach(
        self, request: JobRequest, received: Received, facts: dict[str, Any], key: str | None,
        require: Callable[[], None] = lambda: None,
    ) -> Job:  # fmt: skip
        """The rest of it, once the labeled items are known. `facts` with these are what a `key` stands for.

        `require` is called unless there is a job of that key, and what it raises refuses the request.
        """
        items, notes = screening.labeled(received.items, request.task, modalities.get(received.modality).NOUN)
        fingerprint = fingerprint_of(facts, items)
        known = jobs.find_by_key(self.engine, request.head, key, fingerprint)
        if known is not None:
            return known
        require()
        going_on.require(self.engine, request)
        self._check_room()
        items, left_out, further = self._checked(request, items, received.modality)
        facts = screening.facts(received, items, request.task, notes | further, left_out)
        request = replace(request, received=facts)
        return self._accept(request, items, fingerprint, key)

    def _accept(self, request: JobRequest, items: list[Item], fingerprint: str, key: str | None) -> Job:
        """Bytes first, on the disk and held, then the row that refers to them: `202` survives a loss of power."""
        sent = [item.example for item in items]
        with blobs.holding(self.engine, self.artifacts, (example.sha256 for example in sent)) as holder:
            blobs_sent = ((i.example.sha256, i.data) for i in items)
            self.artifacts.put_all(blobs_sent, self.throttle.turn, look=current() == LOCAL)
            self._offer(request, sent)
            return jobs.create(
                self.engine, request, sent, fingerprint=fingerprint, idempotency_key=key, holder=holder,
                sizes={item.example.sha256: item.size for item in items},
                guard=accepting.guard(self.settings, accepting.ADDING),
                origin=requests.columns(),
            )  # fmt: skip

    def _request(self, upload: Upload) -> JobRequest:
        strict.check(upload.names, FIELDS)
        request = JobRequest(
            head=mine(check_head_name(upload.field("head") or "")),
            task=upload.field("task") or "",
            method=upload.field("method", options.AUTO) or "",
            hyperparameters=options.hyperparameters(upload.field("hyperparameters", options.AUTO) or options.AUTO),
            backbone=upload.field("backbone"),
            mode=options.choice(upload, "mode", ("append", "replace")),  # type: ignore[arg-type]
            seed=options.seed(upload.field("seed", "0") or ""),
            deploy=options.choice(upload, "deploy", ("auto", "manual")),  # type: ignore[arg-type]
            views=options.choice(upload, "views", VIEWS),
            reads=options.choice(upload, "reads", parts.CHOICES),
            budget=options.budget(upload.field("budget", options.AUTO) or options.AUTO),
            on_error=options.choice(upload, "on_error", ("fail", "skip")),  # type: ignore[arg-type]
            deep=options.deep(upload, self.settings.deep),
            keep_examples=options.choice(upload, "keep_examples", ("true", "false")) == "true",
        )
        return self._on_task(request, upload.names)

    def completed(self, request: JobRequest) -> JobRequest:
        """What the caller left open is as the head has it, or the default. Raises InvalidInput, BackboneNotFound."""
        return self._on_backbone(self._on_task(request), None)

    def _on_task(self, request: JobRequest, sent: Set[str] = frozenset()) -> JobRequest:
        request = going_on.completed(self.engine, replace(request, task=self._task(request)), sent)
        self._check_method(request)
        named = self._named(request)
        if named is not None:  # refused at once, before all that came is looked at
            backbones.find(self.engine, named)
        return request

    def _on_backbone(self, request: JobRequest, modality: str | None) -> JobRequest:
        """On a backbone that reads what came; None: whatever the head's does. Raises WrongModality."""
        wanted = self._named(request) or default_backbone.of(self.settings, self.engine, modality or ORIGINAL)
        backbone = backbones.find(self.engine, wanted)
        if request.mode == "append" and (own := self._own_modality(request.head)) is not None:
            fields.require(modality or backbone.modality, own, "head", shown(request.head))
        whose = ("backbone", backbone.name) if request.backbone is not None else ("head", shown(request.head))
        fields.require(modality, backbone.modality, *whose)
        if request.views not in (choices := modalities.choices(modalities.get(backbone.modality))):
            raise InvalidInput(
                f"{fields.plural(backbone.modality)} have no views {request.views!r}; there are: {', '.join(choices)}",
                item="views",
            )
        parts.lengths(request.reads, backbone)  # refuses taps of one that has none
        options.check_cut(request, backbone)
        return replace(request, backbone=backbone.name)

    def _task(self, request: JobRequest) -> str:
        """The caller's choice, else the head's own, else classification. Raises InvalidInput."""
        own = heads.find_task(self.engine, request.head)
        chosen = request.task or own or "classification"
        tasks.get(chosen)
        if request.mode == "append" and own not in (None, chosen):
            raise InvalidInput(
                f"the head {shown(request.head)!r} does {own}, its examples have other labels than {chosen} needs; "
                "use mode=replace to make it another head, or another name",
                item="task",
            )
        return chosen

    def _check_method(self, request: JobRequest) -> None:
        schemas = capabilities.of_kind(self.engine, "method")
        if not schemas:
            raise NotReady("no training worker has started yet; start one with `espalier worker`")
        if request.method == options.AUTO:
            if request.hyperparameters:
                raise InvalidHyperparameter(
                    "method=auto chooses its own; name a method to fix them", item="hyperparameters"
                )
            return
        if request.method not in schemas:
            known = ", ".join([options.AUTO, *schemas])
            raise InvalidInput(f"there is no method {request.method[:50]!r}; there are: {known}", item="method")
        able = [name for name, schema in schemas.items() if request.task in schema.get("x-tasks", [request.task])]
        if request.method not in able:
            known = ", ".join([options.AUTO, *able])
            raise InvalidInput(
                f"the method {request.method} cannot do {request.task}; these can: {known}", item="method"
            )
        options.check_schema(request.method, request.hyperparameters, schemas[request.method])
        options.check_deep(request)

    def _named(self, request: JobRequest) -> str | None:
        """The backbone that the caller chose, else the head's own; None for the default."""
        if request.backbone is not None:
            return request.backbone
        live = heads.find_live(self.engine, request.head)
        return None if live is None else str(live.manifest["backbone"]["name"])

    def _own_modality(self, head: str) -> str | None:
        """That of the examples that a head holds, or of its live version; None for a new head."""
        if (live := heads.find_live(self.engine, head)) is not None:
            return modality_of(live.manifest["backbone"])
        job_id = examples.job_of_head(self.engine, head)
        named = None if job_id is None else jobs.get(self.engine, job_id).request.backbone
        return None if named is None else backbones.find(self.engine, named).modality

    def _expected(self, request: JobRequest) -> str | None:
        """The modality that a named backbone or the head reads; None where neither is known."""
        named = self._named(request)
        return None if named is None else backbones.find(self.engine, named).modality

    def _received(self, upload: Upload, request: JobRequest) -> Received:
        """The labeled items of any of the layouts."""
        received = labeled_uploads.received(upload, self._limits(), lambda archive: self._hints(archive, request))
        received = told.added(received, upload)
        if len(received.items) > self.settings.max_examples:
            count, most = len(received.items), self.settings.max_examples
            raise InvalidInput(f"{count:,} examples in one request; at most {most:,}")
        return received

    def _limits(self) -> Limits:
        # Members are also folders and what macOS adds; the items themselves are counted by the caller.
        return Limits(3 * self.settings.max_examples, self.settings.max_unpacked_bytes)

    def _hints(self, archive: str, request: JobRequest) -> Hints:
        """What tells classes from other folders, and one kind of input from another, where that is not clear."""
        live = heads.find_live(self.engine, request.head) if request.mode == "append" else None
        classes = frozenset[str](live.manifest["classes"] if live else ())
        stem, lenient = PurePosixPath(names.normal(archive)).stem, request.on_error == "skip"
        return Hints(stem, classes, lenient=lenient, modality=self._expected(request))

    def _checked(self, request: JobRequest, items: list[Item], modality: str) -> tuple[list[Item], Problems, Json]:
        """What can be learned from, and what is left out of it; enough of each class, what the head has included."""
        held = examples.of_head(self.engine, request.head) if request.mode == "append" else []
        new = {item.example.sha256 for item in items}
        kept = [example for example, _ in held if example.sha256 not in new]
        total = len(items)
        self._check_memory(request, len(kept) + len(new))
        # What is left out has to be known now: a job cannot leave out what it meets later.
        work = math.inf if request.on_error == "skip" else probing.WORK
        items, problems, notes = screening.screened(
            items, request.task, kept, self.settings.most[modality], modality=modality, work=work,
            turn=self.throttle.turn,
        )  # fmt: skip
        if request.on_error == "fail":
            problems.raise_any(f"{problems.count} of {total} {fields.plural(modality)} cannot be used")
        task, left = tasks.get(request.task), kept + [item.example for item in items]
        if problems.count:
            task.check_examples(left)
        keeping.check(self.engine, request, left, partial(out_of_fold.learned, artifacts=self.artifacts))
        refuse_held_out_only(left, {a.sha256: a.split for _, a in held}, task.names)
        return items, problems, notes

    def _check_memory(self, request: JobRequest, count: int) -> None:
        """What no worker has the memory to train on is refused at once. Raises TooMuchData."""
        there = worker_memory.largest(self.engine)
        if there is not None:
            backbone = backbones.find(self.engine, str(request.backbone))
            length = max(parts.lengths(request.reads, backbone, count).values())
            training_memory.require(there, count, length)

    def _check_room(self) -> None:
        count = jobs.count_unfinished(self.engine, asked_for=True)
        if count >= self.settings.max_jobs:
            raise Overloaded(f"{count} jobs are waiting or running; try again later", retry_after=10.0)
        accepting.check_jobs(self.settings, self.engine)

    def _offer(self, request: JobRequest, sent: list[Example]) -> None:
        """Embeddings that serving remembers need not be made again."""
        digest = embedded_by(request.head, backbones.find(self.engine, str(request.backbone)).digest)
        vectors = self.remembered(digest, [example.sha256 for example in sent])
        if vectors:
            EmbeddingCache(self.engine, digest).offer(vectors)


def _facts(request: JobRequest, upload: Upload) -> dict[str, Any]:
    names = ("head", "task", "method", "hyperparameters", "backbone", "mode", "seed", "deploy", "budget", "views")
    # Keys that were used before there was such a choice stay good.
    chosen = {"reads": request.reads} if request.reads != options.AUTO else {}
    chosen |= {"on_error": request.on_error} if request.on_error != "fail" else {}
    chosen |= {"deep": upload.field("deep") or ""} if "deep" in upload.names else {}
    chosen |= {"keep_examples": upload.field("keep_examples") or ""} if "keep_examples" in upload.names else {}
    chosen |= {name: upload.field(name) or "" for name in sorted(labeled_uploads.ARCHIVE_OPTIONS & upload.names)}
    return {name: getattr(request, name) for name in names} | chosen
