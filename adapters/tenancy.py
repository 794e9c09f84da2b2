"""Whose a head is: its name is kept as `tenant/name`, and as `name` alone where it is the default tenant's.

So one tenant's heads cannot even be named by another, and homes from before there were tenants are the default one's.
Nothing but this file knows how the two are put together (docs/adr/0018-heads-are-named-by-tenant.md).
"""

import re
from typing import Final

DEFAULT: Final = ""  # the tenant of whoever needs no key
IN_LOGS: Final = "default"  # in place of its name, which is none
SEPARATOR: Final = "/"  # in no head's name
MOST: Final = 40  # characters of a tenant's name
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)


def qualified(tenant: str, name: str) -> str:
    """The name under which a tenant's head is kept; one that no head can have where `name` is none of a head's."""
    if SEPARATOR in name:
        name = f"{SEPARATOR}{name}"  # else the default tenant could name another's
    return f"{tenant}{SEPARATOR}{name}" if tenant else name


def embedded_by(head: str, digest: str) -> str:
    """A backbone's digest as embeddings for a head's tenant are kept: what it has had embedded, no other learns of."""
    return qualified(tenant_of(head), digest)


def shown(name: str) -> str:
    """The name as its owner knows it: `acme/cats` → `cats`."""
    return name.rpartition(SEPARATOR)[2]


def tenant_of(name: str) -> str:
    """`acme/cats` → `acme`; DEFAULT for a name alone."""
    return name.rpartition(SEPARATOR)[0]


def in_log(head: str) -> dict[str, dict[str, str]]:
    """`extra` of a line about a head: whose it is, and its name as its owner knows it."""
    return {"facts": {"tenant": tenant_of(head) or IN_LOGS, "head": shown(head)}}


def is_tenant(name: str) -> bool:
    """Whether a tenant may be called so: letters a–z, digits and hyphens, or nothing for the default one."""
    return not name or NAME.fullmatch(name) is not None
