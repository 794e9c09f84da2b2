"""Heads, their versions, aliases and graphs."""

from typing import Annotated, Any, Literal

from fastapi import Header, Path, Query
from fastapi.responses import HTMLResponse, Response

from adapters import tenancy
from adapters.backbones.cuts import kind_read
from adapters.backbones.facts import modality_of
from adapters.errors import NotFound
from adapters.monitoring import drift
from adapters.store import examples, reports
from adapters.store import heads as store
from adapters.store.whose import Whose
from adapters.tenancy import shown
from adapters.types import HeadRef, HeadVersion
from service.access.principal import current
from service.api.dependencies import PROBLEMS, Ctx
from service.api.heads import listing
from service.api.heads.schemas import AliasRequest, AliasView, HeadPage, HeadView, ReportView
from service.api.routing import router as new_router
from service.database_threads import WRITING
from service.replicas.everywhere import served
from service.replicas.views import ReplicasView
from service.wire import ALIAS_NAME, Text

router = new_router(prefix="/heads", tags=["heads"])
WEEK = 7 * 24  # hours
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]
Alias = Annotated[str, Path(pattern=ALIAS_NAME)]
Everywhere = Annotated[
    Literal["all"] | None, Query(description="`all`: answer once every serving process does so, or after 60 seconds.")
]
NOT_YET: dict[int | str, dict[str, object]] = {
    202: {"model": AliasView, "description": "It is moved, and with `wait=all` not served everywhere yet."}
}


@router.get("", responses=PROBLEMS, response_model=HeadPage)
def list_heads(ctx: Ctx, limit: Annotated[int, Query(ge=1, le=1000)] = 100, after: Text = "") -> Response:
    """Heads by name."""
    who = current()
    whose = Whose(who.tenant, who.patterns("read"))
    page = store.page(ctx.engine, limit=limit, after=tenancy.qualified(who.tenant, after), whose=whose)
    last = shown(page[-1].name) if len(page) == limit else None
    return Response(listing.written(page, last), media_type="application/json")


@router.get("/{head}", responses=PROBLEMS)
def get_head(ctx: Ctx, head: str) -> HeadView:
    """One head: versions, aliases, labels and metrics."""
    return HeadView.of(store.summary(ctx.engine, head))


@router.delete("/{head}", status_code=204, responses=PROBLEMS)
def delete_head(ctx: Ctx, head: str) -> None:
    """Delete a head, its versions, and its examples that no other head holds."""
    store.delete(ctx.engine, head)
    ctx.sweep()


@router.get(
    "/{head}/report",
    responses=PROBLEMS | {200: {"content": {"text/html": {}}}},
    response_model=ReportView,
    response_model_exclude_none=True,
)
def get_report(
    ctx: Ctx,
    response: Response,
    head: str,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Default: the live one.")] = None,
    format: Annotated[Literal["json", "html"] | None, Query(description="Default: by Accept.")] = None,
    accept: Annotated[str, Header()] = "",
) -> Any:
    """How far a version can be trusted: figures, race, learning curve, suspected labels, … as JSON or as a page."""
    found = store.resolve(ctx.engine, HeadRef(head, version=version))
    view = ReportView.of(found, reports.load(ctx.engine, ctx.artifacts, found))
    if format == "json" or (format is None and not _prefers_page(accept)):
        response.headers["Vary"] = "Accept"
        return view
    from service.web import pages  # a serving process that shows nobody a page does not pay for the template engine

    modality = modality_of(found.manifest["backbone"])
    page = pages.render(
        view.model_dump(mode="json", exclude_none=True),
        lambda sha256: examples.stored(ctx.artifacts, examples.find(ctx.engine, head, sha256)),
        modality,
        ctx.settings.most[modality],
        drift.look(ctx.engine, found, WEEK),
    )
    headers = {"Content-Security-Policy": pages.policy(), "Vary": "Accept", "Cache-Control": "no-cache"}
    return HTMLResponse(page, headers=headers)


@router.get("/{head}/versions/{version}", responses=PROBLEMS)
def get_manifest(ctx: Ctx, head: str, version: Version) -> dict[str, Any]:
    """The manifest of a version: data, method, metrics, parity, tools."""
    found = store.resolve(ctx.engine, HeadRef(head, version=version))
    return found.manifest | {"status": found.status}


@router.delete("/{head}/versions/{version}", status_code=204, responses=PROBLEMS)
def delete_version(ctx: Ctx, head: str, version: Version) -> None:
    """Delete a version that no alias points at."""
    store.delete_version(ctx.engine, head, version)
    ctx.sweep()


@router.get("/{head}/versions/{version}/head.onnx", responses=PROBLEMS, response_class=Response)
def get_graph(ctx: Ctx, head: str, version: Version) -> Response:
    """The graph of a version: `embedding` f32 [N, R] in, `probabilities` f32 [N, K] out; labels in its metadata. A deep
    one takes what its trunk tells, `tap`, and, where the shallow head has a say, `embedding`, too.
    """
    found = store.resolve(ctx.engine, HeadRef(head, version=version))
    return _download(ctx, found, found.digest, f"{shown(head)}-{version}.onnx")


@router.get("/{head}/versions/{version}/trunk.onnx", responses=PROBLEMS, response_class=Response)
def get_trunk(ctx: Ctx, head: str, version: Version) -> Response:
    """The part of the backbone before a deep version's graph: an input's tensors in, `tap` out; all of the backbone,
    with `tap` beside its own output, where the version reads both.
    """
    found = store.resolve(ctx.engine, HeadRef(head, version=version))
    deep = found.manifest.get("deep")
    if deep is None:
        raise NotFound(
            f"version {version} of the head {shown(head)!r} reads no trunk: it is shallow, and reads what /embed has",
            item=f"{shown(head)}@{version}",
        )
    return _download(ctx, found, deep[kind_read(deep)], f"{shown(head)}-{version}-trunk.onnx")


def _download(ctx: Ctx, version: HeadVersion, digest: str, name: str) -> Response:
    """A blob that the version names. Raises HeadDamaged, StorageError."""
    headers = {"ETag": f'"{digest}"', "Content-Disposition": f'attachment; filename="{name}"'}
    data = store.stored(ctx.artifacts, version, digest)
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.put("/{head}/aliases/{alias}", responses=PROBLEMS | NOT_YET)
async def put_alias(
    ctx: Ctx, response: Response, head: str, alias: Alias, body: AliasRequest, wait: Everywhere = None
) -> AliasView:
    """Point an alias at a version: promote it to `live`, or roll back. With `expected` only if nobody has moved it."""
    generation = await WRITING.run(store.set_alias, ctx.engine, head, alias, body.version, body.expected)
    moved = AliasView(head=shown(head), alias=alias, version=body.version, generation=generation)
    if wait == "all":
        found = await served(ctx.engine, ctx.following, head, generation)
        moved.replicas = ReplicasView.of(found)
        response.status_code = 200 if found is not None and found.all else 202
    return moved


@router.delete("/{head}/aliases/{alias}", status_code=204, responses=PROBLEMS)
def delete_alias(ctx: Ctx, head: str, alias: Alias) -> None:
    """Remove an alias; the version stays."""
    store.delete_alias(ctx.engine, head, alias)


def _prefers_page(accept: str) -> bool:
    """Whether an Accept header names HTML, as browsers do, and not JSON before it."""
    named = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((kind for kind in named if kind in ("text/html", "application/json")), "") == "text/html"
