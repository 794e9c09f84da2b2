"""`received` of a /finetune form: how a caller that read a folder itself understood it, and what it passed over.

The command line sends inputs under a manifest of its own, so that only it has seen the folder. What it says is bounded
and of a fixed shape, and the job says by `read_by` whose word it is; nothing is decided by it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from adapters.errors import InvalidInput
from adapters.problems import MOST
from adapters.types import SplitName
from service.intake import strict
from service.intake.datasets import names
from service.intake.datasets.sources import Received
from service.intake.uploads import Upload
from service.limits import json_text

FIELD = "received"
MOST_VALUES, MOST_CHARACTERS = 1000, 500_000  # of the JSON
MOST_COUNT = 10_000_000  # files that a caller may have passed over
MOST_TEXT = 10 * names.MOST_SHOWN  # characters: a name that is cut there, each character escaped as \U000e0001


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has characters that cannot be shown")
    return text


Text = Annotated[str, StringConstraints(max_length=MOST_TEXT), AfterValidator(_printable)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Item(_Strict):
    item: Text
    reason: Text


class _PassedOver(_Strict):
    count: Annotated[int, Field(ge=0, le=MOST_COUNT)]
    list: Annotated[list[_Item], Field(max_length=MOST)]


class Told(_Strict):
    """What may be said; `passed_over` as the job has it."""

    layout: Text
    root: Text = ""
    manifest: Text = ""
    names: Text = ""
    splits: Annotated[dict[Text, SplitName], Field(max_length=MOST)] = {}
    passed_over: _PassedOver = _PassedOver(count=0, list=[])


def added(received: Received, upload: Upload) -> Received:
    """What came, with what its sender says of where it came from. Raises InvalidInput."""
    text = upload.field(FIELD)
    if text is None:
        return received
    if upload.files("archive") or upload.part("manifest") is None:
        raise InvalidInput("'received' is about files that you have read and send with a `manifest`", item=FIELD)
    told = _told(text)
    if told.passed_over.count < len(told.passed_over.list):
        raise InvalidInput("'received.passed_over.count' is less than what its list has", item=FIELD)
    understood = told.model_dump(exclude={"passed_over"}) | {"read_by": "client"}
    return replace(received, understood=understood, told=told.model_dump()["passed_over"])


def _told(text: str) -> Told:
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(f"'received' has over {MOST_CHARACTERS:,} characters", item=FIELD)
    try:
        return Told.model_validate(json_text.loads(text, MOST_VALUES))
    except ValidationError as error:
        raise _invalid(error.errors(include_url=False)[0]) from None
    except ValueError as error:
        raise InvalidInput(f"'received' is not JSON: {str(error)[:100]}", item=FIELD) from None


def _invalid(problem: Mapping[str, Any]) -> InvalidInput:
    """The first thing that is wrong with it, in words."""
    place = [FIELD, *problem["loc"]]
    if problem["type"] == "extra_forbidden":
        strict.check_body(problem["loc"], Told)
    where = ".".join(map(str, place))[: names.MOST_SHOWN].encode("utf-8", "replace").decode()
    return InvalidInput(f"{where!r}: {problem['msg'][:200]}", item=where)
