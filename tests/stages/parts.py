"""Small discriminators and alignment, and a final tokenizer's config with all of them, for several tests."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from evatok.losses.adversarial import AdversarialConfig
from evatok.losses.alignment import AlignmentConfig
from evatok.losses.discriminator import PatchDiscriminatorConfig
from evatok.losses.semantic import SemanticDiscriminatorConfig
from evatok.nn.transformer import TransformerConfig
from evatok.pretrained.encoders import EncoderConfig
from evatok.stages.adversaries import PatchTrainingConfig, SemanticTrainingConfig
from evatok.stages.aligner import AlignmentTrainingConfig
from evatok.stages.final import FinalConfig
from evatok.stages.lengths import LengthsConfig
from evatok.training.optimizers import OptimizerConfig
from tests.runs import mini_config

ENCODER = EncoderConfig(side=32, every=8)
OPTIMIZER = OptimizerConfig(lr=1e-3, warmup=0)
PATCHES = PatchTrainingConfig(
    PatchDiscriminatorConfig(side=32, transformer=TransformerConfig(32, 1, 2)),
    AdversarialConfig(weight=0.1, start=3, ramp=2, lecam=0.01),
    OPTIMIZER,
)
SEMANTIC = SemanticTrainingConfig(
    SemanticDiscriminatorConfig(ENCODER, layers=(2, 3), hidden=8, kernel=3),
    AdversarialConfig(weight=0.1, start=1, ramp=0, adaptive=True),
    OPTIMIZER,
    shift=2,
)
ALIGNMENT = AlignmentTrainingConfig(AlignmentConfig(ENCODER, teacher_layer=3, hidden=16), OPTIMIZER)


def whole_config(folder: Path, videos: Path, router: str, **loop: Any) -> FinalConfig:
    """Of a final tokenizer with every part."""
    mini = replace(mini_config(folder, videos, **loop), discriminator=PATCHES, alignment=ALIGNMENT)
    entries = {field.name: getattr(mini, field.name) for field in fields(mini)}
    return FinalConfig(**entries, lengths=LengthsConfig(router), semantic=SEMANTIC)
