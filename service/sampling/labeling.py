"""Labels of samples → a job like any other: through the same intake, gate and quotas as what /finetune is sent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from adapters.store import backbones, heads
from adapters.store.sampling import samples
from adapters.types import Job, JobRequest
from service.intake.datasets.arrangement import Received
from service.intake.datasets.items import item
from service.intake.datasets.manifests import label_text
from service.intake.submissions import Submissions, check_key


@dataclass(frozen=True, slots=True)
class _File:
    """A sample as a file to learn from, read when it is needed."""

    file_name: str | None
    sha256: str
    size: int
    data: Callable[[], bytes | memoryview]


def submit(submissions: Submissions, head: str, labels: Mapping[str, Any], key: str | None) -> Job:
    """SHA-256 → label. Raises HeadNotFound, SampleNotFound, and what `Submissions.submit` does.

    The same key and labels give the job there is, also once it has learned the samples and they are kept no more.
    """
    check_key(key)
    heads.summary(submissions.engine, head)  # raises HeadNotFound
    request = submissions.completed(JobRequest(head, task="", deep=submissions.settings.deep))
    known = samples.sizes(submissions.engine, head)
    received = Received(
        [_item(submissions, sha256, label, known.get(sha256, 0)) for sha256, label in sorted(labels.items())],
        {"layout": "labels of samples"},
        modality=backbones.find(submissions.engine, str(request.backbone)).modality,
    )
    return submissions.teach(
        request, received, {"head": head, "samples": True}, key, partial(_require, head, labels, known)
    )


def _item(submissions: Submissions, sha256: str, label: Any, size: int) -> Any:
    file = _File(f"sample-{sha256[:12]}", sha256, size, partial(samples.stored, submissions.artifacts, sha256))
    return item(file, file.file_name or "", label_text(label))


def _require(head: str, labels: Mapping[str, Any], known: Mapping[str, int]) -> None:
    for sha256 in sorted(labels):
        if sha256 not in known:
            raise samples.missing(head, sha256)
