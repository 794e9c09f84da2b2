"""Asking deep versions about stored examples: each goes through the trunk again, as when it is predicted.

Taps are kept nowhere: one is tens of times as large as an embedding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapters import arrays, modalities
from adapters.backbones import cuts
from adapters.problems import naming
from adapters.runtime.backbone import Backbones
from adapters.runtime.heads import pairs
from adapters.runtime.heads.head import Head
from adapters.store.examples import stored
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Arrays, Backbone, Example, HeadVersion, Rows, Tensors

AT_A_TIME = 64  # examples: of the embedded backbone up to 6 MB of taps


@dataclass(frozen=True, slots=True)
class Trunks:
    """The way from stored examples to what deep heads read."""

    backbones: Backbones
    artifacts: Artifacts
    most: Mapping[str, int]  # UNITs of one input, by modality

    def said(self, head: Head, version: HeadVersion, examples: Sequence[Example]) -> Arrays:
        """What a deep version says of N ≥ 1 examples. Raises ExampleDamaged, BackboneNotFound, InvalidInput."""
        wanted = cuts.read_by(version.manifest["backbone"]["digest"], version.manifest["deep"])
        return arrays.joined([head.answer(part).arrays for part in self._parts(wanted, examples)])

    def taps(self, wanted: cuts.Part, examples: Sequence[Example]) -> Rows:
        """What a trunk tells of N ≥ 1 examples, [N, *shape]; of a whole `Pairs`."""
        return pairs.joined(list(self._parts(wanted, examples)))

    def _parts(self, wanted: cuts.Part, examples: Sequence[Example]) -> Iterator[Rows]:
        session = self.backbones.get(wanted)
        for start in range(0, len(examples), AT_A_TIME):
            decoded = (self.decoded(session.backbone, one) for one in examples[start : start + AT_A_TIME])
            yield pairs.rows([session.embed([tensors])[0] for tensors in decoded])

    def decoded(self, backbone: Backbone, example: Example) -> Tensors:
        """A stored example as it is served. Raises ExampleDamaged, and InvalidInput that names its file."""
        most = modalities.most_of(backbone.modality, self.most)
        data = stored(self.artifacts, example)
        with naming(example.file_name):
            return modalities.of(backbone).decode(data, backbone.spec, most=most)
