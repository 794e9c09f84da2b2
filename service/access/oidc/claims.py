"""What a token's claims give: the operator's rules, the first that fits.

[[rule]]
when = { groups = "vision-team" }   # a claim that is this, or a list with it; several must all be so
tenant = "acme"                     # or "{org}": what that claim says; "" is the default tenant
scopes = ["predict", "read", "teach:door-*"]
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters import tenancy
from adapters.errors import InvalidInput
from service.access.principal import Principal, checked_scopes
from service.access.refusals import Forbidden

FROM_CLAIM = re.compile(r"\{([A-Za-z0-9_.:/-]+)\}")
FIELDS = frozenset({"when", "tenant", "scopes"})
MOST_SUBJECT = 200  # characters


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """One rule."""

    when: Mapping[str, Any]
    tenant: str
    scopes: tuple[str, ...]

    def fits(self, claims: Mapping[str, Any]) -> bool:
        """Whether all that it asks for is so."""
        return all(_is(_at(claims, name), wanted) for name, wanted in self.when.items())

    def tenant_of(self, claims: Mapping[str, Any]) -> str:
        """Raises Forbidden where the claim names none that could be."""
        found = FROM_CLAIM.fullmatch(self.tenant)
        if not found:
            return self.tenant
        named = _at(claims, found.group(1))
        # Nothing, and so the default tenant, is no tenant that a claim may name.
        if not isinstance(named, str) or not named or not tenancy.is_tenant(named):
            raise Forbidden(f"the claim {found.group(1)!r} of this token names no tenant", item=found.group(1))
        return named


def read(path: Path) -> list[ClaimRule]:
    """The rules of a file. Raises InvalidInput."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get("rule", [])
    except (OSError, ValueError) as error:
        raise InvalidInput(f"ESPALIER_OIDC_RULES cannot be read: {error}", item="oidc_rules") from None
    if not isinstance(found, list) or not found:
        raise InvalidInput("ESPALIER_OIDC_RULES has no [[rule]], so no token would give anything", item="oidc_rules")
    return [_rule(number, facts) for number, facts in enumerate(found, 1)]


def principal(claims: Mapping[str, Any], rules: list[ClaimRule]) -> Principal:
    """Who a proven token is. Raises Forbidden where no rule fits."""
    rule = next((rule for rule in rules if rule.fits(claims)), None)
    if rule is None:
        raise Forbidden("the token is valid, but no rule of this service gives it anything", item="Authorization")
    subject = str(claims["sub"])[:MOST_SUBJECT]
    return Principal(rule.tenant_of(claims), f"token:{subject}", rule.scopes)


def _rule(number: int, facts: Any) -> ClaimRule:
    where = f"rule {number} of ESPALIER_OIDC_RULES"
    if not isinstance(facts, dict) or set(facts) - FIELDS or "scopes" not in facts or "tenant" not in facts:
        raise InvalidInput(f"{where} needs tenant and scopes, and may have when, and nothing else", item="oidc_rules")
    tenant, scopes, when = facts["tenant"], facts["scopes"], facts.get("when", {})
    if not isinstance(tenant, str) or not (FROM_CLAIM.fullmatch(tenant) or tenancy.is_tenant(tenant)):
        raise InvalidInput(f"{where}: a tenant cannot be called {tenant!r}", item="oidc_rules")
    if not isinstance(scopes, list) or not isinstance(when, dict):
        raise InvalidInput(f"{where}: scopes is a list, when a table", item="oidc_rules")
    try:
        return ClaimRule(when, tenant, checked_scopes([str(scope) for scope in scopes], tenant))
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error.message}", item="oidc_rules") from None


def _at(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by a path with dots in it; None where there is none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _is(claim: Any, wanted: Any) -> bool:
    if isinstance(claim, list):
        return any(_is(one, wanted) for one in claim)
    return type(claim) is type(wanted) and bool(claim == wanted)
