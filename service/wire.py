"""What the rooms' parts of the wire contract are made of: names, numbers, moments, problems, labels."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from adapters import tenancy
from adapters.errors import InvalidInput
from adapters.types import HeadRef

HEAD_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
ALIAS_NAME = r"^[a-z][a-z0-9._-]{0,62}$"
VERSION_OR_ALIAS = r"^([1-9][0-9]{0,8}|[a-z][a-z0-9._-]{0,62})$"
HEAD_REFERENCE = r"^[a-z0-9][a-z0-9._-]{0,62}(@([1-9][0-9]{0,8}|[a-z][a-z0-9._-]{0,62}))?$"


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):  # pydantic would take true for 1 and "3" for 3, which the schema does not say
        raise ValueError("must be a number")
    return value


def _moment(value: Any) -> Any:
    if isinstance(value, str) and "-" not in value[1:]:  # pydantic would take "0.5" for half a second after 1970 began
        raise ValueError("must be a date and time, as 2026-01-31T12:00:00Z")
    return value


NUMBER = BeforeValidator(_number)
Moment = Annotated[datetime, BeforeValidator(_moment)]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]  # to look something up by: Postgres has no NUL in texts


class Wire(BaseModel):
    """Base of everything on the wire."""

    model_config = ConfigDict(extra="forbid")


class ItemProblem(BaseModel):
    """One bad item of many."""

    item: str = Field(description="Which: an input by its position and name, a line of a manifest, a class.")
    code: str
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details; `code` is stable, `item` names what is at fault."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    item: str | None = None
    errors: list[ItemProblem] | None = Field(None, description="Every bad item where items are at fault; at most 50.")
    error_count: int | None = Field(None, description="How many there are, listed or not.")
    limit: int | None = Field(None, description="Of `quota_exceeded`: the most there may be of `item`.")
    used: int | None = Field(None, description="Of `quota_exceeded`: how much there is.")
    request_id: str | None = Field(None, description="As in `X-Request-Id`: what the log lines of the request carry.")


def reference(text: str) -> HeadRef:
    """One reference by the name under which the head is kept. Raises InvalidInput."""
    name, mark, selector = text.partition("@")
    check_head_name(tenancy.shown(name))
    if not mark:
        return HeadRef(name)
    if re.fullmatch(r"[1-9][0-9]{0,8}", selector):
        return HeadRef(name, version=int(selector))
    if not re.fullmatch(ALIAS_NAME, selector):
        hint = "a version number or an alias such as live"
        raise InvalidInput(f"head {text[:100]!r}: after the @ comes {hint}", item=text[:100])
    return HeadRef(name, alias=selector)


def check_head_name(name: str) -> str:
    """The name itself. Raises InvalidInput unless it is lower-case letters, digits, '.', '_' and '-'."""
    if not re.fullmatch(HEAD_NAME, name):
        rule = "1–63 of a–z, 0–9, '.', '_' and '-', a letter or digit first"
        raise InvalidInput(f"head name {name[:100]!r} is not allowed: {rule}", item="head")
    return name
