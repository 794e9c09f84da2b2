"""Parts of a backbone that deep versions read, as backbones of their own. No torch, no onnx: serving uses it.

A deep version's manifest names two graphs that were derived from its backbone: the *trunk*, from the input to the cut,
whose one output is `tap`; and the *whole*, which tells the embedding and the tap in one pass, for requests that ask
shallow and deep heads at a time. Both are kept in the artifact store.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from adapters.errors import InvalidInput
from adapters.recipe import AUTO
from adapters.types import Backbone

RECORD = "cuts"  # in the details of a backbone, which are not part of its digest
UNKNOWN = "untrainable"  # and there, too: operators that keep it from being cut elsewhere, where there are any
SEQUENCE = "sequence"  # the kind of a cut of what varies in length
TAP = "tap"  # the output of a trunk, and the input of a deep head
Kind = Literal["trunk", "whole"]
KINDS: tuple[Kind, ...] = ("trunk", "whole")


@dataclass(frozen=True, slots=True)
class Part:
    """One of the two graphs, and what it tells at the cut."""

    digest: str  # of backbone, cut, kind and artifact: names it among backbones, and in no row or manifest
    kind: Kind
    backbone: str  # digest of the backbone that it was derived from
    artifact: str  # SHA-256 of its ONNX file
    cut: str  # name
    dtype: str  # numpy's name, of `tap`
    shape: tuple[int, ...]  # of one input's `tap`, without the batch dimension


def check(there: Sequence[str], asked: str = AUTO, unknown: Sequence[str] = ()) -> None:
    """Whether a backbone with cuts of these names can be cut as is asked. Raises InvalidInput that lists them.

    `unknown`: operators that cannot be trained, for which some cuts are missing.
    """
    why = f"; cuts before an operator that cannot be trained here are left out: {', '.join(unknown)}" if unknown else ""
    if not there:
        raise InvalidInput(f"this backbone cannot be cut, so it has no tail to train{why}", item="backbone")
    if asked not in (AUTO, *there):
        raise InvalidInput(f"there is no cut {asked[:50]!r}; there are: {', '.join(there)}{why}", item="unfreeze")


def check_recorded(backbone: Backbone, asked: str = AUTO) -> None:
    """The same as far as its cuts are on record: those of an older one are known once its graph is read."""
    if RECORD in backbone.details:
        check([row["name"] for row in backbone.details[RECORD]], asked, backbone.details.get(UNKNOWN, ()))


def check_views(kinds: Iterable[str], augment: str) -> None:
    """Whether taps of these kinds can be had of other views of an example. Raises InvalidInput."""
    if SEQUENCE in kinds and augment not in (AUTO, "none"):
        raise InvalidInput(f"augment={augment} is of pixels, and this backbone reads none", item="augment")


def part(backbone: str, deep: Mapping[str, Any], kind: Kind) -> Part:
    """A part of the backbone of that digest, by the `deep` of a version's manifest.

    Where another release cuts elsewhere under the same name it is another part: its graph is another.
    """
    cut = deep["cut"]
    digest = hashlib.sha256(f"{backbone}:{cut['name']}:{kind}:{deep[kind]}".encode()).hexdigest()
    return Part(digest, kind, backbone, deep[kind], cut["name"], cut["dtype"], tuple(cut["shape"]))


def read_by(backbone: str, deep: Mapping[str, Any]) -> Part:
    """The part that tells what a deep version reads: the trunk, or, where it reads embeddings as well, the whole."""
    return part(backbone, deep, kind_read(deep))


def kind_read(deep: Mapping[str, Any]) -> Kind:
    """Which of the two that is, by the `deep` of a version's manifest."""
    return "whole" if deep.get("beside") else "trunk"


def of(base: Backbone, wanted: Part) -> Backbone:
    """The backbone that a part of `base` is to the runtime. It reads the same inputs in the same way."""
    details = {**base.details, "of": base.digest, "cut": _told(wanted)}
    if wanted.kind == "trunk":
        details.pop("taps", None)
        details["output"] = TAP
    return replace(base, digest=wanted.digest, artifact=wanted.artifact, details=details)


def trunk_of(base: Backbone, deep: Mapping[str, Any]) -> Backbone:
    """The trunk of a deep version: one output, `tap`, of the cut's dtype and shape."""
    return of(base, part(base.digest, deep, "trunk"))


def blobs_of(manifest: Mapping[str, Any]) -> dict[Kind, str]:
    """What of a version's backbone is kept for it, SHA-256 by kind; nothing of a shallow one."""
    deep = manifest.get("deep") or {}
    return {kind: deep[kind] for kind in KINDS if kind in deep}


def _told(wanted: Part) -> dict[str, Any]:
    """Ready for JSON, as all details are."""
    return {"name": wanted.cut, "dtype": wanted.dtype, "shape": list(wanted.shape)}
