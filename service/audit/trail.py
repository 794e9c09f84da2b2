"""Every request that may change something leaves a row in the audit log, whatever becomes of it.

What the store changes it records itself, in the transaction of the change. A request that ends well and of which there
is no such row gets one before its answer is sent; one that is refused or fails gets one soon after (`refused`). So a
new route is in the log by rule; its own word in the store says more.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.engine import Engine

from adapters.store.audit import actor as actors
from adapters.store.audit.actor import Actor
from adapters.store.audit.recording import Entry, Outcome, write
from service import telemetry
from service.access.principal import Call
from service.access.rules import Rule, Rules
from service.access.same_site import READS
from service.audit.address import Proxies
from service.audit.refused import Refused
from service.database_threads import WRITING

CHANGES_NOTHING = frozenset({"predict", "metrics", "read"})  # verbs
ASKS = frozenset({"/heads/{head}/suggest"})  # POST, as inputs come with it


class Trail:
    """Follows the requests of a process; `engine` gives its database once it is open."""

    def __init__(self, engine: Callable[[], Engine | None], proxies: Proxies | None = None) -> None:
        self._engine, self._proxies, self._rules = engine, proxies or Proxies(), Rules()
        self.refused = Refused(engine)

    def address(self, scope: Mapping[str, Any]) -> str:
        """From where a request comes, which all logs say alike."""
        return self._proxies.address(scope)

    def begin(self, scope: Mapping[str, Any]) -> Actor:
        """Whoever asks, before it is known who that is."""
        return Actor(address=self.address(scope), request_id=request_id(scope))

    def follow(self, scope: Mapping[str, Any], call: Call, send: Any) -> tuple[Actor, Any] | None:
        """Who acts, and the `send` that its answer goes through; None where nothing can be changed."""
        if scope["method"] in READS or call.verb in CHANGES_NOTHING:
            return None
        rule = self._rules.find(scope["path"])
        if rule is None or rule.path in ASKS:
            return None
        actor = self.begin(scope)
        actor.tenant, actor.principal = call.principal.tenant, call.principal.name
        return actor, self._watching(scope, rule, actor, send)

    def refuse(self, scope: Mapping[str, Any], status: int, call: Call | None = None) -> None:
        """A request that was not let in: to be recorded where it might have changed something."""
        rule = self._rules.find(scope["path"])
        verb = rule.methods.get(scope["method"]) if rule else None
        if rule is None or verb is None or scope["method"] in READS or verb in CHANGES_NOTHING or rule.path in ASKS:
            return
        actor = self.begin(scope)
        if call is not None:
            actor.tenant, actor.principal = call.principal.tenant, call.principal.name
        self.refused.add(_entry(scope, rule, actor, status))

    def ending(self, send: Any) -> Any:
        """The same `send` for messages of the ASGI lifespan: nothing waits to be recorded when the process ends."""

        async def ended(message: Any) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                await asyncio.to_thread(self.refused.close)
            await send(message)

        return ended

    def _watching(self, scope: Mapping[str, Any], rule: Rule, actor: Actor, send: Any) -> Any:
        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                await self._end(scope, rule, actor, message["status"])
            await send(message)

        return watched

    async def _end(self, scope: Mapping[str, Any], rule: Rule, actor: Actor, status: int) -> None:
        engine = self._engine()
        if status >= 400:
            self.refused.add(_entry(scope, rule, actor, status))
        elif not actor.recorded and engine is not None:
            await WRITING.run(write, engine, [_entry(scope, rule, actor, status)])
        if status < 400:
            telemetry.AUDITED.labels("done").inc()


def _entry(scope: Mapping[str, Any], rule: Rule, actor: Actor, status: int) -> Entry:
    outcome: Outcome = "done" if status < 400 else "refused" if status < 500 else "failed"
    return Entry(f"{scope['method']} {rule.path}", {"path": scope["path"]}, outcome, status, actor)


def request_id(scope: Mapping[str, Any]) -> str:
    """That of the request, where it has been given one; else a new one."""
    return str(scope.get("state", {}).get("request_id") or secrets.token_hex(8))


acting = actors.acting
