"""Backbones of one channel and of four: built, cut, trained two steps and exported, as those of photos are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support.deep_fits import CLASSES, labels, looking
from support.pictures import encoded

from adapters import recipe
from adapters.backbones import loader
from adapters.backbones.cards import Card, card_from_options, embedded_card
from adapters.errors import InvalidInput
from adapters.modalities import image
from adapters.modalities.image import Preprocessing, calibration
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.onnx import session
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import cuts
from adapters.training.backbone.build import build
from adapters.training.backbone.observing import images
from adapters.training.backbone.precisions import int8
from adapters.training.deep import interpreter, plan, taps
from adapters.training.deep.fit import Fitting
from adapters.training.deep.fitting.batches import Batches
from adapters.training.deep.fitting.network import Network
from adapters.types import Backbone, HeadProgram, Linear

# torch and timm say this of the exporter that we use, and of what it traces.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
SIDE, COUNT = 64, 8


def card(channels: int, **options: str) -> Card:
    given = {"size": str(SIDE), "in_chans": str(channels), "mean": "0.5", "std": "0.5"} | options
    return card_from_options(f"of-{channels}", "resnet10t", "random", given)


@pytest.fixture(scope="module", params=[1, 4])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Backbone, bytes]:
    """A small network of random weights as `espalier backbones add` makes it usable, read back from the store."""
    home = tmp_path_factory.mktemp("home")
    engine, artifacts = database.connect(f"sqlite:///{home / 'espalier.sqlite'}"), Artifacts(str(home / "artifacts"))
    database.migrate(engine)
    made = build(card(request.param), engine, artifacts)
    found = backbones.find(engine, made.name)
    engine.dispose()
    assert found == made
    return found, artifacts.get(found.artifact)


def pictures(channels: int) -> np.ndarray:
    """u8 [N, S, S, C]: noise, brighter on one side by class."""
    found = np.random.default_rng(0).integers(0, 160, (COUNT, SIDE, SIDE, channels), np.uint8)
    for position, label in enumerate(labels(COUNT)):
        found[position, :, : 10 * (label + 1)] += 60
    return found


@pytest.mark.slow
def test_it_is_built_proven_and_asked_with_images_of_its_channels(built):
    """Its spec says how many, through the store and back; taps and cuts are found as in any other."""
    backbone, graph = built
    assert backbone.spec.channels in (1, 4) and backbone.details["taps"]
    assert [cut.name for cut in cuts.of(backbone, graph)] == ["all", "layer1", "layer2", "layer3"]
    assert cuts.named(cuts.of(backbone, graph), "all").shape == (SIDE, SIDE, backbone.spec.channels)
    seen = BackboneSession(backbone, graph, "cpu")
    told = seen.embed(image.collate([{image.NAME: each} for each in pictures(backbone.spec.channels)], backbone.spec))
    assert told.shape[0] == COUNT and np.isfinite(told).all() and told.std(axis=0).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changed"),
    [("layer2", {}), ("all", {}), ("all", {"augment": "crop"}), ("all", {"augment": "randaugment"})],
)
def test_it_is_cut_trained_two_steps_exported_and_proven(built, tmp_path, name, changed):
    """Bit-equal halves, weights that move, and torch as ONNX Runtime; RandAugment knows no alpha."""
    backbone, graph = built
    cut = cuts.named(cuts.of(backbone, graph), name)
    cuts.prove(graph, cut, images(SIDE))
    chosen = recipe.check({"unfreeze": name, "epochs": 1, "batch_size": 4, "warmup": 0} | changed)
    if changed == {"augment": "randaugment"} and backbone.spec.channels == 4:
        with pytest.raises(InvalidInput, match=r"knows pixels of 1 and 3 channels.*augment=crop"):
            plan.plan(graph, images(SIDE), chosen, plan.Known(COUNT, COUNT), [], None)
        return
    fitting, tap = fit(backbone, graph, cut, chosen, tmp_path)
    before = interpreter.run(fitting.network.tail.to_onnx(), tap)
    fitting.run(lambda state: None)
    tail = fitting.network.tail.to_onnx()
    after = session.create(tail).run(None, {cuts.TAP: tap})[0]
    np.testing.assert_allclose(after, interpreter.run(tail, tap), atol=1e-4 * np.abs(after).max())
    assert np.abs(after - before).max() > 1e-3 * np.abs(before).max()


def fit(backbone: Backbone, graph: bytes, cut: Any, chosen: Any, folder: Path) -> tuple[Fitting, np.ndarray]:
    """One of two steps, not begun, and what its tail reads."""
    look = looking(pictures(backbone.spec.channels))
    read = taps.make(folder / "taps", cuts.trunk(graph, cut), cut, look, COUNT, ["served"], lambda: None)
    weight = np.random.default_rng(1).normal(0, 0.1, (backbone.dimension, CLASSES)).astype(np.float32)
    start = HeadProgram((Linear(weight, np.zeros(CLASSES, np.float32)),))
    everyone, pixels = np.arange(COUNT), cut.kind == "input"
    batches = Batches(read, everyone, chosen.batch_size, chosen.augment, chosen.mixup, 0, pixels, CLASSES)
    network = Network(cuts.floated(cuts.tail(graph, cut)), start, chosen)
    tap = np.array(read.data[0], np.float32 if read.data.dtype == np.float16 else read.data.dtype)
    return Fitting(network, batches, torch.from_numpy(labels(COUNT)), None, "softmax", chosen, 0, 1), tap


@pytest.mark.slow  # rounding takes long
@pytest.mark.parametrize("built", [1], indirect=True)
def test_a_grey_one_is_had_in_8_bits(built):
    """Calibrated on grey crops, and cut there, too."""
    backbone, graph = built
    small = int8.convert(graph, calibration.crops(backbone.spec).calibrated[:8])
    (_, cut, *_) = cuts.find(small, images(SIDE))
    cuts.prove(small, cut, images(SIDE))
    assert cut.dtype == "uint8"


def test_weights_of_three_channels_see_a_grey_photo_as_before():
    """Those of the first layer are summed: of mean and deviation 0.5 a grey photo has the embedding that it had."""
    colours = embedded_card("tf_efficientnet_lite0")
    grey = replace(colours, model_options={"in_chans": 1})
    (model, spec), (summed, one) = loader.load(colours), loader.load(grey)
    assert spec.channels == 3 and one.mean == (0.5,) == one.std
    photo = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)
    data = encoded(Image.fromarray(photo))
    wanted, told = (said(net, shape, data) for net, shape in ((model, spec), (summed, one)))
    np.testing.assert_allclose(told, wanted, atol=1e-4 * np.abs(wanted).max())


def said(model: Any, spec: Preprocessing, data: bytes) -> np.ndarray:
    pixels = image.collate([image.decode(data, spec)], spec)[image.NAME]
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
    with torch.no_grad():
        seen = (torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
        found: np.ndarray = model.forward_head(model.forward_features(seen), pre_logits=True).numpy()
    return found


def test_channels_that_no_image_has_are_refused():
    """Before anything is built; and means that are not as many."""
    with pytest.raises(InvalidInput, match=r"1 .grey., 3 .RGB. or 4 .RGBA.") as refused:
        loader.load(card(2))
    assert refused.value.item == "in_chans"
    for given in ("[3]", "true", "3.0", "x"):
        with pytest.raises(InvalidInput, match="is no number of channels that images have"):
            loader.load(card_from_options("any", "resnet10t", "random", {"in_chans": given}))
    with pytest.raises(InvalidInput, match="mean has 2 numbers, and the backbone reads 1 channels"):
        loader.load(card(1, mean="[0.5, 0.5]"))
    assert loader.load(card(4, mean="[0.1, 0.2, 0.3]"))[1].mean == (0.1, 0.2, 0.3, 0.1)


@pytest.mark.parametrize(
    ("channels", "given"),
    [(1, (24, 4, 3, 3)), (3, (24, 4, 3, 3)), (4, (24, 2, 3, 3)), (4, (24, 6, 3, 3)), (3, (24, 1, 3, 3)), (3, (24, 27))],
)
def test_weights_of_other_channels_than_three_are_refused_in_a_sentence(channels, given, tmp_path):
    """timm can make no others of them; a first layer that is no convolution is left alone."""
    tensors = loader._create(card(channels)).state_dict()
    save_file(tensors | {"conv1.0.weight": torch.zeros(given)}, tmp_path / "weights.safetensors")
    with pytest.raises(InvalidInput, match=r"do not fit resnet10t: .* of another shape \['conv1\.0\.weight'\]"):
        loader.load(replace(card(channels), weights=str(tmp_path / "weights.safetensors")))


def test_weights_of_as_many_channels_are_taken_as_they_are(tmp_path):
    tensors = loader._create(card(4)).state_dict()
    save_file(tensors, tmp_path / "weights.safetensors")
    model, _ = loader.load(replace(card(4), weights=str(tmp_path / "weights.safetensors")))
    assert torch.equal(model.state_dict()["conv1.0.weight"], tensors["conv1.0.weight"])
