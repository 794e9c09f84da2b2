"""A card says who builds its backbone."""

import pytest

from adapters import modalities
from adapters.backbones.cards import Card, embedded, embedded_card
from adapters.errors import InvalidInput
from adapters.training.backbone.build import BUILDERS, build
from adapters.types import ORIGINAL


@pytest.mark.parametrize("name", embedded())
def test_every_embedded_card_has_a_builder_and_a_modality(name):
    card = embedded_card(name)
    assert card.builder in BUILDERS and card.modality in modalities.names()
    assert card.weights_sha256 and card.licence and card.source


def test_a_card_that_names_none_is_a_timm_model_of_images():
    card = Card("mine", "resnet18")
    assert (card.builder, card.modality) == ("timm", ORIGINAL)


def test_a_builder_that_there_is_not_is_named_with_those_there_are(tmp_path):
    with pytest.raises(InvalidInput, match=r"there is no builder 'magic'; there are: timm, onnx") as refused:
        build(Card("mine", builder="magic"), None, None)  # nothing is opened before that
    assert refused.value.item == "mine"
