"""Blocks measured by the tokenizer itself: encoded, decoded and compared with the original."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from evatok.allocation.beam import Growth
from evatok.nn.packed import Layout
from evatok.pretrained.lpips import LPIPS
from evatok.tokenizer.network import Memory, TokenizerNetwork, pick_memory
from evatok.video.fit import to_bytes, to_signed


@dataclass(frozen=True)
class Original:
    """Original clips, or a block of them, with what is needed to compare others with them.

    Args:
        frames: uint8 `(B, F, 3, H, W)`.
        signed: the same in [-1, 1], as the tokenizer sees it.
        features: the frames' LPIPS features; none where LPIPS is not wanted.
    """

    frames: Tensor
    signed: Tensor
    features: list[Tensor]

    @classmethod
    def of(cls, signed: Tensor, lpips: LPIPS | None) -> Self:
        """Clips `(B, F, 3, H, W)` float32 in [-1, 1], compared in whole grey levels."""
        frames = to_bytes(signed)
        return cls(frames, signed, lpips.features(to_signed(frames).flatten(0, 1)) if lpips else [])

    def repeated(self, clips: Sequence[int]) -> Self:
        """Some of the clips, which may occur more than once."""
        places, every = list(clips), range(self.frames.shape[1])
        if places == list(range(len(self.frames))):
            return self
        frames = [clip * len(every) + frame for clip in places for frame in every]
        return type(self)(self.frames[places], self.signed[places], [each[frames] for each in self.features])

    def mse(self, decoded: Tensor) -> Tensor:
        """Mean squared error on the scale 0 to 255 of decoded frames in about [-1, 1], `(B,)`."""
        return (to_bytes(decoded.float()).float() - self.frames.float()).square().flatten(1).mean(1)

    def lpips(self, decoded: Tensor, lpips: LPIPS) -> Tensor:
        """Mean LPIPS of decoded frames in about [-1, 1], `(B,)`."""
        distance = lpips.distance(self.features, lpips.features(to_signed(to_bytes(decoded.float())).flatten(0, 1)))
        return distance.view(len(decoded), -1).mean(1)

    def errors(self, decoded: Tensor, lpips: LPIPS) -> tuple[Tensor, Tensor]:
        """Both: mean squared error, and LPIPS."""
        return self.mse(decoded), self.lpips(decoded, lpips)


class OfNetwork:
    """Measures the blocks of one clip, as `allocation.beam.Measurer` says.

    What is measured together does not depend on other clips, so that neither do the numbers.

    Args:
        network: the tokenizer, in evaluation mode.
        clip: `(1, F, 3, H, W)` float32 in [-1, 1] of whole blocks, on the tokenizer's device.
        lpips: the metric, on the same device; None: mean squared error.
        unit: what the error is multiplied with.
    """

    def __init__(self, network: TokenizerNetwork, clip: Tensor, lpips: LPIPS | None, unit: float = 1.0) -> None:
        self._network, self._lpips, self._unit = network, lpips, unit
        self._originals = (Original.of(block, lpips) for block in clip.split(network.config.block_frames, 1))
        self._number = 0
        self._kept: tuple[Memory, Memory] | None = None
        self._grown: list[tuple[Memory, Memory]] = []
        self._places: list[tuple[int, int]] = []

    @torch.no_grad()
    def measure(self, growths: Sequence[Growth]) -> list[float]:
        """As `Measurer.measure` says."""
        original, number = next(self._originals), self._number
        self._number, self._grown, self._places = number + 1, [], [(0, 0)] * len(growths)
        frames, order = [], list[int]()
        for part, level in enumerate(sorted({growth.level for growth in growths})):
            places = [place for place, growth in enumerate(growths) if growth.level == level]
            frames.append(self._extended(original.signed, number, [growths[at] for at in places]))
            for row, place in enumerate(places):
                self._places[place] = part, row
            order += places
        repeated, decoded = original.repeated([0] * len(growths)), torch.cat(frames)
        errors = repeated.mse(decoded) if self._lpips is None else repeated.lpips(decoded, self._lpips)
        errors = self._unit * errors
        return [float(errors[order.index(place)]) for place in range(len(growths))]

    def _extended(self, signed: Tensor, number: int, growths: Sequence[Growth]) -> Tensor:
        """The block by continuations of one level, whose memories are added to those that were grown."""
        encoded = decoded = None
        if self._kept is not None:
            parents = [(0, growth.parent) for growth in growths]
            encoded, decoded = (pick_memory([memory], parents) for memory in self._kept)
        layout = Layout.of([[growth.level] for growth in growths], number)
        block = signed.to(next(self._network.parameters())).expand(len(growths), -1, -1, -1, -1)
        ids, after_encoder = self._network.encode_blocks(block, layout, encoded)
        frames, after_decoder = self._network.decode_blocks(ids, layout, (block.shape[-2], block.shape[-1]), decoded)
        self._grown.append((after_encoder, after_decoder))
        return frames

    def keep(self, places: Sequence[int]) -> None:
        """As `Measurer.keep` says."""
        chosen = [self._places[place] for place in places]
        self._kept = (
            pick_memory([encoded for encoded, _ in self._grown], chosen),
            pick_memory([decoded for _, decoded in self._grown], chosen),
        )
