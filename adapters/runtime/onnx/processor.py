"""What the processor can do, and how much of it is ours."""

import contextlib
import functools
import os
from collections.abc import Iterable
from pathlib import Path

# Instructions that multiply bytes and add the products in 32 bits. Without one of them int8 is emulated in steps that
# leave little of its gain.
FAST_INT8 = frozenset({"avx512_vnni", "avx_vnni", "asimddp", "i8mm"})  # x86, x86, Arm, Arm
CPUINFO, DEVICES = Path("/proc/cpuinfo"), Path("/sys/devices")


@functools.cache
def fast_int8(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor has instructions made for int8 networks; False where the system does not say (Linux)."""
    flags = _flags(cpuinfo)
    return bool(flags) and all(FAST_INT8 & core for core in flags)


def instructions(cpuinfo: Path = CPUINFO) -> list[str]:
    """Names of those that every core has; none where the system does not say."""
    flags = _flags(cpuinfo)
    return sorted(set.intersection(*flags)) if flags else []


def cores() -> int:
    """Cores that this process may really use: CPU affinity, capped by the cgroup quota of a container."""
    allowed = len(affinity())
    quota = _cgroup_quota()
    return max(1, min(allowed, round(quota))) if quota else allowed


def affinity() -> set[int]:
    """Numbers of the cores that this process may run on, whichever thread asks: of its first, which is not bound."""
    return os.sched_getaffinity(os.getpid())


def alike(devices: Path = DEVICES) -> set[int]:
    """The same where all cores are of one kind; none where some are slower, as a thread bound to one would be."""
    capacities = {path.read_text() for path in devices.glob("system/cpu/cpu[0-9]*/cpu_capacity")}
    frugal = (devices / "cpu_atom").exists()  # x86: where there are two kinds of cores each is a device
    return set() if frugal or len(capacities) > 1 else affinity()


def bind(cores: Iterable[int]) -> None:
    """Have this thread run on these cores alone, and threads that it starts; on any where the system forbids it."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, cores)


def _flags(cpuinfo: Path) -> list[set[str]]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return []
    return [set(line.partition(":")[2].split()) for line in lines if line.startswith(("flags", "Features"))]


def _cgroup_quota() -> float | None:
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        return None
