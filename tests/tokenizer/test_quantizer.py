"""The vector quantizer, and what keeps its codes in use."""

import math

import pytest
import torch
import torch.nn.functional as F
from vector_quantize_pytorch import VectorQuantize

from evatok.nn.packed import Layout
from evatok.tokenizer import quantizer as module
from evatok.tokenizer.codebook_use import perplexity
from evatok.tokenizer.config import QuantizerConfig
from evatok.tokenizer.quantizer import VectorQuantizer


@pytest.fixture
def quantizer() -> VectorQuantizer:
    made = VectorQuantizer(QuantizerConfig(codebook_size=4, dim=2))
    made.codebook.data = torch.tensor([[2.0, 0], [0, 3], [-1, 0], [0, -0.5]])
    return made


def losses_of(quantizer: VectorQuantizer, features: torch.Tensor) -> dict[str, torch.Tensor]:
    """The losses of features that are the tokens of one clip."""
    return quantizer.losses(quantizer(features), Layout(((len(features),),)))


def test_takes_the_nearest_direction_and_passes_the_gradient_through(quantizer: VectorQuantizer) -> None:
    features = torch.tensor([[5.0, 1.0], [-0.1, 0.2], [0.3, -0.4]], requires_grad=True)
    quantized = quantizer(features)
    assert quantized.ids.tolist() == [0, 1, 3]
    torch.testing.assert_close(quantized.values, torch.tensor([[1.0, 0], [0, 1], [0, -1]]))
    weight = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    through = torch.autograd.grad((quantized.values * weight).sum(), features)[0]
    plain = torch.autograd.grad((F.normalize(features, dim=1) * weight).sum(), features)[0]
    torch.testing.assert_close(through, plain)


def test_forward_equals_an_independent_implementation() -> None:
    ours = VectorQuantizer(QuantizerConfig(codebook_size=64, dim=6))
    theirs = VectorQuantize(dim=6, codebook_size=64, use_cosine_sim=True, rotation_trick=False).eval()
    theirs._codebook.embed.copy_(F.normalize(ours.codebook.detach(), dim=1)[None])
    features = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    quantized = ours(features)
    values, ids, _ = theirs(features[None])
    assert torch.equal(quantized.ids, ids[0]) and len(ids.unique()) > 50
    torch.testing.assert_close(quantized.values, values[0])


def test_losses_pull_features_and_codes_together(quantizer: VectorQuantizer) -> None:
    features = torch.tensor([[1.0, 1.0]], requires_grad=True)
    losses = losses_of(quantizer, features)
    distance = 2 - 2 * math.cos(math.pi / 4)
    assert losses["codebook"].item() == pytest.approx(distance, abs=1e-5)
    assert losses["commitment"].item() == pytest.approx(0.25 * distance, abs=1e-5)
    losses["codebook"].backward()
    assert features.grad is None and quantizer.codebook.grad is not None


def test_entropy_prefers_sure_tokens_and_an_even_use(quantizer: VectorQuantizer) -> None:
    even = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    entropies = {
        "even": losses_of(quantizer, even)["entropy"].item(),
        "one code": losses_of(quantizer, even[:1].expand(4, 2))["entropy"].item(),
        "unsure": losses_of(quantizer, even + even.roll(1, 0))["entropy"].item(),
    }
    assert entropies["even"] == pytest.approx(-0.02 * math.log(4), abs=1e-4)
    assert entropies["even"] < entropies["unsure"] < entropies["one code"] + 1e-6


def test_entropy_and_its_gradient_are_those_of_the_definition() -> None:
    quantizer = VectorQuantizer(QuantizerConfig(codebook_size=12, dim=4, entropy=1.0, temperature=0.5))
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    distances = (F.normalize(features, dim=1)[:, None] - quantizer.codes()).square().sum(2)
    probability = (-distances / 0.5).softmax(1)
    mean = probability.mean(0)
    expected = torch.special.entr(probability).sum(1).mean() - torch.special.entr(mean).sum()
    found = losses_of(quantizer, features)["entropy"]
    torch.testing.assert_close(found, expected)
    for wanted, got in zip(
        torch.autograd.grad(expected, (features, quantizer.codebook)),
        torch.autograd.grad(found, (features, quantizer.codebook)),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_parts_of_the_matrix_of_tokens_by_codes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer = VectorQuantizer(QuantizerConfig(codebook_size=12, dim=4, unit=False))
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def found() -> tuple[torch.Tensor, ...]:
        entropy = losses_of(quantizer, features)["entropy"]
        return quantizer.nearest(features), entropy, *torch.autograd.grad(entropy, (features, quantizer.codebook))

    whole = found()
    monkeypatch.setattr(module, "_AT_ONCE", 100)
    torch.testing.assert_close(found(), whole)


def test_a_short_clip_counts_as_much_as_a_long_one() -> None:
    quantizer = VectorQuantizer(QuantizerConfig(codebook_size=12, dim=4, entropy=1.0, temperature=0.5, unit=False))
    features = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    found = quantizer.losses(quantizer(features), Layout(((2,), (4, 2))))
    short, long = quantizer(features[:2]), quantizer(features[2:])
    expected = [(q.values - q.features).square().sum(1).mean() for q in (short, long)]
    assert found["codebook"].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)
    probability = (-torch.cdist(features, quantizer.codebook.detach()).square() / 0.5).softmax(1)
    parts = probability.split([2, 6])
    mean = (parts[0].mean(0) + parts[1].mean(0)) / 2
    sure = sum(torch.special.entr(part).sum(1).mean().item() for part in parts) / 2
    assert found["entropy"].item() == pytest.approx(sure - torch.special.entr(mean).sum().item(), rel=1e-4)


