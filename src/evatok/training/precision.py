"""What a machine computes fast in: bf16, or float32 where bf16 would be emulated."""

from typing import Literal

import torch


def native_precision() -> Literal["bf16", "no"]:
    """`bf16` where the device computes in it natively, else `no`: emulated, it takes CPUs a hundred times as long."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "no"
