"""Asking heads and backbones."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from service.client.errors import Json
from service.client.inputs import fields, file
from service.client.transport import Transport


class Answers(Transport):
    """/predict, /embed and suggestions."""

    def predict(self, heads: Sequence[str], images: Iterable[bytes | Path], **options: Any) -> Json:
        """Ask heads about images: bytes or paths. Options: top_k, on_error, timeout, sticky, min_generation, …"""
        form = {"head": list(heads)} | fields(options)
        return self._json("POST", "/predict", data=form, files=[file(image) for image in images])

    def embed(self, images: Iterable[bytes | Path], **options: Any) -> Json:
        """Embeddings of images."""
        return self._json("POST", "/embed", data=fields(options), files=[file(image) for image in images])

    def suggest(self, head: str, images: Iterable[bytes | Path], **options: Any) -> Json:
        """Which of these unlabeled images to label next. Options: count, on_error."""
        files = [file(image) for image in images]
        return self._json("POST", f"/heads/{head}/suggest", data=fields(options), files=files)
