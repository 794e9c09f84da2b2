"""What the processor can do."""

from pathlib import Path

# Instructions that multiply bytes and add the products in 32 bits. Without one of them int8 is emulated in steps that
# leave little of its gain.
FAST_INT8 = frozenset({"avx512_vnni", "avx_vnni", "asimddp", "i8mm"})  # x86, x86, Arm, Arm


def fast_int8(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions made for int8 networks; False where the system does not say (Linux)."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
    return bool(flags) and all(FAST_INT8 & set(core) for core in flags)
