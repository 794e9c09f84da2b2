"""What every modality keeps: one suite over the files of the folder, and over one of thirty lines that lives here."""

import dataclasses
import inspect
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from support import dropped_in
from support.samples import INPUTS, NOTHING_OF_IT, SPECS

from adapters import modalities
from adapters.backbones import facts
from adapters.errors import InvalidInput
from adapters.modalities import Modality
from adapters.types import ORIGINAL, Backbone

NAMES = tuple(sorted((*modalities.names(), dropped_in.NAME)))
COUNT = 7  # made-up inputs, of every length that a modality thinks of
OFFERED = [name for name in (*Modality.__annotations__, *vars(Modality)) if not name.startswith("_")]

every = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module", autouse=True)
def dna():
    """A third one, of the tests, beside those that come with it."""
    with dropped_in.modality() as modality:
        SPECS[dropped_in.NAME] = modality.Spec()
        yield
        del SPECS[dropped_in.NAME]


def lengths(tensors) -> list[tuple[int, ...]]:
    return [tensor.shape for tensor in tensors.values()]


@every
def test_it_offers_each_name_of_the_contract(name):
    modality = modalities.get(name)
    assert len(OFFERED) == 19 and [each for each in OFFERED if not hasattr(modality, each)] == []
    for each in OFFERED:
        wanted, found = getattr(Modality, each, None), getattr(modality, each)
        if inspect.isfunction(wanted):
            asked = [p for p in inspect.signature(wanted).parameters if p != "self"]
            takes = list(inspect.signature(found).parameters.values())
            assert [p.name for p in takes[: len(asked)]] == asked, each
            assert all(p.default is not p.empty for p in takes[len(asked) :]), each
    assert callable(modalities.training_side(name).alike)


@every
def test_what_it_is_called_by_is_of_the_right_kind(name):
    modality = modalities.get(name)
    assert all(isinstance(text, str) and text for text in (modality.NOUN, modality.FIELD, modality.UNIT))
    assert modality.MOST > 0 and modality.FORMATS and all("/" in pattern for pattern in modality.MEDIA_TYPES)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in modality.SUFFIXES)
    assert {len({getattr(modalities.get(n), what) for n in NAMES}) for what in ("NOUN", "FIELD")} == {len(NAMES)}


@every
def test_its_spec_comes_back_from_json(name):
    spec = SPECS[name]
    assert dataclasses.is_dataclass(spec) and isinstance(spec, modalities.get(name).Spec)
    backbone = Backbone("b", "d" * 64, "a" * 64, spec, "fp32", 3, 0, {"licence": "none"}, name)
    stored = json.loads(json.dumps(facts.to_json(backbone)))
    assert facts.from_json(stored) == backbone and facts.modality_of(stored) == name
    assert ("preprocessing" in stored) == (name == ORIGINAL) and ("modality" in stored) == (name != ORIGINAL)


@every
def test_specs_that_differ_have_other_digests(name):
    one = facts.digest("a", SPECS[name], "fp32", name)
    assert one == facts.digest("a", SPECS[name], "fp32", name) != facts.digest("a", SPECS[name], "int8", name)


@every
def test_it_reads_its_own_and_says_what_it_is(name):
    modality = modalities.get(name)
    for data in INPUTS[name]:
        probed = modality.probe(data, most=modality.MOST)
        assert modality.sniff(data) and 0 < probed.cost <= modality.MOST
        assert json.loads(json.dumps(probed.facts))["format"] and modality.verify(data, most=modality.MOST)
        assert modality.media_type(data) != "application/octet-stream"
        assert modality.preview(data, 96, most=modality.MOST).data


@every
def test_what_may_be_no_larger_is_refused(name):
    modality = modalities.get(name)
    for check in (modality.probe, modality.verify, lambda data, most: modality.decode(data, SPECS[name], most=most)):
        with pytest.raises(InvalidInput):
            check(INPUTS[name][0], most=1)


@every
@pytest.mark.parametrize("data", NOTHING_OF_IT, ids=["empty", "zeros", "noise"])
def test_what_is_none_of_it_is_refused_and_sent_back_as_bytes(name, data):
    modality = modalities.get(name)
    assert not modality.sniff(data) and modality.media_type(data) == "application/octet-stream"
    for check in (modality.probe, modality.verify, lambda data, most: modality.decode(data, SPECS[name], most=most)):
        with pytest.raises(InvalidInput):
            check(data, most=modality.MOST)


@every
def test_a_view_of_a_body_reads_as_bytes_do(name):
    modality = modalities.get(name)
    data = INPUTS[name][0]
    one, other = (modality.decode(d, SPECS[name], most=modality.MOST) for d in (data, memoryview(data)))
    assert all(np.array_equal(one[key], other[key]) for key in one)


@every
def test_tensors_are_those_that_it_declares(name):
    modality, spec = modalities.get(name), SPECS[name]
    declared = {each.name: each for each in modality.inputs(spec)}
    real = [modality.decode(data, spec, most=modality.MOST) for data in INPUTS[name]]
    for tensors in [*modality.trial(spec, COUNT), *real]:
        assert tensors.keys() == declared.keys()
        for key, tensor in tensors.items():
            assert tensor.dtype == np.dtype(declared[key].dtype) and tensor.ndim == len(declared[key].shape)
            assert all(wanted in (None, got) for wanted, got in zip(declared[key].shape, tensor.shape, strict=True))


