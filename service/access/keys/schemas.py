"""The wire contract of keys."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from adapters.store.access.keys import Key
from adapters.store.database import now
from service.access.keys.administration import MOST_DAYS, MOST_NAME, MOST_OVERLAP, OVERLAP
from service.wire import NUMBER, Wire

Scope = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class KeyRequest(Wire):
    """What a new key is to be called, and may do."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=MOST_NAME)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=100)] = Field(
        description="Verbs (predict, read, teach, manage, metrics, admin); the first four may have a pattern of heads "
        "behind a colon, as in `predict:door-*`."
    )
    tenant: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        None, description="Whose key it is; by default the caller's tenant. Another one's only for operators."
    )
    expires_in_days: Annotated[float, NUMBER, Field(gt=0, le=MOST_DAYS)] | None = Field(
        None, description="Days until it ends; by default it does not."
    )


class RotateRequest(Wire):
    """How long the old key is good beside the new one."""

    overlap_seconds: Annotated[float, NUMBER, Field(ge=0, le=MOST_OVERLAP)] = OVERLAP


class KeyView(Wire):
    """One API key, without its secret."""

    id: str
    tenant: str = Field(description="Empty: the default tenant.")
    name: str
    scopes: list[str]
    status: Literal["good", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To about a minute.")
    replaces: str | None = Field(description="The key that was rotated into this one.")

    @classmethod
    def of(cls, key: Key) -> "KeyView":
        return cls.model_validate(_facts(key))


class NewKey(KeyView):
    """A key that was just made, with all of its text: shown now and never again."""

    key: str

    @classmethod
    def made(cls, key: Key, text: str) -> "NewKey":
        return cls.model_validate(_facts(key) | {"key": text})


class KeyPage(Wire):
    """Keys, the oldest first."""

    keys: list[KeyView]
    next: str | None = Field(description="Pass as `after` for the next page; null at the end.")


def _facts(key: Key) -> dict[str, Any]:
    facts = {name: value for name, value in asdict(key).items() if name != "digest"}
    status = "revoked" if key.revoked_at else "good" if key.is_good(now()) else "expired"
    return facts | {"scopes": list(key.scopes), "status": status}
