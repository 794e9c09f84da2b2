"""THE table of who may ask what: a path, its methods, and the verb that each needs. What is in no row is not there.

One row is enough for a new route, and without one it answers 404 to everybody, whatever its router says; a test asks
every route of the OpenAPI document for its row.
"""

import re
from dataclasses import dataclass
from typing import Final

OPEN: Final = "open"  # no key: what an orchestrator asks for, which says nothing of anybody
ANY: Final = "any"  # a key or token, whatever its scopes

TABLE: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("/predict", {"POST": "predict"}),
    ("/bento/predict", {"POST": "predict"}),
    ("/embed", {"POST": "predict"}),
    ("/livez", {"GET": OPEN}),
    ("/healthz", {"GET": OPEN}),
    ("/readyz", {"GET": OPEN}),
    ("/metrics", {"GET": "metrics"}),
    ("/replicas", {"GET": "metrics"}),
    ("/", {"GET": ANY}),
    ("/docs", {"GET": ANY}),
    ("/docs/oauth2-redirect", {"GET": ANY}),
    ("/static-offline-docs/{file}", {"GET": ANY, "HEAD": ANY}),
    ("/openapi.json", {"GET": ANY}),
    ("/schema.json", {"GET": ANY}),
    ("/docs.json", {"GET": ANY}),
    ("/limits", {"GET": ANY}),
    ("/quotas", {"GET": "admin", "PUT": "admin"}),
    ("/audit", {"GET": "admin"}),
    ("/backbones", {"GET": "read"}),
    ("/methods", {"GET": "read"}),
    ("/keys", {"GET": "admin", "POST": "admin"}),
    ("/keys/{key_id}", {"GET": "admin", "DELETE": "admin"}),
    ("/keys/{key_id}/rotate", {"POST": "admin"}),
    ("/finetune", {"POST": "teach"}),
    ("/jobs", {"GET": "read"}),
    ("/jobs/{job_id}", {"GET": "read"}),
    ("/jobs/{job_id}/events", {"GET": "read"}),
    ("/jobs/{job_id}/cancel", {"POST": "teach"}),
    ("/heads", {"GET": "read"}),
    ("/heads/{head}", {"GET": "read", "DELETE": "manage"}),
    ("/heads/{head}/report", {"GET": "read"}),
    ("/heads/{head}/compare", {"GET": "read"}),
    ("/heads/{head}/suggest", {"POST": "teach"}),
    ("/heads/{head}/labels", {"POST": "teach"}),
    ("/heads/{head}/rebuild", {"POST": "teach"}),
    ("/heads/{head}/versions/{version}", {"GET": "read", "DELETE": "manage"}),
    ("/heads/{head}/versions/{version}/head.onnx", {"GET": "read"}),
    ("/heads/{head}/versions/{version}/trunk.onnx", {"GET": "read"}),
    ("/heads/{head}/aliases/{alias}", {"PUT": "manage", "DELETE": "manage"}),
    ("/heads/{head}/drift", {"GET": "read"}),
    ("/heads/{head}/rollout", {"GET": "read", "PUT": "manage", "DELETE": "manage"}),
    # What others have asked is for those who label it, not for all who read.
    ("/heads/{head}/sampling", {"GET": "read", "PUT": "manage"}),
    ("/heads/{head}/samples", {"GET": "teach", "DELETE": "teach"}),
    ("/heads/{head}/samples/labels", {"POST": "teach"}),
    ("/heads/{head}/samples/{sha256}", {"DELETE": "teach"}),
    ("/heads/{head}/samples/{sha256}/image", {"GET": "teach"}),
    ("/heads/{head}/samples/{sha256}/content", {"GET": "teach"}),
    ("/heads/{head}/examples", {"GET": "read"}),
    ("/heads/{head}/examples/relabel", {"POST": "teach"}),
    ("/heads/{head}/examples/delete", {"POST": "teach"}),
    ("/heads/{head}/examples/{sha256}", {"PATCH": "teach", "DELETE": "teach"}),
    ("/heads/{head}/examples/{sha256}/image", {"GET": "read"}),
    ("/heads/{head}/examples/{sha256}/content", {"GET": "read"}),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table: for a method, the verb that it needs."""

    path: str
    methods: dict[str, str]


class Rules:
    """Finds the row of a path: at once where nothing in it varies, else the first whose pattern fits."""

    def __init__(self, table: tuple[tuple[str, dict[str, str]], ...] = TABLE) -> None:
        rules = [Rule(path, methods) for path, methods in table]
        self._plain = {rule.path: rule for rule in rules if "{" not in rule.path}
        self._patterns = [(_pattern(rule.path), rule) for rule in rules if "{" in rule.path]

    def find(self, path: str) -> Rule | None:
        """The row of a path as it was asked for; None where nothing is."""
        found = self._plain.get(path)
        if found is not None:
            return found
        return next((rule for pattern, rule in self._patterns if pattern.fullmatch(path)), None)


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{[a-z0-9_]+\}", path)
    return re.compile("[^/]+".join(re.escape(part) for part in parts))
