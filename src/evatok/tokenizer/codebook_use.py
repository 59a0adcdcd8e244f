"""How a codebook is used: counts by level over windows of training, and perplexity."""

from functools import lru_cache

import torch
from torch import Tensor

from evatok.nn.packed import Layout, on_device
from evatok.tokenizer.network import Reconstruction
from evatok.tokenizer.picture import token_levels
from evatok.utils.ranks import gathered


class CodebookUse:
    """How often each code was used at each level, in the current window and in the last complete one."""

    def __init__(self, levels: int, codes: int) -> None:
        self.counts = torch.zeros(levels, codes, dtype=torch.int64)
        self.window = torch.zeros(levels, codes, dtype=torch.int64)

    def count(self, output: Reconstruction, levels: tuple[int, ...]) -> None:
        """Adds the tokens of a forward pass."""
        ids = output.quantized.ids
        level = level_numbers(output.layout, levels, ids.device)
        flat = level * self.counts.shape[1] + ids
        # Where the ids are, for a GPU would have to be waited for.
        self.counts = self.counts.to(ids.device)
        self.counts.view(-1).index_add_(0, flat, torch.ones_like(flat))

    def end_window(self) -> None:
        """Makes the current window, of all processes, the last complete one; all must call it."""
        self.window = sum_over_processes(self.counts)
        self.counts.zero_()

    def report(self, levels: tuple[int, ...]) -> dict[str, float]:
        """Share of codes used and perplexity over the last complete window, in all and by level."""
        parts = {"": self.window.sum(0)}
        parts |= {f"/{level}": counts for level, counts in zip(levels, self.window, strict=True)}
        numbers = {}
        for part, counts in parts.items():
            if counts.any():
                numbers[f"codes/used{part}"] = (counts > 0).float().mean().item()
                numbers[f"codes/perplexity{part}"] = perplexity(counts)
        return numbers


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # training uses those that were made before it
def level_numbers(layout: Layout, levels: tuple[int, ...], device: torch.device) -> Tensor:
    """Which of the levels each token's block has, `(N,)` int64 on a device."""
    return on_device(torch.searchsorted(torch.tensor(levels), token_levels(layout)), device)


def sum_over_processes(counts: Tensor) -> Tensor:
    """The sum of all processes' counts, on the CPU of every one of them; all must call it."""
    return torch.stack(gathered(counts.cpu())).sum(0)


def perplexity(counts: Tensor) -> float:
    """Exponential of the entropy of codes with these `counts`: how many equally used codes would be as varied."""
    share = counts.double() / counts.sum()
    return torch.special.entr(share).sum().exp().item()
