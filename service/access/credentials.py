"""What a request brings to show who it is from: `Authorization: Bearer …`, or a browser's `Basic` with the key as the
password. Nothing in the address: addresses are in logs and histories.
"""

import base64
from collections.abc import MutableMapping
from typing import Any

from service.access.refusals import Unauthorized

MOST = 16 * 1024  # characters: a token with many groups


def given(scope: MutableMapping[str, Any]) -> str | None:
    """The key or token of a request; None where it brings none. Raises Unauthorized."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if not found:
        return None
    if len(found) > 1:
        raise Unauthorized("there are several Authorization headers; send one", item="Authorization")
    kind, _, value = found[0].decode("latin-1").partition(" ")
    value = value.strip()
    if kind.lower() == "bearer" and value and len(value) <= MOST:
        return value
    if kind.lower() == "basic":
        return _password(value)
    raise Unauthorized("send a key or a token as `Authorization: Bearer …`", item="Authorization")


def _password(value: str) -> str:
    try:
        _, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:  # no ASCII, no base64, no UTF-8
        password = ""
    if not password:
        raise Unauthorized("Basic needs a key as the password; the user's name does not matter", item="Authorization")
    return password
