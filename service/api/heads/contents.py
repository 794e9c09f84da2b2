"""Stored bytes of inputs as answers: somebody else's bytes under our address."""

from collections.abc import Callable

from fastapi.responses import Response
from sqlalchemy.engine import Engine

from adapters import modalities
from adapters.backbones.facts import modality_of
from adapters.errors import WrongModality
from adapters.store import heads
from adapters.types import ORIGINAL

# Shown as what they are, never run as a page or a script.
SAFE = {"Content-Security-Policy": "default-src 'none'; sandbox"}


def of_head(engine: Engine, head: str) -> str:
    """What a head reads: the live version, or before there is one the newest. Raises HeadNotFound."""
    version = heads.find_live(engine, head) or next(iter(heads.summary(engine, head).versions), None)
    return ORIGINAL if version is None else modality_of(version.manifest["backbone"])


def answer(engine: Engine, head: str, sha256: str, read: Callable[[], bytes], *, image: bool = False) -> Response:
    """What a head holds under a SHA-256, once it is found; with `image` an image alone. Raises WrongModality."""
    modality = of_head(engine, head)
    if image:
        _require_image(modality)
    return _response(read(), sha256, modality)


def _response(data: bytes, sha256: str, modality: str) -> Response:
    """The bytes as they were sent, with their media type."""
    headers = SAFE | {"ETag": f'"{sha256}"', "Cache-Control": "private, no-cache", "Content-Disposition": "inline"}
    return Response(data, media_type=modalities.get(modality).media_type(data), headers=headers)


def _require_image(modality: str) -> None:
    """Raises WrongModality for what /image does not show: it is the older address of images alone."""
    if modality != ORIGINAL:
        noun = modalities.get(modality).NOUN
        raise WrongModality(
            f"it is a {noun}, not an {modalities.get(ORIGINAL).NOUN}; /content in the place of /image has it"
        )
