"""Backbones: one card (TOML) per embedded backbone, a loader (timm) and an exporter (ONNX)."""
