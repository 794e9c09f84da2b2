"""Asking a graph about many examples whose embeddings are cached."""

from collections.abc import Sequence

import numpy as np

from adapters.runtime.heads.head import Head
from adapters.store.embeddings import EmbeddingCache
from adapters.types import Floats

AT_A_TIME = 2048  # examples: a graph keeps copies of what it is given


def said(head: Head, cache: EmbeddingCache, sha256s: Sequence[str]) -> Floats:
    """What a head says of N ≥ 1 examples, f32 [N, K]. Raises CorruptArtifact for one without an embedding."""
    parts = (sha256s[start : start + AT_A_TIME] for start in range(0, len(sha256s), AT_A_TIME))
    return np.concatenate([head.run(cache.get(part, head.reads)[0]) for part in parts])
