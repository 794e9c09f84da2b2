"""Whose rows a list may show: those of one tenant's heads, and of them those that fit a pattern."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from adapters import tenancy

_ESCAPE = "\\"
_LIKE = str.maketrans({"%": r"\%", "_": r"\_", _ESCAPE: r"\\", "*": "%"})


@dataclass(frozen=True, slots=True)
class Whose:
    """A tenant's rows; with `patterns` (`*` is anything) those of some heads. A tenant of None: all rows there are."""

    tenant: str | None
    patterns: tuple[str, ...] | None = None  # None: every head

    def of(self, name: Any) -> list[sa.ColumnElement[bool]]:
        """Conditions on a column that has names under which heads are kept."""
        if self.tenant is None:
            return []
        return [_in_tenant(name, self.tenant), *self._fitting(name)]

    def _fitting(self, name: Any) -> list[sa.ColumnElement[bool]]:
        if self.patterns is None:
            return []
        begins = tenancy.qualified(self.tenant or "", "").translate(_LIKE)
        fit = [name.like(begins + pattern.translate(_LIKE), escape=_ESCAPE) for pattern in self.patterns]
        return [sa.or_(sa.false(), *fit)]


def _in_tenant(name: Any, tenant: str) -> sa.ColumnElement[bool]:
    if tenant:
        found: sa.ColumnElement[bool] = name.like(f"{tenant}{tenancy.SEPARATOR}%")  # a tenant's name has no % and no _
        return found
    return name.not_like(f"%{tenancy.SEPARATOR}%") & (name != "")  # nobody's: the head was deleted


ANYBODYS = Whose(None)
