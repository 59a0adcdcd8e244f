"""The proxy reward on tables worked out by hand."""

import pytest
import torch

from evatok.allocation.reward import ProxyReward

TOKENS = torch.tensor([10, 20, 30])
TABLE = torch.tensor([[0.5, 0.3, 0.1], [0.3, 0.3, 0.3]])


def test_fit_takes_means_and_deviations_over_clips_and_assignments() -> None:
    reward = ProxyReward.fit(TABLE, TOKENS)
    assert reward.lpips_mean == pytest.approx(0.3) and reward.tokens_mean == 20
    assert reward.lpips_std == pytest.approx((2 * 0.04 / 6) ** 0.5)
    assert reward.tokens_std == pytest.approx((200 / 3) ** 0.5)


def test_quality_rises_as_lpips_falls_and_length_costs() -> None:
    reward = ProxyReward(0.3, 0.1, 20, 10)
    rewards = reward(TABLE, TOKENS, w_q=1.5)
    assert rewards[0].tolist() == pytest.approx([-3 + 0.5, 0, 3 - 0.5], abs=1e-6)
    assert rewards[1].tolist() == pytest.approx([0.5, 0, -0.5], abs=1e-6)
    assert reward(TABLE, TOKENS, w_q=2.0)[1].tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_the_price_ranks_as_the_reward_does() -> None:
    reward, table = ProxyReward(0.3, 0.1, 20, 10), torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    for w_q in (0.4, 1.2, 2.0):
        by_price = (table + reward.price(w_q) * TOKENS).argmin(1)
        assert torch.equal(by_price, reward(table, TOKENS, w_q).argmax(1))


def test_senseless_weights_and_tables_are_refused() -> None:
    reward = ProxyReward(0.3, 0.1, 20, 10)
    for w_q in (-0.1, 2.1, torch.nan):
        with pytest.raises(ValueError, match="w_q must be from 0 to 2"):
            reward(TABLE, TOKENS, w_q)
    with pytest.raises(ValueError, match="lpips_std must be positive"):
        ProxyReward.fit(torch.full((2, 3), 0.5), TOKENS)
    with pytest.raises(ValueError, match="not finite"):
        ProxyReward.fit(torch.tensor([[torch.nan]]), TOKENS[:1])
    for w_q in (0.0, 2.1, torch.nan):
        with pytest.raises(ValueError, match="w_q must be above 0"):
            reward.price(w_q)
