"""What an evaluation of reconstructions finds: scores by source, assignment and block, and the use of codes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

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

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Self:
        """The scores that `asdict` and JSON turned into `entries`."""
        nested = {
            "assignment": tuple(entries["assignment"]),
            "codes": CodeUse(**entries["codes"]),
            "blocks": tuple(BlockScores(**each) for each in entries.get("blocks", ())),
        }
        return cls(**{**entries, **nested})


@dataclass(frozen=True)
class SourceScores:
    """Scores of a source at each assignment, and the codes that it uses over all of them."""

    name: str
    scores: tuple[Scores, ...]
    codes: CodeUse

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Self:
        """The scores that `asdict` and JSON turned into `entries`."""
        scores = tuple(Scores.from_dict(each) for each in entries["scores"])
        return cls(entries["name"], scores, CodeUse(**entries["codes"]))


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

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, also after JSON; KeyError or TypeError where entries do not fit."""
        return cls(
            entries["protocol"],
            tuple(SourceScores.from_dict(each) for each in entries["sources"]),
            CodeUse(**entries["codes"]),
            tuple(CodeUse(**each) for each in entries["codes_by_assignment"]),
        )
