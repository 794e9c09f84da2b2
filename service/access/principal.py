"""Who calls: one frozen fact, found once a request (`authorization`) and known wherever the request is worked on.

A scope is a verb, or a verb with a pattern of head names: `predict`, `predict:door-*`. Verbs stand side by side, none
includes another; `admin` alone is all of them in its tenant. `metrics` are of all tenants, so the default one's alone.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase

from adapters import tenancy
from adapters.errors import InvalidInput
from service.access.refusals import Forbidden

VERBS = ("predict", "read", "teach", "manage", "metrics", "admin")
BY_HEAD = frozenset({"predict", "read", "teach", "manage"})  # those that may be limited to some heads
OF_ALL_TENANTS = frozenset({"metrics"})  # nobody of another tenant than the default one has these, `admin` or not
SCOPE = re.compile(r"([a-z]+)(?::([a-z0-9._*-]{1,63}))?", re.ASCII)
ANY = "*"


@dataclass(frozen=True, slots=True)
class Principal:
    """A key or a token that was proven, and what it may do in its tenant."""

    tenant: str  # "" is the default one
    name: str  # id of a key, or a token's subject; never a secret
    scopes: tuple[str, ...]

    @property
    def is_operator(self) -> bool:
        """Whether it may look after all tenants: an administrator of the default one."""
        return self.tenant == tenancy.DEFAULT and "admin" in self.scopes

    def allows(self, verb: str, head: str | None = None) -> bool:
        """Whether it may do that at all; with `head` (as its owner calls it) whether to that one."""
        if verb in OF_ALL_TENANTS and self.tenant != tenancy.DEFAULT:
            return False
        return any(
            given in ("admin", verb) and (head is None or fnmatchcase(head, pattern or ANY))
            for given, _, pattern in (scope.partition(":") for scope in self.scopes)
        )

    def patterns(self, verb: str) -> tuple[str, ...] | None:
        """The patterns of head names to which a verb is limited; None where it is to none."""
        found = [scope.partition(":")[::2] for scope in self.scopes]
        limits = [pattern or ANY for given, pattern in found if given in ("admin", verb)]
        return None if ANY in limits else tuple(limits)


LOCAL = Principal(tenancy.DEFAULT, "local", ("admin",))  # whoever asks where no keys are needed


@dataclass(frozen=True, slots=True)
class Call:
    """A principal at one thing that its scopes allow."""

    principal: Principal
    verb: str | None  # None: what any principal may do


NOBODYS = Call(LOCAL, None)  # work that no request asked for

_CALL: ContextVar[Call] = ContextVar("call", default=NOBODYS)


def current() -> Principal:
    """Who asks for what is being worked on; LOCAL outside of any request."""
    return _CALL.get().principal


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """What is done inside, threads of anyio and asyncio included, is done for that caller."""
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


def mine(reference: str) -> str:
    """THE way of a head's name into the house: checked against the caller's scopes, and made its tenant's.

    `cats` → `acme/cats`, `cats@3` → `acme/cats@3`. Raises Forbidden. Of parts of an address that are called `head` each
    of our routes does it by itself (`service.api.routing`).
    """
    call = _CALL.get()
    who, name = call.principal, reference.partition("@")[0]
    if call.verb is not None and not who.allows(call.verb, name):
        raise refused(call.verb, name)
    return tenancy.qualified(who.tenant, reference)


def may_see(head: str) -> bool:
    """Whether a head, by the name under which it is kept, is the caller's tenant's and within its scopes."""
    call = _CALL.get()
    if tenancy.tenant_of(head) != call.principal.tenant:
        return False
    return call.verb is None or call.principal.allows(call.verb, tenancy.shown(head))


def refused(verb: str, head: str | None = None) -> Forbidden:
    """The error for who has not the scope."""
    scope = verb if head is None else f"{verb}:{head[:63]}"
    return Forbidden(f"this needs the scope {scope!r}, which your key or token has not", item=scope)


def checked_scopes(scopes: list[str], tenant: str) -> tuple[str, ...]:
    """Scopes as they may be given to a key of a tenant. Raises InvalidInput."""
    if not scopes:
        raise InvalidInput("a key needs at least one scope", item="scopes")
    for scope in scopes:
        found = SCOPE.fullmatch(scope)
        verb, pattern = found.groups() if found else (None, None)
        if verb not in VERBS or (pattern is not None and verb not in BY_HEAD):
            raise InvalidInput(f"{scope[:100]!r} is no scope; there are: {_known()}", item=scope[:100])
        if verb in OF_ALL_TENANTS and tenant != tenancy.DEFAULT:
            raise InvalidInput("metrics are of all tenants, so only keys of the default one see them", item="scopes")
    return tuple(dict.fromkeys(scopes))


def _known() -> str:
    return ", ".join(f"{verb}[:heads]" if verb in BY_HEAD else verb for verb in VERBS)
