"""Parts of predictors whose answers can be worked out by hand or by another library's least squares."""

import numpy as np
import pytest
import torch

from evatok.allocation.predictors import BlockRidge, motion, table_of
from evatok.assignment import AssignmentSpace

SPACE = AssignmentSpace((1, 2), 2)  # prefixes: (1), (2), (1, 1), (1, 2), (2, 1), (2, 2)


def test_a_table_has_the_means_over_blocks() -> None:
    values = torch.tensor([[0.4, 0.2, 0.6, 0.5, 0.4, 0.2]])
    assert table_of(values, SPACE)[0].tolist() == pytest.approx([0.5, 0.45, 0.3, 0.2])
    assert table_of(values, SPACE.of_blocks(1))[0].tolist() == pytest.approx([0.4, 0.2])


def test_motion_is_the_mean_change_and_the_step_into_a_block_is_its_own() -> None:
    video = torch.zeros(1, 8, 3, 2, 2)
    video[0, 1:] = 0.3  # one step within the first block
    video[0, 4:] = 0.7  # the step into the second
    assert motion(video, 4)[0].tolist() == pytest.approx([0.3 / 3, 0.4 / 4])
    assert motion(video[:, :5], 4)[0].tolist() == pytest.approx([0.1, 0.4])
    assert motion(video[:, :1], 4).tolist() == [[0.0]]
    still = torch.full((2, 16, 3, 4, 4), 7, dtype=torch.uint8)
    assert motion(still, 4).shape == (2, 4) and not motion(still, 4).any()


def test_a_ridge_finds_a_law_that_there_is() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(200, 2, generator=generator, dtype=torch.float64) + 0.1
    first, second = features.log().unbind(1)
    law = [first, 2 * first, first + second, second**2, 3 + first - second, -second]
    ridge = BlockRidge.fit(SPACE, features[:150], torch.stack(law, 1)[:150])
    torch.testing.assert_close(ridge(features[150:]), torch.stack(law, 1)[150:], rtol=0, atol=1e-4)
    # A shorter clip has the beginning of the longer one's values.
    torch.testing.assert_close(ridge(features[150:, :1]), ridge(features[150:])[:, :2])


def test_noise_is_shrunk_to_the_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.rand(40, 2, generator=generator) + 0.1
    values = torch.randn(40, 6, generator=generator) + torch.arange(6.0)
    predicted = BlockRidge.fit(SPACE, features, values)(features)
    design = np.concatenate([np.ones((40, 1)), features.log().numpy(), features.log().square().numpy()], 1)
    free = design @ np.linalg.lstsq(design, values[:, 2:].numpy(), rcond=None)[0]
    mean = values.mean(0)
    assert (predicted - mean)[:, 2:].square().mean() < 0.2 * np.square(free - mean[2:].numpy()).mean()
