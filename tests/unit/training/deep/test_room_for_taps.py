"""Taps that the disk has no room for are an error that a job is tried again after, and no signal to its worker."""

import errno
import os
from collections import namedtuple

import pytest
from support import deep_fits, teachable

from adapters.errors import StorageFull
from adapters.training.backbone import cuts
from adapters.training.deep import taps
from service.processes import failures

Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    graph = teachable.graph()
    cut = cuts.named(cuts.find(graph, teachable.SIDE), "blocks.1")
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(100, 90, 10))
    with pytest.raises(OSError) as refused:
        taps.make(tmp_path / "a.taps", cuts.trunk(graph, cut), cut, lambda _: None, 5, ["served"], lambda: None)
    assert refused.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []
    assert failures.of(refused.value).code == StorageFull.code


def test_taps_are_on_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    """What has a name is whole, also after a loss of power; and then the name is made durable."""
    synced, fsync, file = [], os.fsync, tmp_path / "a.1.2.taps"

    def watched(handle: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{handle}"), file.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    deep_fits.made_taps(tmp_path)
    assert synced == [(str(file.with_suffix(".part")), False), (str(tmp_path), True)]
