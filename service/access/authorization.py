"""THE choke point: every request passes here, before any route is looked for, and leaves as a call or as a refusal.

Routes, BentoML's included, `/metrics`, `/docs` and static files are let through by rows of one table (`rules`): what
has no row is not there. Nothing is read of a body before it is known who sent it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from service.access.principal import LOCAL, Call, Principal, refused
from service.access.rules import ANY, OPEN, Rules

Scope = MutableMapping[str, Any]
Authenticate = Callable[[Scope], Awaitable[Principal]]
ANYBODY = Call(LOCAL, None)  # at what is open, which asks for nobody


async def local(scope: Scope) -> Principal:
    """Nobody needs a key."""
    return LOCAL


class Authorization:
    """Lets requests in. `authenticate` says whose one is, and raises Unauthorized."""

    def __init__(self, authenticate: Authenticate = local, rules: Rules | None = None) -> None:
        self._authenticate, self._rules = authenticate, rules or Rules()

    async def authorize(self, scope: Scope) -> Call:
        """Who asks, and for what. Raises Unauthorized, Forbidden; HTTPException 404 and 405 once it is known who asks.

        Which heads a principal may ask is looked at where their names come in: `principal.mine`.
        """
        rule = self._rules.find(scope["path"])
        verb = rule.methods.get(scope["method"]) if rule else None
        if verb == OPEN:
            return ANYBODY
        who = await self._authenticate(scope)
        if rule is None:
            raise HTTPException(404)
        if verb is None:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(rule.methods))})
        if verb == ANY:
            return Call(who, None)
        if not who.allows(verb):
            raise refused(verb)
        return Call(who, verb)
