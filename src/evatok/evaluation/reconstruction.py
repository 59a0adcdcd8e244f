"""How well a tokenizer reconstructs clips at given assignments, by source, and how it uses its codes."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from evatok.assignment import Assignment
from evatok.data.clips import ClipBatch
from evatok.evaluation.metrics import Means, clip_psnr, protocol_of, ssim
from evatok.evaluation.scores import BlockScores, CodeUse, ReconstructionResult, Scores, SourceScores
from evatok.nn.packed import Layout
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.config import TokenizerConfig
from evatok.tokenizer.measuring import Original
from evatok.tokenizer.network import TokenizerNetwork
from evatok.utils.ranks import gathered, rank_and_world
from evatok.video.fit import to_bytes, to_signed

# Clips go through the networks in batches of about this many pixels, for the sake of memory.
_PIXELS_AT_ONCE = 2**19


@torch.no_grad()
def evaluate_reconstruction(
    network: TokenizerNetwork,
    sources: Mapping[str, ClipBatch],
    lpips: LPIPS,
    assignments: Sequence[Sequence[int]] | None = None,
    *,
    progress: bool = False,
) -> ReconstructionResult:
    """Encodes clips to ids, decodes the ids, and compares: all in float32.

    Processes that train together share the clips out; each of them has the result, and all must call this.

    Args:
        network: the tokenizer.
        sources: full clips by the name of their source.
        lpips: the network of LPIPS with its published weights; on the tokenizer's device.
        assignments: full assignments to evaluate every clip at; None: the uniform ones, shortest first.
        progress: whether a progress bar is shown.

    Raises:
        AssignmentError: for an assignment that the tokenizer does not have.
        ValueError: if there is no source, a source has no clip, or clips have a number of frames or a size that
            the tokenizer or a metric does not take.
    """
    config = network.config
    chosen = _full_assignments(config, assignments)
    _check_sources(config, sources)
    tallies = {name: [_Tally(config.quantizer.codebook_size, config.block_frames) for _ in chosen] for name in sources}
    number, processes = rank_and_world()
    shares = {name: batch.video[number::processes] for name, batch in sources.items()}
    work = sum(map(len, shares.values())) * len(chosen)
    device = network.device
    with (
        tqdm(total=work, unit="clip", disable=not progress) as bar,
        torch.autocast(device.type, enabled=False),
    ):
        for name, video in shares.items():
            for clips in _chunks(video):
                originals = Original.of(to_signed(clips.to(device)), lpips)
                for assignment, tally in zip(chosen, tallies[name], strict=True):
                    layout = Layout.of([assignment] * len(clips))
                    tally.add(originals, reconstruct(network, originals.frames, layout), lpips)
                    bar.update(len(clips))
    return _result(_protocol(lpips, sources), chosen, _of_all_processes(tallies))


class Reconstructed(NamedTuple):
    """Clips out of a tokenizer, uint8 `(B, F, 3, H, W)`, and the ids of their tokens, int64 `(N,)`."""

    video: Tensor
    ids: Tensor


@torch.no_grad()
def reconstruct(network: TokenizerNetwork, clips: Tensor, layout: Layout) -> Reconstructed:
    """Encodes and decodes clips uint8 `(B, F, 3, H, W)` under their assignments."""
    ids, _ = network.encode_blocks(to_signed(clips), layout)
    decoded, _ = network.decode_blocks(ids, layout, (clips.shape[-2], clips.shape[-1]))
    return Reconstructed(to_bytes(decoded.float()), ids)


class WrongStep(NamedTuple):
    """A step from one uniform length of a source to the next that makes a metric no better."""

    metric: Literal["psnr", "lpips"]
    lengths: tuple[int, int]
    values: tuple[float, float]


def wrong_steps(source: SourceScores) -> list[WrongStep]:
    """Those of a source, none where LPIPS falls and PSNR rises with every step of uniform length."""
    uniform = {scores.uniform: scores for scores in source.scores if scores.uniform is not None}
    found = []
    for shorter, longer in pairwise(sorted(uniform)):
        a, b = uniform[shorter], uniform[longer]
        if not b.psnr > a.psnr:
            found.append(WrongStep("psnr", (shorter, longer), (a.psnr, b.psnr)))
        if not b.lpips < a.lpips:
            found.append(WrongStep("lpips", (shorter, longer), (a.lpips, b.lpips)))
    return found


class _Tally:
    """Means over the clips of a source at one assignment so far, and how often each code occurred."""

    def __init__(self, codes: int, block_frames: int) -> None:
        self.block_frames = block_frames
        self.clips = 0
        self.means = Means()
        self.counts = torch.zeros(codes, dtype=torch.int64)

    def add(self, originals: Original, output: Reconstructed, lpips: LPIPS) -> None:
        x, y = originals.frames, output.video
        distances = lpips.distance(originals.features, lpips.features(to_signed(y).flatten(0, 1))).view(x.shape[:2])
        self.clips += len(x)
        self.means.add(
            psnr=clip_psnr(x, y),
            ssim=ssim(x, y).mean(1),
            lpips=distances.mean(1),
            l1=(to_signed(y) - originals.signed).abs().flatten(1).mean(1),
            block_psnr=clip_psnr(self._blocks(x), self._blocks(y)),
            block_lpips=self._blocks(distances).mean(2),
        )
        self.counts += output.ids.cpu().bincount(minlength=len(self.counts))

    def extend(self, other: "_Tally") -> None:
        self.clips += other.clips
        self.means.extend(other.means)
        self.counts += other.counts

    def scores(self, assignment: Assignment) -> Scores:
        means = self.means.compute()
        blocks = tuple(map(BlockScores, *(means.pop(name).tolist() for name in ("block_psnr", "block_lpips"))))
        of_clips = {name: mean.item() for name, mean in means.items()}
        return Scores(assignment, self.clips, **of_clips, codes=CodeUse.of(self.counts), blocks=blocks)

    def _blocks(self, frames: Tensor) -> Tensor:
        """`(B, F, ...)` as `(B, blocks, frames of a block, ...)`."""
        return frames.unflatten(1, (-1, self.block_frames))


def _of_all_processes(tallies: dict[str, list[_Tally]]) -> dict[str, list[_Tally]]:
    """Every source's tallies with what the other processes have counted."""
    total, *others = gathered(tallies)
    for other in others:
        for name, each in other.items():
            for tally, more in zip(total[name], each, strict=True):
                tally.extend(more)
    return total


