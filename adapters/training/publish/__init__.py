"""From a trained draft to a version: export, parity, the live version's evidence, manifest."""
