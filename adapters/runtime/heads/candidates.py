"""Roll-outs as a process knows them: which are under way, of heads that somebody asked it for."""

import logging
from collections.abc import Callable

from sqlalchemy.engine import Engine

from adapters.errors import EspalierError
from adapters.rollout.facts import Rollout
from adapters.store.rollouts import rows
from adapters.tenancy import in_log
from adapters.types import HeadRef

log = logging.getLogger("espalier.live")


class Candidates:
    """Read by requests; written by who loads heads and by who follows the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.running: dict[str, Rollout] = {}  # by head
        self.unloadable: set[str] = set()  # heads whose candidate cannot be loaded here: tried again at every look

    def find(self, name: str) -> Rollout | None:
        """What the database says is under way."""
        return rows.running(self._engine, name)

    def note(self, name: str, rollout: Rollout | None) -> None:
        """What is under way of a head from now on."""
        if rollout is None:
            self.running.pop(name, None)
        else:
            self.running[name] = rollout

    def update(self, name: str, load: Callable[[HeadRef], object]) -> None:
        """Load the candidate of a head's roll-out, then show it. One that cannot be loaded has its turns, and fails."""
        rollout = self.find(name)
        if rollout is None:
            self.unloadable.discard(name)
        else:
            self.load(rollout, load)
        self.note(name, rollout)

    def load(self, rollout: Rollout, load: Callable[[HeadRef], object]) -> None:
        """Have its candidate at hand, or know that it cannot be had."""
        try:
            load(HeadRef(rollout.head, version=rollout.version))
            self.unloadable.discard(rollout.head)
        except EspalierError as error:
            if rollout.head not in self.unloadable:
                said = "version %d of %s is rolled out, and not loaded: %s"
                log.error(said, rollout.version, rollout.head, error, extra=in_log(rollout.head))
            self.unloadable.add(rollout.head)
