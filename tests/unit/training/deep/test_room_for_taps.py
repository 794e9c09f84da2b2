"""Taps that the disk has no room for are an error that a job is tried again after; of bounded room less is tried."""

import errno
import math
import os
from collections import namedtuple

import numpy as np
import pytest
from support import deep_fits, teachable

from adapters.errors import StorageFull, TooMuchData
from adapters.recipe import Hyperparameters
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images
from adapters.training.deep import plan, taps
from service.processes import failures

Usage = namedtuple("Usage", "total used free")
COUNT = plan.PLENTY  # examples


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    graph = teachable.graph()
    cut = cuts.named(cuts.find(graph, images(teachable.SIDE)), "blocks.1")
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(100, 90, 10))
    with pytest.raises(OSError) as refused:
        taps.make(tmp_path / "a.taps", cuts.trunk(graph, cut), cut, lambda _: None, 5, ["served"], lambda: None)
    assert refused.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []
    assert failures.of(refused.value).code == StorageFull.code


def planned(chosen: str = "auto", budget: float | None = None, room: float = math.inf) -> plan.Plan:
    """Of as many examples as make `auto` try all."""
    folds = [(np.arange(COUNT), np.arange(COUNT // 10))]
    recipe = Hyperparameters(unfreeze=chosen)
    return plan.plan(teachable.graph(), images(teachable.SIDE), recipe, plan.Known(COUNT, COUNT), folds, budget, room)


def test_a_plan_says_what_its_files_take(tmp_path):
    """Of whichever kind: halves of floats, or pixels."""
    graph = teachable.graph()
    for name in ("blocks.1", "all"):
        (entry,) = planned(name).entries
        file, trunk = tmp_path / f"{name}.taps", cuts.trunk(graph, entry.cut)
        look = {"pixels": np.zeros((teachable.SIDE, teachable.SIDE, 3), np.uint8)}
        taps.make(file, trunk, entry.cut, lambda _, look=look: look, 5, ["served"], lambda: None)
        assert file.stat().st_size == entry.taps * 5 // COUNT


def test_what_there_is_no_room_for_is_left_out_and_said():
    """Files of all cuts that are tried are there at once, so their sum counts."""
    both = planned()
    part, everything = both.entries
    assert everything.cut.name == "all" and both.note == ""
    assert [entry.cut for entry in planned(room=part.taps + everything.taps).entries] == [part.cut, everything.cut]
    less = planned(room=part.taps + everything.taps - 1)
    assert [entry.cut.name for entry in less.entries] == [part.cut.name]
    assert "ESPALIER_DEEP_BYTES" in less.note and f"all ({everything.taps:,} bytes)" in less.note
    assert planned(room=0).entries == []


def test_a_cut_that_is_named_and_has_no_room_is_refused_with_both_figures():
    (entry,) = planned("all").entries
    with pytest.raises(TooMuchData) as refused:
        planned("all", room=1000)
    assert f"{entry.taps:,}" in refused.value.message and "1,000" in refused.value.message


def test_taps_are_on_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    """What has a name is whole, also after a loss of power; and then the name is made durable."""
    synced, fsync, file = [], os.fsync, tmp_path / "a.1.flip.taps"

    def watched(handle: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{handle}"), file.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    deep_fits.made_taps(tmp_path)
    assert synced == [(str(file.with_suffix(".part")), False), (str(tmp_path), True)]
