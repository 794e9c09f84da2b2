"""Backbones: export, other precisions, taps."""
