"""What else happens in the life of a head: other classes, another backbone, and how two versions compare."""

import re
from typing import Annotated

from fastapi import Query
from fastapi.responses import JSONResponse, Response

from adapters.comparison import versions
from adapters.errors import InvalidInput
from adapters.store import heads
from adapters.types import HeadRef, HeadVersion
from service.api import large_answers
from service.api.accepted import RESPONSES, Key, Wait, answer
from service.api.dependencies import PROBLEMS, Ctx
from service.api.heads.edit_schemas import Comparison, LabelsRequest, RebuildRequest
from service.api.job_schemas import JobView
from service.api.routing import router as new_router
from service.context import Context
from service.database_threads import COMPARING, READING, WRITING
from service.intake.edits import EditSubmissions
from service.wire import ALIAS_NAME, VERSION_OR_ALIAS

router = new_router(prefix="/heads/{head}", tags=["heads"])
Which = Annotated[str, Query(description="A version, or an alias.", json_schema_extra={"pattern": VERSION_OR_ALIAS})]


@router.post("/labels", status_code=202, response_model=JobView, responses=RESPONSES)
async def change_labels(ctx: Ctx, head: str, body: LabelsRequest, wait: Wait = 0, key: Key = None) -> JSONResponse:
    """Rename classes (the same weights), merge some into one, or drop some (both trained anew)."""
    submissions = EditSubmissions(ctx.settings, ctx.engine, ctx.artifacts, head, key)
    return await answer(ctx, await WRITING.run(submissions.change_labels, body.edit()), wait)


@router.post("/rebuild", status_code=202, response_model=JobView, responses=RESPONSES)
async def rebuild(ctx: Ctx, head: str, body: RebuildRequest, wait: Wait = 0, key: Key = None) -> JSONResponse:
    """Train the head from its stored examples on another backbone; gated as any new version."""
    submissions = EditSubmissions(ctx.settings, ctx.engine, ctx.artifacts, head, key)
    return await answer(ctx, await WRITING.run(submissions.rebuild, body.backbone, body.deploy), wait)


@router.get("/compare", response_model=Comparison, responses=PROBLEMS)
async def compare(
    ctx: Ctx, head: str, a: Which, b: Which, limit: Annotated[int, Query(ge=0, le=1000)] = 100
) -> Response:
    """Two versions on the same held-out examples: paired difference, its 95 % interval, and what changed."""
    first, second = await READING.run(_resolved, ctx, head, (a, b))
    body = await COMPARING.run_slowly(_compared, ctx, first, second, limit)
    return Response(body, media_type="application/json")


def _resolved(ctx: Context, head: str, named: tuple[str, str]) -> list[HeadVersion]:
    """What is wrong with the request is said at once, however many comparisons wait."""
    return [heads.resolve(ctx.engine, _ref(head, text)) for text in named]


def _compared(ctx: Context, a: HeadVersion, b: HeadVersion, limit: int) -> bytes:
    found = Comparison.model_validate(versions.compare(a, b, ctx.engine, ctx.trunks, limit))
    return large_answers.written(found)


def _ref(head: str, text: str) -> HeadRef:
    """`3` is a version, `canary` an alias. Raises InvalidInput."""
    if re.fullmatch(r"[1-9][0-9]{0,8}", text):
        return HeadRef(head, version=int(text))
    if re.fullmatch(ALIAS_NAME, text):
        return HeadRef(head, alias=text)
    raise InvalidInput(f"{text[:50]!r} is neither a version (3) nor an alias (live)", item=text[:50])
