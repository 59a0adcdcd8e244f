"""Features of the decoder's layers, for losses on them."""

import pytest
import torch

from evatok.nn.packed import Layout
from evatok.tokenizer.model import VideoTokenizer


def test_features_of_a_layer_lie_on_the_grid_of_patches(mini: VideoTokenizer) -> None:
    video = torch.rand(2, 8, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    layout, depth = Layout.of([[4, 8], [8, 4]]), mini.config.decoder.depth
    plain = mini(video, layout)
    assert plain.features is None
    last = mini(video, layout, layer=depth)
    assert torch.equal(last.video, plain.video)
    assert torch.equal(last.quantized.ids, plain.quantized.ids)
    rows, columns = 32 // mini.config.patch[1], 48 // mini.config.patch[2]
    assert last.features.shape == (2, 2, rows, columns, mini.config.decoder.width)
    pixels = mini.decoder.frames(mini.decoder.transformer.norm(last.features).flatten(2, 3), (rows, columns))
    drawn = 0 if plain.sketch is None else plain.sketch
    torch.testing.assert_close(drawn + pixels, plain.video, rtol=0, atol=1e-6)


def test_gradients_reach_the_layers_up_to_the_one_that_is_looked_at(mini: VideoTokenizer) -> None:
    video = torch.rand(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    layers = mini.decoder.transformer.layers
    weights = [layer.get_parameter("up.weight") for layer in layers]
    features = mini(video, Layout.of([[8]]), layer=1).features
    grads = torch.autograd.grad(features.square().sum(), weights, allow_unused=True)
    assert [grad is not None for grad in grads] == [True] + [False] * (len(layers) - 1)


@pytest.mark.parametrize("layer", [0, -1, 99])
def test_a_layer_that_the_decoder_does_not_have_is_an_error(mini: VideoTokenizer, layer: int) -> None:
    depth = mini.config.decoder.depth
    with pytest.raises(ValueError, match=f"layer must be among the decoder's 1 to {depth}, got {layer}"):
        mini(torch.zeros(1, 4, 3, 32, 32), Layout.of([[8]]), layer=layer)
