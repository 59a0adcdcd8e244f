"""Coordinates, pooling and rotary angles."""

import pytest
import torch

from evatok.nn.positions import Rotary, cell_centres, nearest_grid, patch_offsets, pooling_matrix, rotate


@pytest.mark.parametrize(
    ("cells", "aspect", "grid"),
    [
        (32, 1.0, (4, 8)),
        (64, 1.0, (8, 8)),
        (128, 1.0, (8, 16)),
        (32, 2.0, (8, 4)),
        (7, 1.0, (1, 7)),
        (64, 6 / 11, (8, 8)),
    ],
)
def test_nearest_grid(cells: int, aspect: float, grid: tuple[int, int]) -> None:
    assert nearest_grid(cells, aspect) == grid


def test_cell_centres_keep_a_square_a_square() -> None:
    centres = cell_centres((2, 4), (1.0, 2.0)).view(2, 4, 2)
    assert centres[:, 0, 0].tolist() == [-0.25, 0.25]
    assert centres[0, :, 1].tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_pooling_is_the_mean_over_the_area_a_cell_covers() -> None:
    assert pooling_matrix((1, 2), (2, 4)).tolist() == [
        [0.25, 0.25, 0, 0, 0.25, 0.25, 0, 0],
        [0, 0, 0.25, 0.25, 0, 0, 0.25, 0.25],
    ]
    uneven = pooling_matrix((1, 2), (1, 3))
    torch.testing.assert_close(uneven, torch.tensor([[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]]))
    assert torch.equal(pooling_matrix((3, 5), (3, 5)), torch.eye(15))


def test_more_cells_than_positions_are_interpolated() -> None:
    matrix = pooling_matrix((1, 4), (1, 2))
    torch.testing.assert_close(matrix @ torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.25, 0.75, 1.0]))


@pytest.mark.parametrize("cells", [(8, 16), (3, 5), (2, 2)])
def test_pooling_keeps_a_constant(cells: tuple[int, int]) -> None:
    torch.testing.assert_close(pooling_matrix(cells, (6, 11)).sum(1), torch.ones(cells[0] * cells[1]))


def test_rotary_products_depend_on_differences_of_coordinates_alone() -> None:
    rotary = Rotary(32)
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 32, generator=generator)
    at = torch.tensor([[1.0, 0.3, -0.2]]), torch.tensor([[0.0, -0.1, 0.4]])
    shift = torch.tensor([[2.0, 0.25, -0.5]])
    here = (rotate(q, rotary(at[0])) * rotate(k, rotary(at[1]))).sum()
    there = (rotate(q, rotary(at[0] + shift)) * rotate(k, rotary(at[1] + shift))).sum()
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)
    elsewhere = (rotate(q, rotary(at[0] + shift)) * rotate(k, rotary(at[1]))).sum()
    assert (here - elsewhere).abs() > 1e-2


def test_rotary_needs_a_head_it_can_divide() -> None:
    with pytest.raises(ValueError, match="multiple of 16, got 24"):
        Rotary(24)


def test_offsets_are_places_within_a_patch_where_cells_are_finer() -> None:
    assert patch_offsets((1, 4), (2, 2)).tolist() == [[0, -0.25], [0, 0.25], [0, -0.25], [0, 0.25]]
    assert not patch_offsets((2, 2), (2, 4)).any()
    assert patch_offsets((2, 1), (1, 1)).tolist() == [[-0.25, 0], [0.25, 0]]
