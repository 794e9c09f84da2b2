"""Resident memory: how much more this process may take before the kernel ends one, and giving some back.

The bound is the machine's or that of the tightest control group around this process, of either version. What its
file cache holds counts as free: the kernel takes it back before it ends anybody.
"""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters import malloc

CGROUPS, PROC = Path("/sys/fs/cgroup"), Path("/proc")


@dataclass(frozen=True, slots=True)
class _Version:
    """Where a version of control groups keeps its figures."""

    controller: str  # in /proc/self/cgroup
    folder: str  # below CGROUPS
    limit: str
    used: str
    cache: str  # in memory.stat: pages of files that nobody misses


VERSIONS = (
    _Version("", "", "memory.max", "memory.current", "inactive_file"),
    _Version("memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available(cgroups: Path = CGROUPS, proc: Path = PROC) -> int:
    """Bytes that may still be taken, by all processes in the tightest bound together."""
    return max(0, min([_of_machine(proc), *_of_groups(cgroups, proc)]))


def give_back() -> None:
    """Collect garbage, and return what is free to the system: malloc keeps it, for as long as the process lives."""
    gc.collect()
    malloc.trim()


def _of_machine(proc: Path) -> int:
    lines = (proc / "meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def _of_groups(cgroups: Path, proc: Path) -> Iterator[int]:
    """What each control group around this process has left."""
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for version in VERSIONS:
            if version.controller in controllers.split(","):
                yield from _up(cgroups / version.folder, path, version)


def _up(top: Path, path: str, version: _Version) -> Iterator[int]:
    """From a group to the top. In a container the top may be its own group, whatever its path is outside."""
    group = top / path.lstrip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(top):
            return
        left = _left(folder, version)
        if left is not None:
            yield left


def _left(group: Path, version: _Version) -> int | None:
    """Limit less usage, file cache aside; None for a group without a limit."""
    try:
        limit, used = (group / version.limit).read_text().strip(), int((group / version.used).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # another kind of group, or no rights to look
        return None
    return None if limit == "max" else int(limit) - used + int(stat.get(version.cache, 0))