@every
def test_made_up_inputs_are_the_same_for_one_seed_and_of_several_lengths_where_they_vary(name):
    modality, spec = modalities.get(name), SPECS[name]
    one, again, other = (modality.trial(spec, COUNT, seed) for seed in (0, 0, 1))
    assert len(one) == COUNT and all(np.array_equal(a[k], b[k]) for a, b in zip(one, again, strict=True) for k in a)
    pairs = [(a, b) for a, b in zip(one, other, strict=True)]
    assert any(lengths(a) != lengths(b) or not np.array_equal(a[k], b[k]) for a, b in pairs for k in a)
    varies = any(None in each.shape for each in modality.inputs(spec))
    assert (len({tuple(lengths(tensors)) for tensors in one}) > 1) == varies


@every
@pytest.mark.parametrize("pad", [False, True])
def test_collated_inputs_keep_what_each_has(name, pad):
    """Rows of a batch begin with the input's own numbers; what follows is padding, zeros."""
    modality, spec = modalities.get(name), SPECS[name]
    items = modality.trial(spec, COUNT)
    batch = modality.collate(items, spec, pad=pad)
    for key, tensor in batch.items():
        assert len(tensor) == COUNT
        for row, item in zip(tensor, items, strict=True):
            own = tuple(slice(length) for length in item[key].shape)
            assert np.array_equal(row[own], item[key]) and int(np.abs(row).sum()) == int(np.abs(item[key]).sum())


@every
def test_one_alone_is_a_batch_without_a_copy(name):
    modality, spec = modalities.get(name), SPECS[name]
    [one] = modality.trial(spec, 1)
    batch = modality.collate([one], spec)
    assert all(np.array_equal(batch[k], one[k][None]) and np.shares_memory(batch[k], one[k]) for k in one)


@every
def test_equal_bytes_have_equal_fingerprints_and_others_do_not(name):
    modality, spec = modalities.get(name), SPECS[name]

    def fingerprint(data):
        return modality.fingerprint(modality.decode(data, spec, most=modality.MOST), data)

    found = [fingerprint(data) for data in INPUTS[name]]
    assert all(f.dtype == np.uint8 and f.shape == found[0].shape and f.ndim == 1 for f in found)
    assert np.array_equal(found[0], fingerprint(INPUTS[name][0])) and not np.array_equal(found[0], found[1])


@every
def test_copies_are_joined_and_others_left_apart(name):
    modality, spec = modalities.get(name), SPECS[name]
    data = [*INPUTS[name], INPUTS[name][0]]
    prints = np.stack([modality.fingerprint(modality.decode(d, spec, most=modality.MOST), d) for d in data])
    embeddings = np.eye(len(data), dtype=np.float32)
    embeddings[-1] = embeddings[0]
    groups = np.arange(len(data))
    for more in modalities.training_side(name).alike(embeddings, prints, lambda: None):
        for left, right in zip(*more(groups), strict=True):
            groups[groups == max(groups[left], groups[right])] = min(groups[left], groups[right])
    assert groups.tolist() == [*range(len(data) - 1), 0]


@every
def test_load_is_a_number_that_does_not_fall_with_the_size(name):
    loads = [modalities.get(name).load(size) for size in (0, 1, 100, 10_000, 10**9)]
    assert loads == sorted(loads) and loads[0] >= 0


@every
def test_every_choice_of_views_gives_what_serving_sees_too(name):
    modality, spec = modalities.get(name), SPECS[name]
    served = modality.decode(INPUTS[name][0], spec, most=modality.MOST)
    for names in modalities.views(modality).values():
        *looks, centre = modality.decode_views(INPUTS[name][0], spec, [*names, "centre"], most=modality.MOST)
        assert all(lengths(look) == lengths(served) for look in looks)
        assert all(np.array_equal(centre[key], served[key]) for key in served)


@every
def test_serving_loads_nothing_of_its_training_side(name):
    code = (
        f"import sys; from adapters import modalities; from support import dropped_in, samples; name = {name!r}\n"
        "with dropped_in.modality():\n"
        "    m = modalities.get(name); m.trial(samples.SPECS.get(name) or m.Spec(), 2)\n"
        "print([n for n in ('torch', 'timm', 'onnx', 'sklearn') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    assert done.stdout.strip() == "[]"


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_an_unknown_modality_is_named_with_those_there_are():
    with pytest.raises(InvalidInput, match=f"no modality 'smell'; there are: {', '.join(NAMES)}"):
        modalities.get("smell")


def test_a_modality_without_other_precisions_says_so():
    without = [name for name in NAMES if modalities.get(name).NOUN != "image"]
    for name in without:
        with pytest.raises(InvalidInput, match=f"a backbone of {modalities.get(name).NOUN}s has no other precisions"):
            modalities.calibration(name)
    assert modalities.calibration(ORIGINAL).crops
