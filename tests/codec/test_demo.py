"""What the demo lets choose lengths."""

from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.codec.demo import BEAM, choices_of
from evatok.nn.transformer import TransformerConfig
from evatok.router.config import RouterConfig
from evatok.router.model import Router
from evatok.tokenizer.lengths import LengthRequest


def router(head: str) -> Router:
    """A router whose mean says that a block of 8 tokens is 0.1 better than one of 4, and of the first one 0.5."""
    calibration = Calibration(ProxyReward(0.5, 0.1, 24.0, 4.0), 1.2)
    size = TransformerConfig(32, 1, 2)
    made = Router(RouterConfig((4, 8), 2, side=16, transformer=size, head=head, calibration=calibration))  # type: ignore[arg-type]
    if head == "prefix_regression":
        made.network.mean.copy_(made.network.mean.new_tensor([1.0, 0.5, *[1.0, 0.9] * 2]))
    return made


def test_the_best_fixed_lengths_are_those_of_the_mean_at_the_routers_price() -> None:
    # A token costs 0.8 / 1.2 * 0.1 / 4 = 0.0167: four more (0.067) pay in the first block (0.25), not in the next.
    choices = choices_of(router("prefix_regression"), measurable=True)
    assert choices == {
        "best fixed": LengthRequest(assignment=(8, 4)),
        "router": LengthRequest(),
        f"beam {BEAM}": LengthRequest(beam=BEAM),
    }


def test_what_cannot_be_is_left_out() -> None:
    assert list(choices_of(router("prefix_regression"), measurable=False)) == ["best fixed", "router"]
    assert list(choices_of(router("regression"), measurable=True)) == ["router", f"beam {BEAM}"]
    assert list(choices_of(router("classification"), measurable=True)) == ["router"]
