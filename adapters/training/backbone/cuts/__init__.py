"""Cuts: a backbone's graph in two, the trunk (input → tap) and the tail (tap → `pooled`).

A deep version owns a trained copy of a tail; the trunk runs once for all that are cut there. `listing` finds the ends
of blocks that a graph can be cut at, `work` weighs what comes after them, and `trainable` keeps those behind which is
nothing that cannot be trained. `halves` makes the two graphs, `floating` the tail in float32 that is trained, and
`proof` shows that trunk and tail answer as the whole does, bit for bit.
"""

from adapters.training.backbone.cuts.floating import floated
from adapters.training.backbone.cuts.halves import TAP, tail, trunk, whole
from adapters.training.backbone.cuts.listing import ALL, facts, find, listed, named, of, record
from adapters.training.backbone.cuts.proof import prove, prove_once

__all__ = [
    "ALL",
    "TAP",
    "facts",
    "find",
    "floated",
    "listed",
    "named",
    "of",
    "prove",
    "prove_once",
    "record",
    "tail",
    "trunk",
    "whole",
]
