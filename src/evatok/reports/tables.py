"""An evaluation's numbers as tables and sentences that read well as text and as Markdown."""

from evatok.evaluation.equal_bits import CodecResult, CodecScores
from evatok.evaluation.reconstruction import wrong_steps
from evatok.evaluation.scores import CodeUse, ReconstructionResult, Scores
from evatok.utils.tables import Table


def scores_table(result: ReconstructionResult) -> Table:
    """The scores by source and assignment."""
    header = ["source", "tokens a block", "a clip", "PSNR", "SSIM", "LPIPS", "L1", "codes used", "perplexity"]
    rows = [[source.name, *_cells(scores)] for source in result.sources for scores in source.scores]
    return Table(header, rows)


def blocks_table(result: ReconstructionResult) -> Table | None:
    """PSNR / LPIPS of each block by source and assignment; None where the record has none."""
    rows = [
        [source.name, _blocks(scores), *(f"{block.psnr:.2f} / {block.lpips:.4f}" for block in scores.blocks)]
        for source in result.sources
        for scores in source.scores
        if scores.blocks
    ]
    if not rows:
        return None
    numbers = range(1, len(rows[0]) - 1)
    return Table(["source", "tokens a block", *(f"block {number}" for number in numbers)], rows)


def x264_table(result: ReconstructionResult, x264: CodecResult) -> Table:
    """The tokenizer's scores beside those of x264 at no more bits, by source and assignment.

    In brackets where not every clip fits, and those that do not count at x264's coarsest setting.
    """
    header = ["source", "tokens a block", "bits", "PSNR", "LPIPS", "within", "x264 bits", "x264 PSNR", "x264 LPIPS"]
    rows = [
        [source.name, _blocks(ours), f"{theirs.budget:.0f}", f"{ours.psnr:.2f}", f"{ours.lpips:.4f}", *_codec(theirs)]
        for source in result.sources
        for ours, theirs in zip(source.scores, x264.sources[source.name], strict=True)
    ]
    return Table(header, rows)


def x264_sentence(x264: CodecResult) -> str:
    """How to read `x264_table`."""
    return (
        f"{x264.protocol}. Within: the share of clips that x264 can code in so few bits. In brackets where that is not "
        "all: clips that do not fit count at x264's coarsest setting, with more bits than the tokens."
    )


def codes_sentence(result: ReconstructionResult) -> str:
    """How the codebook is used, over everything and by assignment."""
    lengths = [_blocks(scores) for scores in result.sources[0].scores]
    by_length = zip(lengths, result.codes_by_assignment, strict=True)
    each = "; ".join(f"{length}: {_share(use)}, {use.perplexity:.0f}" for length, use in by_length)
    return (
        f"Over all sources and lengths {_share(result.codes)} of the codes are used, with a perplexity of "
        f"{result.codes.perplexity:.0f}. By tokens a block: {each}."
    )


def order_sentence(result: ReconstructionResult) -> str:
    """Whether more tokens are better everywhere, and where they are not."""
    wrong = [
        f"{source.name}, {step.lengths[0]} to {step.lengths[1]}: {step.metric.upper()} "
        f"{step.values[0]:.4f} to {step.values[1]:.4f}"
        for source in result.sources
        for step in wrong_steps(source)
    ]
    if not wrong:
        return "LPIPS falls and PSNR rises with every step of uniform length, in every source."
    return f"More tokens are not better here: {'; '.join(wrong)}."


def _cells(scores: Scores) -> list[str]:
    return [
        _blocks(scores),
        str(scores.tokens),
        f"{scores.psnr:.2f}",
        f"{scores.ssim:.4f}",
        f"{scores.lpips:.4f}",
        f"{scores.l1:.4f}",
        _share(scores.codes),
        f"{scores.codes.perplexity:.0f}",
    ]


def _codec(scores: CodecScores) -> list[str]:
    means = scores.closest
    numbers = [f"{means.bits:.0f}", f"{means.psnr:.2f}", f"{means.lpips:.4f}"]
    return [f"{scores.reached:.0%}", *(number if scores.within else f"({number})" for number in numbers)]


def _blocks(scores: Scores) -> str:
    return str(scores.uniform or ", ".join(map(str, scores.assignment)))


def _share(use: CodeUse) -> str:
    return f"{use.used:.1%}"
