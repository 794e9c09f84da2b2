"""Which backbone a head gets that names none: a setting, or decided once for an installation."""

from pathlib import Path

import pytest

from adapters.backbones.cards import DEFAULT
from adapters.modalities.image import Preprocessing
from adapters.runtime.onnx import processor
from adapters.store import backbones, database
from adapters.types import Backbone
from service.processes import default_backbone
from service.settings import Settings

SHAPE = Preprocessing(224, 0.875, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
INT8 = f"{DEFAULT}-int8"


@pytest.fixture
def engine(tmp_path: Path):
    engine = database.connect(f"sqlite:///{tmp_path / 'espalier.sqlite'}")
    database.migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def suited(monkeypatch):
    monkeypatch.setattr(processor, "fast_int8", lambda: True)


def settings(precision: str, **more: object) -> Settings:
    return Settings(precision=precision, device="cpu", **more)


def decided(engine, precision: str = "auto", **more: object) -> str:
    default_backbone.decide(settings(precision, **more), engine)
    return default_backbone.name(settings(precision, **more), engine)


def test_a_precision_that_is_said_is_taken(engine, suited):
    assert decided(engine, "fp32") == DEFAULT
    assert decided(engine, "int8") == INT8
    assert decided(engine, "int8", default_backbone="mine") == "mine-int8"
    assert default_backbone.decided(engine) is None


def test_auto_takes_int8_in_a_new_installation_whose_processor_suits_it(engine, suited):
    assert not default_backbone.is_decided(settings("auto"), engine)
    assert decided(engine) == INT8
    assert default_backbone.is_decided(settings("auto"), engine)


def test_auto_is_what_is_meant_where_nothing_is_said():
    assert Settings().precision == "auto"


def test_auto_takes_fp32_where_other_machines_may_join(engine, suited, monkeypatch):
    """Postgres is for several machines, of which only the first was looked at: others may have GPUs."""
    monkeypatch.setattr(engine.dialect, "name", "postgresql")
    assert default_backbone._suitable(settings("auto"), engine) == "fp32"


def test_auto_takes_of_a_bundle_what_is_in_it(engine, suited, tmp_path):
    """Nobody may be there to build another."""
    bundled = settings("auto", backbone_bundle=str(tmp_path))
    assert default_backbone._suitable(bundled, engine) == "fp32"
    (tmp_path / f"{INT8}.json").touch()
    assert default_backbone._suitable(bundled, engine) == "int8"


def test_the_first_process_decides_for_all(engine, monkeypatch):
    monkeypatch.setattr(processor, "fast_int8", lambda: False)
    assert decided(engine) == DEFAULT
    monkeypatch.setattr(processor, "fast_int8", lambda: True)
    assert decided(engine) == DEFAULT


def test_auto_leaves_an_installation_that_has_backbones_as_it_is(engine, suited):
    backbones.save(engine, Backbone(DEFAULT, "d" * 64, "a" * 64, SHAPE, "fp32", 1280, 1280))
    assert decided(engine) == DEFAULT


def test_auto_takes_int8_only_for_the_backbone_that_was_measured(engine, suited):
    assert decided(engine, default_backbone="mine") == "mine"


@pytest.mark.parametrize(
    ("line", "fast"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni", True), ("flags\t\t: fpu avx_vnni", True), ("flags\t\t: fpu avx2", False),
        ("Features\t: fp asimd asimddp", True), ("Features\t: fp asimd", False), ("model name\t: avx_vnni", False),
    ],
)  # fmt: skip
def test_a_processor_says_what_it_can(tmp_path, line, fast):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{line}\n")
    assert processor.fast_int8(path) is fast


def test_all_cores_must_have_it(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("flags\t: avx_vnni\nflags\t: avx2\n")
    assert not processor.fast_int8(path)
    assert not processor.fast_int8(tmp_path / "missing")
