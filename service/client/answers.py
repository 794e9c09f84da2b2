"""Asking heads and backbones."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from service.client.errors import Json
from service.client.inputs import fields, file
from service.client.transport import Transport

Files = Iterable[bytes | Path]  # bytes, or paths of files


class Answers(Transport):
    """/predict, /embed and suggestions: about `images`, `texts`, or `inputs` of the kind that a head reads."""

    def predict(
        self, heads: Sequence[str], images: Files = (), *, texts: Sequence[str] = (), inputs: Files = (), **options: Any
    ) -> Json:
        """Ask heads about inputs. Options: top_k, on_error, timeout, sticky, min_generation, …"""
        return self._ask("/predict", {"head": list(heads)} | options, images, texts, inputs)

    def embed(self, images: Files = (), *, texts: Sequence[str] = (), inputs: Files = (), **options: Any) -> Json:
        """Embeddings of inputs."""
        return self._ask("/embed", options, images, texts, inputs)

    def suggest(
        self, head: str, images: Files = (), *, texts: Sequence[str] = (), inputs: Files = (), **options: Any
    ) -> Json:
        """Which of these unlabeled inputs to label next. Options: count, on_error."""
        return self._ask(f"/heads/{head}/suggest", options, images, texts, inputs)

    def _ask(self, path: str, options: Json, images: Files, texts: Sequence[str], inputs: Files) -> Json:
        """Texts go as JSON, in which nothing of them can be lost; files in a form."""
        files = [file("images", one) for one in images] + [file("inputs", one) for one in inputs]
        if texts and not files:
            said = {key: value for key, value in options.items() if value is not None}
            return self._json("POST", path, json=said | {"texts": list(texts)})
        form = {"head": options["head"]} if "head" in options else {}
        form |= fields({key: value for key, value in options.items() if key != "head"})
        return self._json("POST", path, data=form | ({"texts": list(texts)} if texts else {}), files=files)
