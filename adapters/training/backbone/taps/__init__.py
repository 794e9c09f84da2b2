"""Taps: what earlier blocks of a backbone saw, told by the same pass that makes `pooled`.

A linear head on the last layer alone cannot see texture, edges and small shapes, which earlier layers know and later
ones forget. With pooled maps of all of them it comes near full fine-tuning (Head2Toe, Evci et al., ICML 2022). Figures,
and what did not help: docs/adr/0010-taps.md.

`ends` finds the ends of blocks in an exported graph, `graph` adds the nodes that read them, `build` does both
and shows that nothing else has changed.
"""
