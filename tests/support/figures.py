"""Names of a benchmark's figures."""

from collections.abc import Iterator
from typing import Any


def figures(results: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Names as docs/benchmarks.md has them."""
    for key, row in results.items():
        if key not in ("limits", "notes"):
            yield from [prefix + key] if "median" in row else figures(row, f"{prefix}{key}: ")
