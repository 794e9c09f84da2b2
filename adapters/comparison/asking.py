"""Asking a graph about many examples whose embeddings are cached."""

from collections.abc import Sequence

from adapters import arrays
from adapters.runtime.heads.head import Head
from adapters.store.embeddings import EmbeddingCache
from adapters.types import Arrays

AT_A_TIME = 2048  # examples: a graph keeps copies of what it is given


def said(head: Head, cache: EmbeddingCache, sha256s: Sequence[str]) -> Arrays:
    """What a head says of N ≥ 1 examples. Raises CorruptArtifact for one without an embedding."""
    parts = (sha256s[start : start + AT_A_TIME] for start in range(0, len(sha256s), AT_A_TIME))
    return arrays.joined([head.answer(cache.get(part, head.reads)[0]).arrays for part in parts])
