"""Listening on more than this machine takes keys, or the operator's word: looked at before anything listens.

`espalier serve` asks when it is called, BentoML's arbiter before it starts any process, since `bentoml serve` listens
on all addresses unless it is told otherwise.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from adapters.errors import InvalidInput

if TYPE_CHECKING:
    from service.settings import Settings

BENTOML = "0.0.0.0"  # its default
LOCAL = ("localhost", "::1")


def of_command(arguments: Sequence[str] = sys.argv, environment: Mapping[str, str] = os.environ) -> str:
    """The address that `bentoml serve` was told to listen on."""
    for position, argument in enumerate(arguments):
        if argument == "--host" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith("--host="):
            return argument.removeprefix("--host=")
    return environment.get("BENTOML_HOST") or BENTOML


def is_local(host: str) -> bool:
    """Whether only this machine can connect there."""
    return host in LOCAL or host.startswith("127.")


def refuse(host: str, settings: "Settings") -> None:
    """Raises InvalidInput where strangers could connect and nobody would ask them for a key."""
    if is_local(host) or settings.insecure or needs_keys(settings):
        return
    raise InvalidInput(
        f"without keys the service listens on this machine only, not on {host}. Make a key (`espalier keys create "
        "--scope admin`) or set ESPALIER_ADMIN_KEY; or say --insecure (ESPALIER_INSECURE=true) where something before "
        "it keeps strangers out",
        item="--host",
    )


def needs_keys(settings: "Settings") -> bool:
    """Whether whoever asks must show a key or a token."""
    if settings.access != "auto":
        return settings.access == "keys"
    return bool(settings.admin_secret() or settings.oidc_issuer) or _are_there(settings)


def _are_there(settings: "Settings") -> bool:
    from adapters.store import database
    from adapters.store.access import keys

    engine = database.connect(settings.database)
    try:
        database.migrate(engine)
        return keys.stamp(engine)[0] > 0
    finally:
        engine.dispose()
