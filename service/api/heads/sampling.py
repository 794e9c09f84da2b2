"""Hard inputs of a head, kept for labeling where its owner has switched that on."""

from typing import Annotated

from fastapi import Path, Query
from fastapi.responses import JSONResponse, Response

from adapters.store.sampling import samples as store
from adapters.store.sampling import switches
from adapters.tenancy import shown
from service.api.accepted import RESPONSES, Key, Wait, answer
from service.api.dependencies import PROBLEMS, Ctx
from service.api.heads import contents
from service.api.job_schemas import JobView
from service.api.routing import all_but
from service.api.routing import router as new_router
from service.context import Context
from service.database_threads import SUBMITTING
from service.intake.labels import SHA256
from service.intake.submissions import Submissions
from service.sampling import labeling
from service.sampling.schemas import (
    NEXT,
    SampleLabelsRequest,
    SamplePage,
    SamplingRequest,
    SamplingView,
    after_of,
)

all_but("sample", "labels")
router = new_router(prefix="/heads/{head}", tags=["samples"])
Sha256 = Annotated[str, Path(pattern=SHA256)]


@router.get("/sampling", responses=PROBLEMS)
def get_sampling(ctx: Ctx, head: str) -> SamplingView:
    """Whether hard inputs of a head are kept for labeling, and what there is of them."""
    return _view(ctx, head)


@router.put("/sampling", responses=PROBLEMS)
def put_sampling(ctx: Ctx, head: str, body: SamplingRequest) -> SamplingView:
    """Keep inputs of /predict that the head abstains on, is unsure about or finds novel; off deletes what was kept."""
    if body.enabled:
        switches.switch_on(ctx.engine, head, body.keep, body.days)
    else:
        switches.switch_off(ctx.engine, head)
    ctx.sweep()
    return _view(ctx, head)


def _view(ctx: Context, head: str) -> SamplingView:
    return SamplingView.of(shown(head), switches.find(ctx.engine, head), store.sizes(ctx.engine, head))


@router.get("/samples", responses=PROBLEMS)
def list_samples(
    ctx: Ctx,
    head: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(pattern=NEXT, description="`next` of the page before.")] = "",
) -> SamplePage:
    """The hard inputs that are kept and that no job is learning just now, the hardest first."""
    page = store.page(ctx.engine, head, limit, after_of(after))
    if not page:
        switches.find(ctx.engine, head)  # raises HeadNotFound
    return SamplePage.of(page, limit)


@router.get("/samples/{sha256:sample}/image", responses=PROBLEMS, response_class=Response)
def get_sample_image(ctx: Ctx, head: str, sha256: Sha256) -> Response:
    """The image of a sample, as it was asked; of any sample: /content."""
    store.find(ctx.engine, head, sha256)
    return contents.answer(ctx.engine, head, sha256, lambda: store.stored(ctx.artifacts, sha256), image=True)


@router.get("/samples/{sha256:sample}/content", responses=PROBLEMS, response_class=Response)
def get_sample_content(ctx: Ctx, head: str, sha256: Sha256) -> Response:
    """A sample, byte for byte as it was asked."""
    store.find(ctx.engine, head, sha256)
    return contents.answer(ctx.engine, head, sha256, lambda: store.stored(ctx.artifacts, sha256))


@router.post("/samples/labels", status_code=202, response_model=JobView, responses=RESPONSES)
async def label_samples(
    ctx: Ctx, head: str, body: SampleLabelsRequest, wait: Wait = 0, key: Key = None
) -> JSONResponse:
    """Teach the head samples under their right labels: a job like that of /finetune, which ends their being samples."""
    submissions = Submissions(ctx.settings, ctx.engine, ctx.artifacts, ctx.predictor.memory.known, ctx.throttle)
    job = await SUBMITTING.run_slowly(labeling.submit, submissions, head, body.labels, key)
    return await answer(ctx, job, wait)


@router.delete("/samples/{sha256:sample}", status_code=204, responses=PROBLEMS)
def delete_sample(ctx: Ctx, head: str, sha256: Sha256) -> None:
    """Forget a sample."""
    store.delete(ctx.engine, head, sha256)
    ctx.sweep()


@router.delete("/samples", status_code=204, responses=PROBLEMS)
def delete_samples(ctx: Ctx, head: str) -> None:
    """Forget all samples of a head; it goes on keeping new ones where that is on."""
    switches.find(ctx.engine, head)  # raises HeadNotFound
    store.delete(ctx.engine, head)
    ctx.sweep()