def test_entropy_is_that_of_each_book_by_the_share_of_its_tokens() -> None:
    quantizer = VectorQuantizer(QuantizerConfig(codebook_size=6, dim=4, entropy=1.0, temperature=0.5, unit=False), 3)
    features = torch.randn(10, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    books = torch.tensor([0, 2, 2, 0, 0, 2, 2, 2, 0, 2])  # the second has no token
    rows = [(books == book).nonzero()[:, 0] for book in range(3)]
    found = quantizer.losses(quantizer(features), Layout(((10,),)), rows)["entropy"]
    expected = torch.zeros(())
    for book in (0, 2):
        own, codes = features[books == book], quantizer.codebook[6 * book : 6 * book + 6]
        probability = (-(own[:, None] - codes).square().sum(2) / 0.5).softmax(1)
        entropy = torch.special.entr(probability).sum(1).mean() - torch.special.entr(probability.mean(0)).sum()
        expected = expected + len(own) / 10 * entropy
    torch.testing.assert_close(found, expected)
    for wanted, got in zip(
        torch.autograd.grad(expected, (features, quantizer.codebook)),
        torch.autograd.grad(found, (features, quantizer.codebook)),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_a_book_takes_and_redraws_its_own_codes_alone() -> None:
    quantizer, generator = VectorQuantizer(QuantizerConfig(codebook_size=4, dim=2, unit=False), 2), torch.Generator()
    first = quantizer.codebook.detach()[:4].clone()
    quantizer.draw(torch.randn(20, 2, generator=generator) + 10, generator, book=1)
    quantizer.fit(torch.randn(20, 2, generator=generator) + 10, generator, book=1)
    assert quantizer.redraw_unused(torch.tensor([0, 1, 1, 1]), torch.full((9, 2), 30.0), generator, 1).tolist() == [
        True,
        False,
        False,
        False,
    ]
    assert torch.equal(quantizer.codebook[:4], first)
    assert quantizer.codebook[4].min() > 29 and quantizer.codebook[5:].max() < 20
    # However near a code of another book is.
    assert quantizer(first, book=1).ids.min() >= 4 and torch.equal(quantizer(first).ids, torch.arange(4))


def test_computes_in_float32_under_autocast(quantizer: VectorQuantizer) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        quantized = quantizer(torch.tensor([[1.0, 0.001]], dtype=torch.bfloat16))
    assert quantized.values.dtype == quantized.features.dtype == torch.float32


def test_draw_takes_codes_from_features_and_redraw_only_replaces_unused() -> None:
    quantizer = VectorQuantizer(QuantizerConfig(codebook_size=6, dim=3))
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(4, 3, generator=generator), dim=1)
    quantizer.draw(features, generator)
    nearest = (quantizer.codes() @ features.T).max(1)
    assert nearest.values.min() > 0.99 and len(nearest.indices.unique()) == 4
    before = quantizer.codebook.clone()
    drawn = quantizer.redraw_unused(torch.tensor([3, 0, 1, 1, 0, 2]), -features, generator)
    assert drawn.tolist() == [False, True, False, False, True, False]
    assert torch.equal(quantizer.codebook[~drawn], before[~drawn])
    assert (quantizer.codes()[drawn] @ -features.T).max(1).values.min() > 0.99


def test_codes_of_any_length_are_the_nearest_ones() -> None:
    quantizer = VectorQuantizer(QuantizerConfig(codebook_size=50, dim=3, unit=False))
    features = 3 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    expected = (features[:, None] - quantizer.codebook).square().sum(2).argmin(1)
    quantized = quantizer(features)
    assert torch.equal(quantized.ids, expected)
    torch.testing.assert_close(quantized.values, quantizer.codebook[expected])
    assert torch.equal(quantized.features, features)


def test_fit_finds_clusters() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[2.0, 0.0], [-1.0, 3.0], [0.5, -2.0], [-3.0, -3.0]])
    features = (centres[:, None] + 0.05 * torch.randn(4, 100, 2, generator=generator)).flatten(0, 1)
    quantizer = VectorQuantizer(QuantizerConfig(codebook_size=8, dim=2, unit=False))
    quantizer.draw(features, generator)
    drawn = (quantizer(features).values - features).square().mean()
    quantizer.fit(features, generator)
    assert torch.cdist(centres, quantizer.codebook.detach()).min(1).values.max() < 0.1
    assert (quantizer(features).values - features).square().mean() < 0.9 * drawn


def test_perplexity_counts_equally_used_codes() -> None:
    assert perplexity(torch.tensor([5, 5, 0, 5])) == pytest.approx(3)
    assert perplexity(torch.tensor([7, 0])) == pytest.approx(1)


@pytest.mark.parametrize("wrong", [{"codebook_size": 1}, {"dim": 0}, {"commitment": -1.0}, {"temperature": 0.0}])
def test_config_names_the_wrong_value(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        QuantizerConfig(**wrong)  # type: ignore[arg-type]
