"""Requests to change the data of a head → checked jobs. What can be refused is refused here, before a job exists.

A job trains as the job did that made the head's present data: the same method, hyperparameters, seed and backbone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy.engine import Engine

from adapters import edits, tasks
from adapters.backbones import parts
from adapters.comparison import out_of_fold
from adapters.errors import Conflict, HeadDamaged, InvalidInput, NotEnoughData, Overloaded
from adapters.labels import clean
from adapters.store import backbones, examples, heads, jobs, keeping
from adapters.store.objects.artifacts import Artifacts
from adapters.tenancy import shown
from adapters.types import Backbone, Edit, Example, HeadVersion, Job, JobRequest
from service.intake import fields
from service.intake.datasets.manifests import label_text
from service.intake.submissions import check_key
from service.operations import requests
from service.quotas import accepting
from service.settings import Settings

Prepared = tuple[JobRequest, list[Example]]  # a checked request, and the examples that it names


@dataclass(frozen=True, slots=True)
class EditSubmissions:
    """Where changes of one head's data are handed in; each method answers with the accepted job.

    All raise HeadNotFound, Overloaded, and Conflict for a head without examples; the same `key` and request give the
    job there is already.
    """

    settings: Settings
    engine: Engine
    artifacts: Artifacts
    head: str
    key: str | None = None  # an Idempotency-Key

    def relabel(self, labels: Mapping[str, Any]) -> Job:
        """SHA-256 → new label. Raises ExampleNotFound, InvalidLabel, NotEnoughData; Conflict when nothing changes."""
        return self._once("relabel", dict(labels), lambda: self._relabeled(labels))

    def remove(self, sha256s: Sequence[str]) -> Job:
        """Unlearn examples, also such as only a version still knows: its data were rejected or replaced.

        Raises ExampleNotFound, NotEnoughData when too few would be left of a class.
        """
        wanted = sorted(set(sha256s))
        return self._once("remove", wanted, lambda: self._removed(wanted))

    def change_labels(self, edit: Edit) -> Job:
        """Rename, merge or drop classes. Raises LabelNotFound, InvalidLabel, Conflict, NotEnoughData."""
        facts = {"rename": edit.rename, "merge": edit.merge, "drop": edit.drop}
        return self._once("labels", facts, lambda: self._changed(edit))

    def rebuild(self, backbone: str, deploy: Literal["auto", "manual"] = "auto") -> Job:
        """Train from the stored examples on a backbone, gated as any new version. Raises BackboneNotFound."""
        return self._once("rebuild", [backbone, deploy], lambda: self._rebuilt(backbone, deploy))

    def _relabeled(self, labels: Mapping[str, Any]) -> Prepared:
        recipe, held = self._recipe(), self._held()
        parse = tasks.get(recipe.task).parse_label
        sent = {sha256: label_text(label) for sha256, label in labels.items()}
        named = [replace(e, label=parse(sent[e.sha256], e.sha256)) for e in self._named(held, list(sent))]
        if all(example.label == held[example.sha256].label for example in named):
            first = named[0]
            raise Conflict(f"the example {first.sha256} is labeled {first.label!r} already", item=first.sha256)
        return self._checked(recipe, Edit(relabel=len(named)), held, named)

    def _removed(self, sha256s: Sequence[str]) -> Prepared:
        recipe, held = self._recipe(), self._held()
        strangers = [sha256 for sha256 in sha256s if sha256 not in held]
        known = held | self._of_versions(strangers)
        named = self._named(known, sha256s)
        return self._checked(recipe, Edit(remove=len(named)), held, named)

    def _changed(self, edit: Edit) -> Prepared:
        recipe = self._recipe()
        parse = clean
        rename = {old: parse(new, f"the new name of {old[:50]!r}") for old, new in edit.rename.items()}
        merge: dict[str, list[str]] = {}
        for into, labels in edit.merge.items():  # two spellings may be one class
            merge.setdefault(parse(into, "the merged class"), []).extend(labels)
        return self._checked(recipe, replace(edit, rename=rename, merge=merge), self._held(), [])

    def _rebuilt(self, backbone: str, deploy: Literal["auto", "manual"]) -> Prepared:
        recipe, found = self._recipe(), backbones.find(self.engine, backbone)
        own = backbones.find(self.engine, str(recipe.backbone)).modality
        fields.require(found.modality, own, "head", shown(self.head))
        parts.lengths(recipe.reads, found)  # refuses one without the taps that the head is to read
        return replace(recipe, backbone=found.name, deploy=deploy, hyperparameters=_elsewhere(recipe, found)), []

    def _recipe(self) -> JobRequest:
        """How the head's present data were trained on, to be done again."""
        job_id = examples.job_of_head(self.engine, self.head)
        if job_id is None:
            keeping.require(self.engine, self.head, "to change or rebuild it")
            heads.summary(self.engine, self.head)  # raises HeadNotFound
            raise Conflict(
                f"the head {shown(self.head)!r} holds no examples; POST /finetune teaches it some",
                item=shown(self.head),
            )
        asked = jobs.get(self.engine, job_id).request
        return replace(asked, mode="append", deploy="always", edit=None, received={}, of=None)

    def _held(self) -> dict[str, Example]:
        return {example.sha256: example for example, _ in examples.of_head(self.engine, self.head)}

    def _of_versions(self, sha256s: Sequence[str]) -> dict[str, Example]:
        """Those that the data list of a version names although the head does not hold them."""
        if not sha256s:
            return {}
        versions = heads.summary(self.engine, self.head).versions
        listed = {sha256 for version in versions for sha256 in self._listed(version)}
        return {sha256: Example(sha256, "", "") for sha256 in sha256s if sha256 in listed}

    def _listed(self, version: HeadVersion) -> set[str]:
        try:
            return {sha256 for sha256, _ in out_of_fold.data_list(version, self.artifacts)}
        except HeadDamaged:  # the others' lists count all the same
            return set()

    def _named(self, held: Mapping[str, Example], sha256s: Sequence[str]) -> list[Example]:
        if not sha256s:
            raise InvalidInput("name at least one example by its SHA-256", item="sha256")
        for sha256 in sha256s:
            if sha256 not in held:
                raise examples.missing(self.head, sha256)
        return [held[sha256] for sha256 in sha256s]

    def _checked(self, recipe: JobRequest, edit: Edit, held: Mapping[str, Example], named: list[Example]) -> Prepared:
        left = edits.apply(tasks.get(recipe.task), edit, list(held.values()), named)
        try:
            tasks.get(recipe.task).check_examples(left)
        except NotEnoughData as error:
            hint = f'after this change; POST /heads/{shown(self.head)}/labels {{"drop": […]}} drops a class'
            raise NotEnoughData(
                f"{error.message} ({hint}, DELETE /heads/{shown(self.head)} all)", item=error.item
            ) from None
        return replace(recipe, edit=edit), named

    def _once(self, what: str, facts: Any, prepare: Callable[[], Prepared]) -> Job:
        """The job of this key, looked for before all checks: once it has run, they would refuse what it has done."""
        check_key(self.key)
        fingerprint = hashlib.sha256(json.dumps([self.head, what, facts], sort_keys=True).encode()).hexdigest()
        known = jobs.find_by_key(self.engine, self.head, self.key, fingerprint)
        if known is not None:
            return known
        self._check_room()
        request, named = prepare()
        return jobs.create(
            self.engine, request, named, fingerprint=fingerprint, idempotency_key=self.key,
            guard=accepting.guard(self.settings), origin=requests.columns(),
        )  # fmt: skip

    def _check_room(self) -> None:
        count = jobs.count_unfinished(self.engine, asked_for=True)
        if count >= self.settings.max_jobs:
            raise Overloaded(f"{count} jobs are waiting or running; try again later", retry_after=10.0)


def _elsewhere(recipe: JobRequest, backbone: Backbone) -> dict[str, Any]:
    """Hyperparameters on another backbone, whose blocks have other names: one without that cut has to find its own."""
    named = recipe.hyperparameters.get("unfreeze")
    there = {row["name"] for row in backbone.details.get("cuts", [])}
    if named is None or named in (*there, "all") or backbone.name == recipe.backbone:
        return recipe.hyperparameters
    return recipe.hyperparameters | {"unfreeze": "auto"}
