"""What the demo lets choose lengths."""

from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.codec.demo import BEAM, W_Q, choices_of, with_equal_tokens
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


def test_the_best_fixed_lengths_are_those_of_the_mean_at_the_preferences_price() -> None:
    # At 1.2 a token costs 0.8 / 1.2 * 0.1 / 4 = 0.0167: four more (0.067) pay in the first block (0.25), not in the
    # next (0.05); at 1.5 it costs 0.0083, and they pay in both.
    for w_q, fixed in ((None, (8, 4)), (1.5, (8, 8))):
        assert choices_of(router("prefix_regression"), measurable=True, w_q=w_q) == {
            "best fixed": LengthRequest(assignment=fixed),
            "router": LengthRequest(w_q=w_q),
            f"beam {BEAM}": LengthRequest(beam=BEAM, w_q=w_q),
        }


def test_what_cannot_be_is_left_out() -> None:
    assert list(choices_of(router("prefix_regression"), measurable=False)) == ["best fixed", "router"]
    assert list(choices_of(router("regression"), measurable=True)) == ["router", f"beam {BEAM}"]
    assert choices_of(router("classification"), measurable=True) == {"router": LengthRequest()}


def test_all_choices_take_at_most_the_tokens_of_the_fixed_lengths() -> None:
    fixed, asked = LengthRequest(assignment=(8, 8)), list[LengthRequest]()

    def tokens(request: LengthRequest) -> int:
        asked.append(request)
        return 100 if request == fixed else round(80 * float(request.w_q or 0)) - 10 * request.beam

    choices = {"best fixed": fixed, "router": LengthRequest(w_q=W_Q), "beam": LengthRequest(w_q=W_Q, beam=2)}
    found = with_equal_tokens(choices, tokens)
    # 80 w_q <= 100, 80 w_q - 20 <= 100, by steps of a twentieth.
    assert found == {"best fixed": fixed, "router": LengthRequest(w_q=1.25), "beam": LengthRequest(w_q=1.5, beam=2)}
    assert len(asked) <= 1 + 2 * 6


def test_where_even_the_fewest_are_more_the_fewest_are_taken() -> None:
    choices = {"best fixed": LengthRequest(uniform=4), "router": LengthRequest(w_q=W_Q)}
    found = with_equal_tokens(choices, lambda request: 10 if request.w_q is None else 11)
    assert found["router"] == LengthRequest(w_q=0.05)


def test_without_fixed_lengths_choices_stay_as_they_are() -> None:
    choices = choices_of(router("regression"), measurable=True)
    assert with_equal_tokens(choices, lambda request: 1) == choices
