"""What a loss of power would leave: no committed row refers to bytes, or to a name, that may not be on the disk."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.pictures import shapes
from support.recorder import check_history
from support.services import Service

CALLS = "fsync,fdatasync,rename,renameat,renameat2,link,linkat"
LINE = re.compile(r"^\d+ +(?:<\.\.\. )?(?P<call>\w+)(?P<rest>.*)$")


def _traced(log: Path) -> list[str]:
    return ["strace", "-f", "-q", "-y", "--seccomp-bpf", "-e", f"trace={CALLS}", "-s", "4096", "-o", str(log)]


@pytest.fixture
def strace(tmp_path: Path) -> list[str]:
    """What a command is put behind to have its system calls logged."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = _traced(tmp_path / "try")
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let one process trace another")
    return _traced(tmp_path / "calls")


@dataclass
class Disk:
    """Replays system calls in the order in which they began and ended, and says what was committed too early."""

    synced: set[str] = field(default_factory=set)  # files whose bytes are on the disk
    unnamed: dict[str, str] = field(default_factory=dict)  # blob → its folder, which is not synced since
    blobs: int = 0
    commits: int = 0
    faults: list[str] = field(default_factory=list)

    def begins(self, call: str, paths: list[str]) -> None:
        if "sync" in call and paths[0].endswith("espalier.sqlite-wal"):
            self.commits += 1
            self.faults += [f"committed before the name of {blob} was on the disk" for blob in self.unnamed]

    def ends(self, call: str, paths: list[str]) -> None:
        if "sync" in call:
            self.synced.add(paths[0])
            self.unnamed = {blob: folder for blob, folder in self.unnamed.items() if folder != paths[0]}
        elif "/blobs/" in paths[-1]:
            self.blobs += 1
            self.unnamed[paths[-1]] = paths[-1].rpartition("/")[0]
            if paths[0] not in self.synced:
                self.faults.append(f"{paths[-1]} got its name before its bytes were on the disk")


def replay(log: Path) -> Disk:
    disk = Disk()
    for moment, call, paths in _events(log):
        (disk.begins if moment == "begins" else disk.ends)(call, paths)
    return disk


def _events(log: Path) -> Iterator[tuple[str, str, list[str]]]:
    """(begins or ends, call, paths). A call that another interrupts is two lines, of which the second has no paths."""
    under_way: dict[str, list[str]] = {}
    for line in log.read_text(errors="replace").splitlines():
        found = LINE.match(line)
        if found is None or found["call"] not in CALLS.split(","):
            continue
        thread, call = line.split()[0], found["call"]
        if "resumed>" not in line:
            under_way[thread] = re.findall(r'(?:"|<)(/[^">]+)', found["rest"])
            yield "begins", call, under_way[thread]
        if "<unfinished" not in line and line.endswith("= 0"):
            yield "ends", call, under_way.pop(thread)


@pytest.mark.slow
def test_bytes_and_names_are_on_the_disk_before_the_row_that_refers_to_them(own_server, strace, tmp_path):
    """Of an upload before `202`, and of a version before it is published."""
    service: Service = own_server(before=strace)
    sent = service.client.finetune("shapes", shapes(), method="prototype")
    assert service.client.wait(sent["id"])["status"] == "succeeded"
    service.settle()
    check_history(service)
    service.stop()
    disk = replay(tmp_path / "calls")
    assert disk.blobs >= len(shapes()) + 5 and disk.commits > 5  # images, draft, program, answers, findings, graph …
    assert disk.faults == []
