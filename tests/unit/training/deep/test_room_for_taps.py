"""Taps that the disk has no room for are an error that a job is tried again after, and no signal to its worker."""

import errno
from collections import namedtuple

import pytest
from support import teachable

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
