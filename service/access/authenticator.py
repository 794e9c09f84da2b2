"""Whose a request is: of a key of the ring, of the operator's own key, of a token of the issuer, or of nobody."""

import hashlib
import hmac
import ipaddress
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Engine

from adapters.errors import NotReady
from service.access import credentials
from service.access.attempts import Attempts
from service.access.keys.keyring import KeyRing
from service.access.principal import LOCAL, Principal
from service.access.refusals import Forbidden, TooManyAttempts, Unauthorized
from service.database_threads import READING
from service.settings import Settings

if TYPE_CHECKING:
    from service.access.oidc.tokens import Tokens

ADMIN = Principal("", "admin", ("admin",))  # whoever has ESPALIER_ADMIN_KEY
MISSING = "this needs a key: send it as `Authorization: Bearer esp_…` (a browser asks for it as the password)"
WRONG = "the key or token is not valid: it is unknown, revoked or expired"


class Authenticator:
    """Says who asks. Raises Unauthorized, TooManyAttempts, and Forbidden for who needs no key but does not ask from
    this machine.
    """

    def __init__(
        self, settings: Settings, ring: KeyRing, tokens: "Tokens | None" = None, attempts: Attempts | None = None
    ) -> None:
        self._settings, self._ring, self._tokens = settings, ring, tokens
        self._attempts = attempts or Attempts(settings.wrong_keys_per_minute)
        admin = settings.admin_secret()
        self._admin = hashlib.sha256(admin.encode()).digest() if admin else None
        self._local: dict[Any, bool] = {}  # by address that was asked: the same few

    @classmethod
    def open(cls, settings: Settings, engine: Engine, attempts: Attempts | None = None) -> "Authenticator":
        """With all keys read, and followed from now on. Raises InvalidInput where a setting cannot be meant."""
        ring = KeyRing(engine, settings.pepper(), settings.poll_seconds)
        found = cls(settings, ring, _tokens(settings), attempts)
        ring.start()
        return found

    def follow(self) -> None:
        """A key was changed here: this process knows at once."""
        self._ring.refresh()

    def close(self) -> None:
        """Follow no more."""
        self._ring.stop()

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a key."""
        if self._settings.access != "auto":
            return self._settings.access == "open"
        return not (self._ring.is_used or self._admin or self._tokens)

    async def __call__(self, scope: MutableMapping[str, Any]) -> Principal:
        if self.is_open:
            return self._nobody(scope)
        text = credentials.given(scope)
        if text is None:
            raise Unauthorized(MISSING, item="Authorization")
        return self._known(text) or await self._found(text, scope)

    async def _found(self, text: str, scope: MutableMapping[str, Any]) -> Principal:
        """Whose a key or a token is that is not in memory. Raises Unauthorized, TooManyAttempts."""
        found, suspect = None, self._attempts.wait(scope) > 0
        if not suspect and self._ring.may_be_new(text):
            await READING.run(self._ring.refresh)
            found = self._known(text)
        if found is None and self._tokens is not None:
            found = await self._tokens.find(text, suspect)
        if found is None:
            self._attempts.failed(scope)
            raise Unauthorized(WRONG, item="Authorization")
        return found

    async def lets_in(self, scope: MutableMapping[str, Any]) -> bool:
        """Whether a request that was let in would be again: its key may have been revoked or expired since."""
        try:
            await self(scope)
        except (Unauthorized, TooManyAttempts, Forbidden):
            return False
        except NotReady:  # the issuer of tokens is away: as it was
            return True
        return True

    def _known(self, text: str) -> Principal | None:
        if self._admin and hmac.compare_digest(hashlib.sha256(text.encode()).digest(), self._admin):
            return ADMIN
        found = self._ring.find(text)
        return self._tokens.remembered(text) if found is None and self._tokens is not None else found

    def _nobody(self, scope: MutableMapping[str, Any]) -> Principal:
        """Without keys only this machine is answered, also where somebody made the service listen on more."""
        asked = (scope.get("server") or ("",))[0]
        if not self._settings.insecure:
            local = self._local.get(asked)
            if local is None:
                local = is_loopback(asked)
                if len(self._local) < 1000:
                    self._local[asked] = local
            if not local:
                raise Forbidden(REMOTE, item="Host")
        return LOCAL


def check(settings: Settings) -> None:
    """Raises InvalidInput where a setting cannot be meant."""
    settings.admin_secret()
    _tokens(settings)


def _tokens(settings: Settings) -> "Tokens | None":
    if not settings.oidc_issuer:
        return None
    from service.access.oidc.tokens import Tokens  # needs a library that others do without

    return Tokens.of(settings)


REMOTE = (
    "without keys only this machine is answered; make one with `espalier keys create`, or set ESPALIER_INSECURE=true "
    "where something before the service keeps strangers out"
)


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own; a name or a socket in the file system counts as that."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback
