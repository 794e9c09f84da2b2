"""A version in memory, as requests hold it."""

from dataclasses import dataclass
from typing import Any

from adapters import trust
from adapters.backbones import cuts
from adapters.rollout.facts import Arm, Rollout
from adapters.runtime.heads.head import Head
from adapters.tenancy import shown
from adapters.types import Floats, HeadVersion


@dataclass(frozen=True, slots=True)
class Reading:
    """What a deep head reads instead of an embedding."""

    trunk: cuts.Part
    whole: cuts.Part  # tells it beside the embedding, in one pass
    share: float  # of the backbone's work that the head does itself, 0 to 1
    beside: int = 0  # numbers of the embedding that it reads as well


@dataclass(frozen=True, slots=True)
class LiveHead:
    """One version, loaded."""

    version: HeadVersion
    head: Head
    backbone_digest: str
    classes: tuple[str, ...]
    task: str
    of_truth: Floats  # [M] ascending, what held-out answers gave the truth: sets are made from it
    modality: str  # what it reads
    numbers: int  # of one answer
    source: str  # digest of what tells what it reads: of the backbone, of a trunk, or of a whole that tells both
    deep: Reading | None = None
    trial: "Trial | None" = None  # of a request that asked for `live` while a roll-out is under way

    @property
    def needs(self) -> tuple[str, ...]:
        """Digests of backbone and trunk, as far as it reads what they tell."""
        if self.deep is None or not self.deep.beside:
            return (self.source,)
        return self.deep.trunk.digest, self.backbone_digest

    def terms(self, coverage: float | None, accuracy: float | None) -> trust.Terms:
        """What a request asks of this version. Raises NotEnoughHeldOut, InvalidInput."""
        if coverage is None and accuracy is None:
            return trust.Terms()
        name = f"head {shown(self.version.head)!r}, version {self.version.number}"
        return trust.terms(name, self.of_truth, self.version.manifest.get("trust", {}), coverage, accuracy)


def reading(manifest: dict[str, Any]) -> Reading | None:
    """What a version reads that is deep; None of a shallow one."""
    deep = manifest.get("deep")
    if deep is None:
        return None
    backbone = manifest["backbone"]["digest"]
    trunk, whole = cuts.part(backbone, deep, "trunk"), cuts.part(backbone, deep, "whole")
    return Reading(trunk, whole, float(deep["cut"]["share"]), deep.get("beside", 0))


@dataclass(frozen=True, slots=True)
class Trial:
    """A request's part in a roll-out."""

    rollout: Rollout
    arm: Arm  # who answers
    other: LiveHead | None  # the version that does not, where it is at hand
    compare: bool = False  # ask the other one, too, once the answer is out
