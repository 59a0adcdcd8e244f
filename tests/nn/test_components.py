"""Components of vectors, and what they start from."""

import pytest
import torch
from torch import Tensor

from evatok.nn.components import Components, Whitened, principal_components


def vectors(count: int = 400) -> Tensor:
    """Vectors of six numbers that lie near a plane."""
    generator = torch.Generator().manual_seed(0)
    plane = torch.linalg.qr(torch.randn(6, 2, generator=generator)).Q
    return torch.randn(count, 2, generator=generator) * torch.tensor([5.0, 2.0]) @ plane.T + 0.01 * torch.randn(
        count, 6, generator=generator
    )


def test_principal_components_are_those_of_the_singular_values() -> None:
    rows, squares = principal_components(vectors(), 3)
    _, sizes, directions = torch.linalg.svd(vectors(), full_matrices=False)
    torch.testing.assert_close(squares, sizes[:3] ** 2 / 400, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close((rows[:2] @ directions[:2].T).abs(), torch.eye(2), atol=1e-3, rtol=0)


def test_what_is_drawn_of_components_is_nearly_the_vector() -> None:
    components = Components(6, 2)
    components.start(principal_components(vectors(), 2)[0])
    torch.testing.assert_close(components(vectors()) @ components.rows, vectors(), atol=0.1, rtol=0)
    # An optimiser's step, as large for every entry, is small beside entries of about 1.
    assert components.weight.detach().square().mean() == pytest.approx(1, abs=1e-4)


def test_whitened_components_are_of_unit_size() -> None:
    whitened = Whitened(6, 2)
    whitened.start(vectors())
    torch.testing.assert_close(whitened(vectors()).square().mean(0), torch.ones(2), rtol=1e-3, atol=0)


def test_more_components_than_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="count must be between 1 and the vectors' 6, got 7"):
        Components(6, 7)
