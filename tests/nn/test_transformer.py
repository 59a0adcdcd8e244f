"""Compiled layers: the same results, and nothing compiled anew by another mix of lengths."""

from collections.abc import Iterator

import pytest
import torch
from torch.fx.experimental.symbolic_shapes import ConstraintViolationError

from evatok.nn.packed import Layout, Packed
from evatok.nn.positions import Rotary
from evatok.nn.transformer import (
    Located,
    Transformer,
    TransformerConfig,
    TransformerLayer,
    _gelu,
    compile_layers,
    recompute_layers,
)

CONFIG = TransformerConfig(width=32, depth=3, heads=2)
# Lengths of the elements and of the reference, by clip and block; the first is what gets compiled.
MIXES: list[tuple[list[tuple[int, ...]], list[tuple[int, ...]]]] = [
    ([(3, 5)] * 2, [(4, 4)] * 2),
    ([(32, 2)], [(4, 4)]),
    ([(8, 8, 8, 8)] * 7, [(16, 16, 16, 16)] * 7),
    ([(1, 2, 3), (7,), (2, 9)], [(4, 4, 4), (4,), (4, 4)]),
    ([(1,), (1,)], [(1,), (1,)]),
    ([(2, 62)], [(16, 16)]),
]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def located(lengths: list[tuple[int, ...]], seed: int) -> Located:
    layout, generator = Layout(tuple(lengths)), torch.Generator().manual_seed(seed)
    values = torch.randn(layout.size, CONFIG.width, generator=generator, requires_grad=True)
    return Located(Packed(values, layout), Rotary(16)(torch.rand(layout.size, 3, generator=generator)))


def run(model: Transformer, mix: int) -> list[torch.Tensor]:
    """Output and gradients of a mix of lengths."""
    x, reference = located(MIXES[mix][0], seed=mix), located(MIXES[mix][1], seed=100 + mix)
    output, _ = model(x, reference)
    wanted = (x.packed.values, reference.packed.values, *model.parameters())
    return [output.values, *torch.autograd.grad(output.values.square().sum(), wanted)]


def test_compiled_layers_give_the_same_and_never_recompile() -> None:
    plain = Transformer(CONFIG)
    compiled = Transformer(CONFIG)
    compiled.load_state_dict(plain.state_dict())
    compile_layers(compiled, backend="aot_eager")
    run(compiled, 0)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for mix in range(len(MIXES)):
            for found, expected in zip(run(compiled, mix), run(plain, mix), strict=True):
                torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_recomputed_layers_give_the_same_and_keep_less() -> None:
    plain, again = Transformer(CONFIG), Transformer(CONFIG)
    again.load_state_dict(plain.state_dict())
    recompute_layers(again)
    kept = []
    for model in (plain, again):
        sizes: list[int] = []

        def pack(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(located(MIXES[2][0], seed=0), located(MIXES[2][1], seed=1))
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 5
    for mix in range(len(MIXES)):
        assert all(map(torch.equal, run(again, mix), run(plain, mix)))
    with torch.no_grad():
        x, reference = located(MIXES[0][0], seed=0), located(MIXES[0][1], seed=1)
        assert len(again(x, reference)[1]) == CONFIG.depth


def test_a_layer_that_would_depend_on_the_number_of_elements_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def output_mlp(self: TransformerLayer, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        return x * 2 if len(x) == 16 else x + attended.flatten(1)

    monkeypatch.setattr(TransformerLayer, "output_mlp", output_mlp)
    model = Transformer(CONFIG)
    compile_layers(model, backend="eager")
    with pytest.raises(ConstraintViolationError, match="specialized it to be a constant"):
        run(model, 0)


def test_gelu_is_the_same_with_and_without_gradients() -> None:
    x = torch.linspace(-12, 12, 4001)
    with_gradients = _gelu(x.clone().requires_grad_())
    torch.testing.assert_close(_gelu(x), with_gradients.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(x, torch.linspace(-12, 12, 4001), rtol=0, atol=0)


def test_what_is_watched_is_the_stack_up_to_a_layer() -> None:
    x, reference = located(MIXES[3][0], seed=0), located(MIXES[3][1], seed=1)
    model, seen = Transformer(CONFIG), dict[int, torch.Tensor]()
    output, _ = model(x, reference, watch=seen.__setitem__)
    assert list(seen) == [1, 2, 3]
    assert torch.equal(model.norm(seen[3]), output.values)
    shorter = Transformer(CONFIG)
    shorter.load_state_dict(model.state_dict())
    del shorter.layers[2:]
    assert torch.equal(shorter(x, reference)[0].values, model.norm(seen[2]))
    assert torch.equal(model(x, reference)[0].values, output.values)
