"""What a run found: figures, what was left out and why, and what is wrong."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks import record


class LeftOut(Exception):
    """There is nothing to measure here; the message says why."""


@dataclass(slots=True)
class Findings:
    """Steps are tried one by one; none takes the others down with it."""

    results: dict[str, Any] = field(default_factory=dict)  # rows of docs/benchmarks.md
    left_out: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def attempt(self, name: str, step: Callable[[], dict[str, Any]]) -> None:
        """Measure one thing and print it."""
        began = time.perf_counter()
        try:
            self.results[name] = step()
        except LeftOut as reason:
            self.left_out[name] = str(reason)
            print(f"  {name}: left out: {reason}", flush=True)
        except Exception as error:
            self.wrong.append(f"{name}: {type(error).__name__}: {error}")
            print(f"  {self.wrong[-1]}", flush=True)
        else:
            record.show({name: self.results[name]})
        print(f"  {name}: took {time.perf_counter() - began:.0f} s", flush=True)

    def expect(self, holds: bool, otherwise: str) -> None:
        """A check; a run with one that fails ends with exit code 1."""
        if not holds:
            self.wrong.append(otherwise)

    def whole(self, notes: dict[str, str], limits: dict[str, float]) -> dict[str, Any]:
        """Everything, as `record.save` and the report want it."""
        left_out = {f"Left out, {name}": reason for name, reason in self.left_out.items()}
        wrong = {f"Wrong, {number}": text for number, text in enumerate(self.wrong, start=1)}
        return self.results | {"notes": notes | left_out | wrong, "limits": limits}
