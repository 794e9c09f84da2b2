"""How many processes serve one port, and what each of them gets."""

import os
from pathlib import Path

import pytest

from service.processes import servers
from service.processes.servers import ServingProcess


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.setattr(servers.tempfile, "tempdir", str(tmp_path))
    for name in (servers.SERVERS, servers.DEVICE, servers.COUNTS):
        monkeypatch.setenv(name, "")  # so that what a test changes is undone
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("cores", "processes"), [(1, 1), (2, 1), (8, 1), (9, 2), (16, 2), (17, 3), (24, 3), (32, 4), (64, 8), (192, 24)]
)
def test_one_process_for_each_eight_cores(cores, processes):
    assert servers.suitable(cores) == processes


def test_the_setting_decides_and_zero_or_nothing_leaves_it_to_the_cores(monkeypatch):
    monkeypatch.setattr(servers.processor, "cores", lambda: 20)
    assert servers.count({"ESPALIER_SERVERS": "5", "ESPALIER_DEVICE": "cuda"}) == 5
    for text in ({}, {"ESPALIER_SERVERS": ""}, {"ESPALIER_SERVERS": "0"}):
        assert servers.count(text | {"ESPALIER_DEVICE": "cpu"}) == 3


def test_left_to_the_cores_one_serves_on_a_gpu_and_where_a_dead_one_is_not_replaced(monkeypatch, tmp_path):
    monkeypatch.setattr(servers.processor, "cores", lambda: 64)
    assert servers.count({"ESPALIER_DEVICE": "cpu", "BENTOML_CONTAINERIZED": "true"}) == 1
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(servers, "DEVICES", tmp_path)
    assert servers.count({}) == servers.count({"ESPALIER_DEVICE": "cuda"}) == 1
    assert servers.count({"ESPALIER_DEVICE": "cpu"}) == 8
    assert servers.count({"ESPALIER_SERVERS": "2"}) == 2


@pytest.mark.parametrize("text", ["-1", "two", "1.5", " "])
def test_a_number_that_is_none_stops_the_start(text):
    with pytest.raises(ValueError, match="ESPALIER_SERVERS"):
        servers.count({"ESPALIER_SERVERS": text})


@pytest.mark.parametrize("servers", [1, 2, 3, 7, 24])
@pytest.mark.parametrize("whole", [0, 1, 16, 1024, 2**30 + 5])
def test_parts_add_up_to_the_whole_and_nobody_gets_nothing(servers, whole):
    parts = [ServingProcess(number + 1, servers).part(whole) for number in range(servers)]
    assert max(parts) - min(parts) <= 1
    assert sum(parts) == (whole if whole >= servers or not whole else servers)
    assert 0 not in parts or not whole


@pytest.mark.parametrize(("lanes", "servers"), [(1, 1), (2, 1), (8, 1), (16, 2), (17, 3), (3, 3)])
def test_lanes_that_are_as_many_as_cores_get_one_each(lanes, servers):
    allowed = set(range(100, 100 + 2 * lanes, 2))  # a container's are any
    own = [ServingProcess(number + 1, servers).cores(lanes, allowed) for number in range(servers)]
    assert [len(cores) for cores in own] == [ServingProcess(n + 1, servers).part(lanes) for n in range(servers)]
    assert sorted(core for cores in own for core in cores) == sorted(allowed)


@pytest.mark.parametrize(("lanes", "servers", "cores"), [(2, 1, 64), (4, 1, 2), (2, 3, 2), (32, 1, 16)])
def test_others_run_anywhere(lanes, servers, cores):
    """As with a quota of two cores on a machine of 64, where every container would take the same two."""
    assert all(not ServingProcess(n + 1, servers).cores(lanes, set(range(cores))) for n in range(servers))


def test_a_process_that_is_alone_gets_everything_and_counts_for_itself():
    os.environ[servers.SERVERS] = "1"
    servers.prepare()
    assert servers.counts() is None and servers.here() == ServingProcess(1, 1)
    assert servers.here().part(7) == 7


def test_processes_find_the_same_number_and_a_fresh_folder(monkeypatch):
    monkeypatch.setattr(servers.processor, "cores", lambda: 16)
    os.environ[servers.DEVICE] = "cpu"
    servers.prepare()
    first = servers.counts()
    monkeypatch.setattr(servers.processor, "cores", lambda: 64)  # the quota was raised meanwhile
    assert servers.here().servers == 2
    servers.prepare()
    assert first != servers.counts() and not list(Path(servers.counts()).iterdir())
