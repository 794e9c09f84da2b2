"""The examples of a head: look at them, correct their labels, take them back."""

from typing import Annotated, Literal

from fastapi import Path, Query
from fastapi.responses import JSONResponse, Response

from adapters import tasks
from adapters.store import examples as store
from adapters.store import heads, reports
from service.api.accepted import RESPONSES, Key, Wait, answer
from service.api.dependencies import PROBLEMS, Ctx
from service.api.heads import contents
from service.api.heads.edit_schemas import (
    DeleteExamplesRequest,
    ExamplePage,
    ExampleView,
    LabelRequest,
    RelabelRequest,
)
from service.api.job_schemas import JobView
from service.api.routing import all_but
from service.api.routing import router as new_router
from service.context import Context
from service.database_threads import WRITING
from service.intake.edits import EditSubmissions
from service.intake.labels import SHA256
from service.wire import Text

all_but("example", "delete", "relabel")
router = new_router(prefix="/heads/{head}/examples", tags=["examples"])
Sha256 = Annotated[str, Path(pattern=SHA256)]
SplitFilter = Literal["train", "val", "test", "none"]


@router.get("", responses=PROBLEMS)
def list_examples(
    ctx: Ctx,
    head: str,
    label: Text | None = None,
    split: Annotated[SplitFilter | None, Query(description="none: left out of training.")] = None,
    suspected: Annotated[bool, Query(description="Only those whose label the newest report finds wrong.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(pattern=r"^[0-9a-f]{0,64}$", description="`next` of the page before.")] = "",
) -> ExamplePage:
    """The examples that a head holds, by SHA-256."""
    among = _suspects(ctx, head) if suspected else None
    page = store.page(ctx.engine, head, limit=limit, after=after, label=label, split=split, among=among)
    if not page:
        heads.summary(ctx.engine, head)  # raises HeadNotFound
    last = page[-1][0].sha256 if len(page) == limit else None
    task = tasks.get(heads.find_task(ctx.engine, head) or "classification")
    return ExamplePage(examples=[ExampleView.of(task, *row) for row in page], next=last)


def _suspects(ctx: Context, head: str) -> list[str]:
    """SHA-256 of the examples that the newest version's report lists."""
    newest = heads.summary(ctx.engine, head).versions[0]
    found = reports.load(ctx.engine, ctx.artifacts, newest)["findings"]["suspected_labels"]["list"]
    return [row["sha256"] for row in found]


@router.get("/{sha256:example}/image", responses=PROBLEMS, response_class=Response)
def get_image(ctx: Ctx, head: str, sha256: Sha256) -> Response:
    """The image of an example, as it was sent; of any example: /content."""
    found = store.find(ctx.engine, head, sha256)
    return contents.answer(ctx.engine, head, sha256, lambda: store.stored(ctx.artifacts, found), image=True)


@router.get("/{sha256:example}/content", responses=PROBLEMS, response_class=Response)
def get_content(ctx: Ctx, head: str, sha256: Sha256) -> Response:
    """An example, byte for byte as it was sent."""
    found = store.find(ctx.engine, head, sha256)
    return contents.answer(ctx.engine, head, sha256, lambda: store.stored(ctx.artifacts, found))


@router.patch("/{sha256:example}", status_code=202, response_model=JobView, responses=RESPONSES)
async def relabel_example(
    ctx: Ctx, head: str, sha256: Sha256, body: LabelRequest, wait: Wait = 0, key: Key = None
) -> JSONResponse:
    """Correct the label of an example: a job trains the head anew, from cached embeddings, and serves it."""
    job = await WRITING.run(_edits(ctx, head, key).relabel, {sha256: body.label})
    return await answer(ctx, job, wait)


@router.post("/relabel", status_code=202, response_model=JobView, responses=RESPONSES)
async def relabel_examples(ctx: Ctx, head: str, body: RelabelRequest, wait: Wait = 0, key: Key = None) -> JSONResponse:
    """Correct the labels of several examples in one job."""
    job = await WRITING.run(_edits(ctx, head, key).relabel, body.labels)
    return await answer(ctx, job, wait)


@router.delete("/{sha256:example}", status_code=202, response_model=JobView, responses=RESPONSES)
async def delete_example(ctx: Ctx, head: str, sha256: Sha256, wait: Wait = 0, key: Key = None) -> JSONResponse:
    """Unlearn an example: the head is trained as if it had never been sent, and versions that knew it are deleted."""
    job = await WRITING.run(_edits(ctx, head, key).remove, [sha256])
    return await answer(ctx, job, wait)


@router.post("/delete", status_code=202, response_model=JobView, responses=RESPONSES)
async def delete_examples(
    ctx: Ctx, head: str, body: DeleteExamplesRequest, wait: Wait = 0, key: Key = None
) -> JSONResponse:
    """Unlearn several examples in one job."""
    job = await WRITING.run(_edits(ctx, head, key).remove, body.sha256)
    return await answer(ctx, job, wait)


def _edits(ctx: Context, head: str, key: str | None) -> EditSubmissions:
    return EditSubmissions(ctx.settings, ctx.engine, ctx.artifacts, head, key)
