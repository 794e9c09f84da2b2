"""The client is of use where nothing else of Espalier is."""

import subprocess
import sys

from support.services import ROOT

from adapters.types import TERMINAL
from service.client.jobs import ENDED

LOADED = """
import sys
import service.client
print(*(name for name in sys.modules if name.split(".")[0] in ("service", "adapters")))
"""


def test_the_client_needs_nothing_of_the_rest() -> None:
    """In a process that imports it alone, no other room of ours is loaded."""
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "service.client" in loaded
    assert {name for name in loaded if not name.startswith("service.client")} == {"service"}


def test_the_client_knows_when_a_job_has_ended() -> None:
    """Its own list of final statuses is the service's."""
    assert ENDED == TERMINAL
