"""Manifests as they would be applied, and pods of them that run here."""
