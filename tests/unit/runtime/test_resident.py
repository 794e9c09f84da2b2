"""How much memory is left: the tightest of machine and control groups of either version counts."""

import subprocess
import sys
from pathlib import Path

import pytest

from adapters.runtime import resident

MIB = 1 << 20


@pytest.fixture
def system(tmp_path: Path):
    """A /proc and a /sys/fs/cgroup in which things may be written."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    cgroups.mkdir()
    (proc / "meminfo").write_text("MemTotal: 9999999 kB\nMemAvailable: 1048576 kB\n")
    (proc / "self" / "cgroup").write_text("")
    return proc, cgroups


def group(folder: Path, limit: str, used: int, cache: int, names=("memory.max", "memory.current", "inactive_file")):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {cache}\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def test_a_machine_without_groups_has_what_it_says(system):
    proc, cgroups = system
    assert resident.available(cgroups, proc) == 1024 * MIB


def test_in_a_container_its_own_group_is_the_top(system):
    proc, cgroups = system
    (proc / "self" / "cgroup").write_text("0::/outside/path\n")
    group(cgroups, str(500 * MIB), 400 * MIB, 150 * MIB)
    assert resident.available(cgroups, proc) == 250 * MIB


def test_the_tightest_of_the_groups_around_counts(system):
    proc, cgroups = system
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    group(cgroups / "a" / "b", "max", 10 * MIB, 0)
    group(cgroups / "a", str(100 * MIB), 30 * MIB, 10 * MIB)
    assert resident.available(cgroups, proc) == 80 * MIB
    group(cgroups / "a" / "b", str(50 * MIB), 60 * MIB, 0)
    assert resident.available(cgroups, proc) == 0


def test_groups_of_the_first_version_are_read_too(system):
    proc, cgroups = system
    (proc / "self" / "cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/jobs\n1:cpu:/elsewhere\n")
    group(cgroups / "memory" / "jobs", str(300 * MIB), 200 * MIB, 50 * MIB, V1)
    group(cgroups / "memory", str(2**63 - 4096), 900 * MIB, 0, V1)
    assert resident.available(cgroups, proc) == 150 * MIB


def test_memory_can_be_given_back_here(monkeypatch):
    """And that starts no process, as asking where the C library is would."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    resident.give_back()
    assert resident.available() > 0


ARENAS = """
import ctypes, sys, threading
from adapters import malloc
malloc.share_arenas(1) if sys.argv[1] == "shared" else None
everybody, kept = threading.Barrier(8), []
def work():
    everybody.wait()
    kept.append(bytearray(100_000))  # below the size from which malloc asks the system
    everybody.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w")))
libc.fflush(None)
"""


@pytest.mark.parametrize(("how", "few"), [("shared", True), ("apart", False)])
def test_threads_share_arenas_where_they_are_told_to(how: str, few: bool) -> None:
    done = subprocess.run([sys.executable, "-c", ARENAS, how], capture_output=True, text=True, check=True)
    assert (done.stdout.count("<heap nr=") <= 1) is few, done.stdout
