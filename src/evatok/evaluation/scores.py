"""What an evaluation of reconstructions finds: scores by source, assignment and block, and the use of codes."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from evatok.assignment import Assignment
from evatok.tokenizer.codebook_use import perplexity


@dataclass(frozen=True)
class CodeUse:
    """How a number of tokens make use of the codebook.

    Args:
        used: share of the codes that occur at least once, 0 to 1.
        perplexity: as many equally frequent codes would be as varied; 1 to the codebook's size.
        tokens: tokens counted. A few tokens cannot use many codes: compare uses over as many tokens.
    """

    used: float
    perplexity: float
    tokens: int

    @classmethod
    def of(cls, counts: Tensor) -> Self:
        """The use that `counts` (codes,) int64 show, of which at least one is above 0."""
        return cls((counts > 0).double().mean().item(), perplexity(counts), int(counts.sum()))


@dataclass(frozen=True)
class BlockScores:
    """Means over the clips of a source of one block's scores.

    Args:
        psnr: in dB, of the block's frames together, higher is better.
        lpips: 0 and above, lower is better.
    """

    psnr: float
    lpips: float


@dataclass(frozen=True)
class Scores:
    """Means over the clips of a source at one assignment; `ReconstructionResult.protocol` says of what.

    Args:
        assignment: tokens of each block.
        clips: number of clips.
        psnr: in dB, higher is better.
        ssim: at most 1, higher is better.
        lpips: 0 and above, lower is better.
        l1: mean absolute error of pixels in [-1, 1], lower is better.
        codes: use of the codebook by the tokens of these clips.
        blocks: scores of each block, first to last; none where a record was written before there were any.
    """

    assignment: Assignment
    clips: int
    psnr: float
    ssim: float
    lpips: float
    l1: float
    codes: CodeUse
    blocks: tuple[BlockScores, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of a clip."""
        return sum(self.assignment)

    @property
    def uniform(self) -> int | None:
        """Tokens of every block, None where blocks differ."""
        return self.assignment[0] if len(set(self.assignment)) == 1 else None


@dataclass(frozen=True)
class SourceScores:
    """Scores of a source at each assignment, and the codes that it uses over all of them."""

    name: str
    scores: tuple[Scores, ...]
    codes: CodeUse


@dataclass(frozen=True)
class ReconstructionResult:
    """What an evaluation found.

    Args:
        protocol: what was measured and how, in one line.
        sources: scores by source.
        codes: codes used by all sources at all assignments together.
        codes_by_assignment: codes used by all sources together, an entry for each of the assignments.
    """

    protocol: str
    sources: tuple[SourceScores, ...]
    codes: CodeUse
    codes_by_assignment: tuple[CodeUse, ...]