def _result(protocol: str, assignments: list[Assignment], tallies: Mapping[str, list[_Tally]]) -> ReconstructionResult:
    counts = torch.stack([torch.stack([tally.counts for tally in each]) for each in tallies.values()])
    sources = []
    for (name, each), used in zip(tallies.items(), counts, strict=True):
        scores = tuple(tally.scores(a) for a, tally in zip(assignments, each, strict=True))
        sources.append(SourceScores(name, scores, CodeUse.of(used.sum(0))))
    by_assignment = tuple(CodeUse.of(used) for used in counts.sum(0))
    return ReconstructionResult(protocol, tuple(sources), CodeUse.of(counts.sum((0, 1))), by_assignment)


def _protocol(lpips: LPIPS, sources: Mapping[str, ClipBatch]) -> str:
    resolutions = {(batch.video.shape[-2], batch.video.shape[-1]) for batch in sources.values()}
    return f"{protocol_of(lpips, resolutions)}; L1 of the same pixels on the scale [-1, 1]"


def _full_assignments(config: TokenizerConfig, assignments: Sequence[Sequence[int]] | None) -> list[Assignment]:
    space = config.space
    if assignments is None:
        return [space.uniform(level) for level in space.levels]
    if not assignments:
        raise ValueError("assignments is empty: give at least one")
    return [space.assignment(space.index(each)) for each in assignments]


def _check_sources(config: TokenizerConfig, sources: Mapping[str, ClipBatch]) -> None:
    if not sources:
        raise ValueError("there is no source to evaluate")
    for name, batch in sources.items():
        if not len(batch):
            raise ValueError(f"{name} has no clip")
        if batch.video.dtype != torch.uint8 or batch.video.shape[1] != config.clip_frames:
            raise ValueError(
                f"clips of {name} must be uint8 with the tokenizer's {config.clip_frames} frames, "
                f"got {batch.video.dtype} with {batch.video.shape[1]}"
            )


def _chunks(video: Tensor) -> list[Tensor]:
    """Clips `(B, F, 3, H, W)` in as many as go through the networks at once; none where there is no clip."""
    at_once = max(1, _PIXELS_AT_ONCE // (video.shape[1] * video.shape[-2] * video.shape[-1]))
    return list(video.split(at_once)) if len(video) else []
