"""A clip through x264, and what its pictures alone take: the codec that a tokenizer is compared to at equal bits."""

import re
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import torch
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from torch import Tensor

# x264's constant rate factors, coarsest first.
COARSEST, FINEST = 51, 0
PROTOCOL = (
    "x264: yuv444p (BT.601, full range), preset veryslow, one key frame, constant rate factor in whole steps; "
    "bits of slices alone (NAL units of types 1 and 5), without parameter sets, SEI and start codes"
)

# BT.601 in full range: RGB of 0 ... 255 to Y, Cb - 128, Cr - 128.
_TO_YUV = torch.tensor(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
_TO_RGB = torch.linalg.inv(_TO_YUV)
_OFFSET = torch.tensor([0.0, 128.0, 128.0]).view(3, 1, 1)
_TICK = Fraction(1, 25)
# By its code for AVX-512 x264's macroblock trees differ from run to run for small pictures; by the one for AVX2, which
# such a processor has too, they are those of its code in C.
_STEADY = {"x264-params": "asm=avx2"} if torch.backends.cpu.get_cpu_capability() == "AVX512" else {}
_SLICES = (1, 5)


class Coded(NamedTuple):
    """A clip that went through x264: bits of its slices, and its decoded frames, uint8 RGB `(F, 3, H, W)`."""

    bits: int
    video: Tensor


def through_x264(clip: Tensor, crf: int) -> Coded:
    """Encodes and decodes a clip, as `PROTOCOL` says.

    Args:
        clip: uint8 RGB `(F, 3, H, W)`, on the CPU.
        crf: the constant rate factor, 0 (finest) to 51.

    Raises:
        ValueError: for another shape, type or rate factor.
    """
    if clip.dtype != torch.uint8 or clip.ndim != 4 or clip.shape[1] != 3 or not len(clip):
        raise ValueError(f"clip must be uint8 (F, 3, H, W), got {clip.dtype} {tuple(clip.shape)}")
    if not FINEST <= crf <= COARSEST:
        raise ValueError(f"crf must be {FINEST} to {COARSEST}, got {crf}")
    packets = _encode(_to_yuv(clip), crf)
    return Coded(sum(_slice_bits(bytes(packet)) for packet in packets), _to_rgb(_decode(packets)))


def _encode(planes: Tensor, crf: int) -> list[Packet]:
    """The stream of Y, Cb and Cr, uint8 `(F, 3, H, W)`."""
    frames, _, height, width = planes.shape
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv444p"
    encoder.time_base, encoder.framerate = _TICK, 1 / _TICK
    encoder.thread_count = 1
    # x264 caps the smallest distance of key frames at half the largest: this admits none after the first.
    distances = {"g": str(2 * frames), "keyint_min": str(frames)}
    encoder.options = {"preset": "veryslow", "crf": str(crf), **distances, **_STEADY}
    packets = []
    for number, picture in enumerate(planes.numpy()):
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="yuv444p")
        frame.pts, frame.time_base = number, _TICK
        packets += encoder.encode(frame)
    return packets + encoder.encode(None)


def _decode(packets: list[Packet]) -> Tensor:
    """Y, Cb and Cr, uint8 `(F, 3, H, W)`, of a stream."""
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return torch.from_numpy(np.stack([frame.to_ndarray() for frame in frames]))


def _slice_bits(packet: bytes) -> int:
    # A start code may have a fourth byte, a zero in front; no NAL unit ends with one.
    units = [unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", packet)[1:]]
    return 8 * sum(len(unit) for unit in units if unit[0] & 31 in _SLICES)


def _to_yuv(clip: Tensor) -> Tensor:
    planes = torch.einsum("oc,fchw->fohw", _TO_YUV, clip.float()) + _OFFSET
    return planes.round().clamp(0, 255).to(torch.uint8)


def _to_rgb(planes: Tensor) -> Tensor:
    pixels = torch.einsum("oc,fchw->fohw", _TO_RGB, planes.float() - _OFFSET)
    return pixels.round().clamp(0, 255).to(torch.uint8)
