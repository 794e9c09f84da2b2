"""`bentoml serve` imports `service.app` in two processes one after the other: what it needs only later costs both."""

import subprocess
import sys

from support.services import ROOT

LATER = ("fastapi", "numpy", "onnxruntime", "sqlalchemy")
LATER += ("adapters.predict", "service.api.fast_path", "service.context", "service.errors", "service.telemetry")


def test_the_parts_of_the_service_are_imported_when_it_is_made() -> None:
    """In the arbiter, which needs the class alone, they are never loaded: a second less until it is ready."""
    code = "import sys, service.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "service.app" in loaded
    assert loaded.isdisjoint(LATER)
