"""Cards of a tokenizer's reconstructions, with rFVD: at fixed lengths, and at those of its router."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from evatok.data.clips import ClipBatch
from evatok.evaluation.fvd import fvd_scores
from evatok.evaluation.metrics import Means, clip_scores
from evatok.evaluation.result_card import Protocol, ResultCard
from evatok.pretrained.i3d import I3D
from evatok.pretrained.lpips import LPIPS
from evatok.reports.generated import I3D_NETWORK, TO_I3D, TO_SIZE, fvd_numbers, lpips_network
from evatok.reports.real_clips import TOGETHER, logits_of
from evatok.reports.record import keys_digest, provenance
from evatok.tokenizer.model import VideoTokenizer


class _Reconstructed(NamedTuple):
    """Mean tokens of a clip, means of the clips' scores, and the clips' logits."""

    tokens: float
    scores: dict[str, float]
    logits: Tensor


@dataclass(frozen=True)
class ReconstructionCards:
    """Makes the cards of a tokenizer's reconstructions.

    Args:
        tokenizer: the tokenizer.
        lpips: the network of LPIPS, on its device.
        i3d: that of FVD, on its device.
        split: what the clips are.
        step: distance between their frames.
        trained_by: networks in the tokenizer's losses; None: not known.
    """

    tokenizer: VideoTokenizer
    lpips: LPIPS
    i3d: I3D
    split: str
    step: int
    trained_by: tuple[str, ...] | None

    def of(self, clips: ClipBatch, source: dict[str, Any], ways: Sequence[dict[str, Any]]) -> list[ResultCard]:
        """Those of a source's clips, three for each way of giving clips their lengths.

        Args:
            clips: of one source.
            source: its config.
            ways: each the arguments of `VideoTokenizer.encode` that decide about lengths.

        Raises:
            ValueError: there is no such assignment, or a router is asked for and there is none.
        """
        fvd = self._protocol(clips)
        pixels = replace(fvd, metric="PSNR, SSIM", network=None, resize=TO_SIZE)
        perceived = replace(pixels, metric="LPIPS", network=lpips_network(self.lpips.network))
        parts = clips.video.split(TOGETHER)
        real = torch.cat([logits_of(self.i3d, part, fvd.size) for part in tqdm(parts, desc="I3D of real clips")])
        cards = []
        for way in ways:
            made = self._reconstructed(parts, way, fvd.size)
            found: list[tuple[Protocol, dict[str, float | None]]] = [
                (fvd, fvd_numbers(fvd_scores(real, made.logits, paired=True))),
                (pixels, {"psnr": made.scores["psnr"], "ssim": made.scores["ssim"]}),
                (perceived, {"lpips": made.scores["lpips"]}),
            ]
            cards += [
                ResultCard(
                    protocol,
                    numbers,
                    tokenizer=(self.tokenizer.name, self.tokenizer.checksum),
                    generator=None,
                    tokens=made.tokens,
                    sampling=way,
                    trained_by=self.trained_by,
                    sources=[source],
                    **provenance(),
                )
                for protocol, numbers in found
            ]
        return cards

    def _protocol(self, clips: ClipBatch) -> Protocol:
        size = (clips.video.shape[-2], clips.video.shape[-1])
        return Protocol(
            task="reconstruction",
            metric="FVD",
            network=I3D_NETWORK,
            real_split=self.split,
            real_sha256=keys_digest(clips.keys),
            real_clips=len(clips),
            fake_clips=len(clips),
            frames=clips.video.shape[1],
            frame_step=self.step,
            fps=None,
            size=size,
            measured_size=size,
            resize=TO_I3D,
        )

    def _reconstructed(self, parts: Sequence[Tensor], way: dict[str, Any], size: tuple[int, int]) -> _Reconstructed:
        means, logits, tokens, device = Means(), [], 0, self.tokenizer.device
        for part in tqdm(parts, desc="rFVD at " + ", ".join(f"{name} {value}" for name, value in way.items())):
            coded = self.tokenizer.encode(part, fit="none", **way)
            video = self.tokenizer.decode(coded)
            tokens += coded.num_tokens
            logits.append(logits_of(self.i3d, video, size))
            means.add(**clip_scores(part.to(device), video.to(device), self.lpips)._asdict())
        scores = {name: mean.item() for name, mean in means.compute().items()}
        return _Reconstructed(tokens / sum(map(len, parts)), scores, torch.cat(logits))
