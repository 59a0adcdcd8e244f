"""The layers and the places of a plain ViT."""

import torch

from evatok.nn.transformer import TransformerConfig
from evatok.nn.vit import patch_coordinates, vit_layers


def test_layers_begin_apart_and_keep_the_size_of_what_goes_through() -> None:
    torch.manual_seed(0)
    layers = vit_layers(TransformerConfig(64, 2, 4))
    first, second = (layer.linear1.weight for layer in layers.layers)
    assert not torch.equal(first, second)
    assert 0.9 < first.std() * 8 < 1.1
    seen = layers(torch.randn(2, 5, 64))
    assert seen.shape == (2, 5, 64) and 0.9 < seen.std() < 1.1


def test_every_element_sees_the_others() -> None:
    torch.manual_seed(0)
    layers, values = vit_layers(TransformerConfig(32, 1, 2)), torch.randn(1, 6, 32)
    changed = values.clone()
    changed[0, 5] *= -1
    assert ((layers(values) - layers(changed))[0].abs().amax(1) > 1e-6).all()


def test_places_are_those_of_patches_in_the_trained_square() -> None:
    found = patch_coordinates(torch.zeros(3, 8, 3, 16, 32), (4, 8, 8), side=32)
    assert found.shape == (16, 3)
    assert found[0].tolist() == [0, -0.125, -0.375]
    assert found[3].tolist() == [0, -0.125, 0.375]
    assert found[12].tolist() == [1, 0.125, -0.375]
