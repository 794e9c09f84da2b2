"""Where metrics are counted: in this process, or in files that all serving processes behind a port add up.

Each process writes files named by its number, not by its process id: one that takes the place of a dead one counts on
where that stopped, so that no counter ever falls, and the dead one's gauges are not added to its own.
"""

import os

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

from service.processes import servers


def begin() -> None:
    """Decide where; to be called before the first metric is made."""
    folder = servers.counts()
    if folder is None:
        # BentoML names a folder whether it is needed or not, and files cost twice the time of a number in memory.
        values.ValueClass = values.MutexValue
        return
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # BentoML's is one for everything that a user serves
    number = servers.here().number
    values.ValueClass = values.MultiProcessValue(lambda: number)


def together(own: CollectorRegistry) -> CollectorRegistry:
    """What all processes have counted; `own` is what this one has."""
    folder = servers.counts()
    if folder is None:
        return own
    everybody = CollectorRegistry()
    MultiProcessCollector(everybody, str(folder))
    return everybody
