"""BD-tokens against the `bjontegaard` package, and savings that can be worked out by hand."""

import bjontegaard
import numpy as np
import pytest

from evatok.evaluation.rate import bd_tokens, front, saved_at_equal_quality

UNIFORM = np.array([32.0, 64, 128, 256, 512])
QUALITY = -np.array([0.262, 0.220, 0.192, 0.163, 0.150])


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_bd_rate_of_the_bjontegaard_package(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = np.sort(rng.uniform(30, 500, 6))
    quality = np.sort(rng.uniform(-0.27, -0.14, 6))
    expected = bjontegaard.bd_rate(
        UNIFORM, QUALITY, tokens, quality, method="pchip", min_overlap=0, require_matching_points=False
    )
    found = bd_tokens(tokens, quality, UNIFORM, QUALITY)
    assert found.percent == pytest.approx(-expected, abs=1e-6)
    shared = min(quality[-1], QUALITY[-1]) - max(quality[0], QUALITY[0])
    assert found.overlap == pytest.approx(shared / (max(quality[-1], QUALITY[-1]) - min(quality[0], QUALITY[0])))


def test_the_order_of_points_and_beaten_points_do_not_matter() -> None:
    plain = bd_tokens(UNIFORM / 2, QUALITY, UNIFORM, QUALITY)
    assert plain.percent == pytest.approx(50) and plain.overlap == pytest.approx(1)
    beaten = bd_tokens(
        np.append(UNIFORM / 2, [300.0, 40]), np.append(QUALITY, [-0.2, -0.262]), UNIFORM[::-1], QUALITY[::-1]
    )
    assert beaten.percent == pytest.approx(50)
    tokens, quality = front(np.array([8.0, 4, 8, 2]), np.array([3.0, 1, 2, 1]))
    assert tokens.tolist() == [2, 8] and quality.tolist() == [1, 3]


def test_nothing_in_common_is_no_saving_rather_than_a_guess() -> None:
    apart = bd_tokens(UNIFORM, QUALITY + 1, UNIFORM, QUALITY)
    assert apart.percent is None and apart.overlap == 0
    assert bd_tokens(UNIFORM[:1], QUALITY[:1], UNIFORM, QUALITY).percent is None


def test_tokens_saved_at_equal_quality() -> None:
    saved = saved_at_equal_quality(
        np.array([32.0, 96, 600, 20]), np.array([-0.22, -0.192, -0.1, -0.3]), UNIFORM, QUALITY
    )
    assert saved[:2].tolist() == pytest.approx([50, 25]) and np.isnan(saved[2:]).all()
    halfway = saved_at_equal_quality(np.array([50.0]), np.array([-0.2]), UNIFORM, QUALITY)
    assert 100 * (1 - 50 / 64) < 100 * (1 - 50 / 128) and 100 * (1 - 50 / 64) < halfway[0] < 100 * (1 - 50 / 128)
