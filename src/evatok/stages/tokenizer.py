"""The training of a tokenizer, which stages 1 and 4 share; they differ in who gives clips their lengths."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from evatok.data.clips import ClipBatch
from evatok.losses.adversarial import AdversarialConfig
from evatok.losses.reconstruction import ReconstructionLoss, ReconstructionLossConfig
from evatok.stages.adversaries import Adversary, PatchTrainingConfig, patch_adversary
from evatok.stages.aligner import Aligner, AlignmentTrainingConfig
from evatok.stages.codebook import CodebookConfig, all_items, draw_codes, fit_sketch
from evatok.stages.data import DataConfig
from evatok.stages.lengths import Assigner
from evatok.stages.tokenizer_validation import validate
from evatok.tokenizer.codebook_use import CodebookUse, sum_over_processes
from evatok.tokenizer.config import QuantizerConfig, TokenizerConfig
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokenizer.network import Reconstruction, books_of
from evatok.training.averaging import check_ema_decay
from evatok.training.loop import LoopConfig
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Item, Task, Trained, Validation
from evatok.training.update import NotFinite
from evatok.utils.ranks import rank_and_world
from evatok.video.fit import to_signed

log = logging.getLogger(__name__)
_PARTS = "discriminator", "semantic", "alignment"
_OF_PARTS = tuple(f"{part}.{entry}" for part in _PARTS for entry in ("model", "optimizer.kind"))


@dataclass(frozen=True)
class TokenizerTrainingConfig:
    """Everything about the training of a tokenizer but who gives lengths.

    Args:
        folder: where the run is kept: log, checkpoints, and the trained tokenizer in `final`.
        data: clips.
        model: the tokenizer.
        loss: reconstruction loss.
        discriminator: of space-time patches, and the adversarial loss by it; None: none.
        alignment: of a layer of the decoder with a frozen encoder's features; None: none.
        codebook: start and upkeep of the codebook.
        optimizer: how weights are updated.
        loop: length, precision, seed, logging.
        init_from: tokenizer whose weights training starts with (a shipped name, a folder, a hub's repository), codebook
            included, so that there is no warm-up without quantization; `model` becomes its config, but for `overlap`,
            which it may have besides. None: from scratch.
        trainable: `all` weights, or those of the `decoder` alone: then clips have the ids that they had by `init_from`,
            both decode each other's tokens, and what was made of them (token sets, generators) stays good.
        ema_decay: decay per step of the moving average of the weights, which is what is validated and saved; it
            starts lower. None: no average, the weights themselves are.
    """

    folder: str
    data: DataConfig
    model: TokenizerConfig = field(default_factory=TokenizerConfig)
    loss: ReconstructionLossConfig = field(default_factory=ReconstructionLossConfig)
    discriminator: PatchTrainingConfig | None = None
    alignment: AlignmentTrainingConfig | None = None
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    init_from: str | None = None
    trainable: Literal["all", "decoder"] = "all"
    ema_decay: float | None = 0.999

    def __post_init__(self) -> None:
        check_ema_decay(self.ema_decay)
        if self.trainable == "decoder" and self.init_from is None:
            raise ValueError("trainable is decoder, whose encoder is that of init_from; got none")
        if self.data.clips.frames != self.model.clip_frames:
            raise ValueError(
                f"data.clips.frames must be the model's {self.model.clip_frames}, got {self.data.clips.frames}"
            )
        if self.model.sketch is not None and self.codebook.warmup:
            raise ValueError(f"codebook.warmup must be 0 for a model with a sketch, got {self.codebook.warmup}")
        if self.loss.perceptual and self.loss.perceptual_start >= self.loop.steps:
            raise ValueError(
                f"loss.perceptual_start must be below the {self.loop.steps} of loop.steps, or LPIPS never joins; "
                f"got {self.loss.perceptual_start}"
            )
        if self.discriminator is not None:
            check_joins("discriminator", self.discriminator.loss, self.loop)


def check_joins(name: str, loss: AdversarialConfig, loop: LoopConfig) -> None:
    """ValueError where a discriminator's first step is beyond the training's last."""
    if loss.start >= loop.steps:
        raise ValueError(f"{name}.loss.start must be below the {loop.steps} of loop.steps, got {loss.start}")


ConfigT = TypeVar("ConfigT", bound=TokenizerTrainingConfig)


def with_model_of_start(config: ConfigT) -> ConfigT:
    """A config whose `model` is that of `init_from`, where there is one, which needs no warm-up."""
    if config.init_from is None:
        return config
    start, asked = VideoTokenizer.from_pretrained(config.init_from), asdict(config.model)
    ids_of = start.token_format.checksum if config.trainable == "decoder" else None
    found = replace(start.config, ids_of=config.model.ids_of)  # the start's own is of its weights
    if not found.overlap:  # its layers begin with zeros, as if they were not there
        found = replace(found, overlap=config.model.overlap)
    differing = [f"{key} is {value}, not {asked[key]}" for key, value in asdict(found).items() if value != asked[key]]
    if differing:
        log.warning("the model is that of %s, whatever `model` says: %s", config.init_from, "; ".join(differing))
    return replace(config, model=replace(found, ids_of=ids_of), codebook=replace(config.codebook, warmup=0))


def _network(config: TokenizerTrainingConfig) -> VideoTokenizer:
    """The tokenizer as it is before the first step."""
    network = VideoTokenizer(config.model)
    if config.init_from is not None:
        network.load_state_dict(network.state_dict() | VideoTokenizer.from_pretrained(config.init_from).state_dict())
    if config.trainable == "decoder":
        network.requires_grad_(False)
        network.decoder.requires_grad_(True)
    return network


class TokenizerTask(Task[ClipBatch]):
    """Reconstruction under the assignments that `assign` gives.

    Args:
        config: of the training.
        assign: who gives clips their lengths.
        adversaries: discriminators besides the config's, by name.
    """

    # Of the first two it depends whether the codebook has been drawn.
    fixed = (*Task.fixed, "codebook.warmup", "init_from", "trainable", *_OF_PARTS)

    def __init__(
        self, config: TokenizerTrainingConfig, assign: Assigner, adversaries: Mapping[str, Adversary] | None = None
    ) -> None:
        self.config, self.assign = config, assign
        self.space = config.model.space
        self.warmup = config.codebook.warmup if config.init_from is None else 0
        patches = {} if config.discriminator is None else {"discriminator": patch_adversary(config.discriminator)}
        self.adversaries: dict[str, Adversary] = {**patches, **(adversaries or {})}
        self.aligner = None if config.alignment is None else Aligner(config.alignment, config.model)
        tokenizer = Trained(_network(config), config.optimizer, config.ema_decay)
        aligned: dict[str, Trained[Any]] = {} if self.aligner is None else {"alignment": self.aligner.trained}
        others = {name: each.trained for name, each in self.adversaries.items()}
        self.trained = {"tokenizer": tokenizer, **aligned, **others}
        starts = [each.start for each in self.adversaries.values()]
        self.rehearsed = max(starts, default=0) or None
        self.loss = ReconstructionLoss(config.loss)
        self.batches, self.validation = config.data.open(config.loop.seed)
        self.use = CodebookUse(len(self.space.levels), config.model.codes)

    def before_step(self, step: int, items: list[Item[ClipBatch]], generator: torch.Generator) -> None:
        """Fits a sketch, or draws the codebook after the warm-up; then unused codes after every window."""
        since = step - self.warmup
        if since < 0 or since % self.config.codebook.window:
            return
        self.use.end_window()
        first = since == 0 and self.config.init_from is None
        if first and self.config.model.sketch is not None:
            groups = range(self.config.codebook.groups)
            log.info("fitting the sketch to %d groups of clips", len(groups))
            videos = [self._video(self.batches[number]) for number in groups]
            fit_sketch(self.trained["tokenizer"], videos, generator)
            return
        # Only a codebook is drawn; the codes of finite scalar quantization are fixed.
        learned = isinstance(self.config.model.quantizer, QuantizerConfig) and self.config.trainable == "all"
        if learned and (first or since):
            self._draw_codes(step, items, generator, first)
        if first:
            self.trained["tokenizer"].restart_average()

    def _draw_codes(self, step: int, items: list[Item[ClipBatch]], generator: torch.Generator, first: bool) -> None:
        books, features = (all_items(parts) for parts in zip(*map(self._features, items), strict=True))
        finite = features.isfinite().all(1)
        if not finite.any():
            raise NotFinite(f"at step {step} the encoder's features are not finite")
        counts = None if first else self.use.window.sum(0)
        draw_codes(self.trained["tokenizer"], counts, books[finite], features[finite], generator)

    @torch.no_grad()
    def _features(self, item: Item[ClipBatch]) -> tuple[Tensor, Tensor]:
        """Tokens' codebooks `(N,)`, and what the encoder gives before quantization `(N, dim)` float32, on the CPU."""
        video = self._video(item.batch)
        layout = self.assign(video, item.generator())
        tokenizer = self.trained["tokenizer"]
        output: Reconstruction = tokenizer.model(video, layout, False)
        books = books_of(tokenizer.network.config, layout, (video.shape[-2], video.shape[-1]))
        return books, output.quantized.features.cpu()

    def losses(self, step: int, item: Item[ClipBatch]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The tokenizer's losses of clips under their assignments, then those of what is trained beside it."""
        generator, video = item.generator(), self._video(item.batch)
        output = self._reconstruction(step, video, generator)
        terms = self.loss.to(video.device)(output.video, video, generator, output.sketch, step)
        joined = {name: each for name, each in self.adversaries.items() if step >= each.start}
        others = torch.stack(list(terms.values())).sum()
        for name, each in joined.items():
            terms[name] = each.of_tokenizer(step, output.video, others, generator)
        if self.aligner is not None:
            assert output.features is not None
            known = self.aligner.known(video)
            terms["alignment"] = self.aligner.trained.network(output.features, known)
            features = output.features.detach()
        yield "tokenizer", terms | output.losses
        fake = output.video.detach()
        del output, terms, others  # and with them the tokenizer's graph
        if self.aligner is not None:
            yield "alignment", {"similarity": self.aligner.trained.model(features, known)}
        for name, each in self.adversaries.items():
            yield name, each.own(video, fake, generator) if name in joined else {}

    def _reconstruction(self, step: int, video: Tensor, generator: torch.Generator) -> Reconstruction:
        quantize, layer = step >= self.warmup, None if self.aligner is None else self.aligner.layer
        layout = self.assign(video, generator)
        output: Reconstruction = self.trained["tokenizer"].model(video, layout, quantize, layer)
        if quantize:
            self.use.count(output, self.space.levels)
        return output

    def _video(self, batch: ClipBatch) -> Tensor:
        """A batch's clips in [-1, 1], where the model is."""
        return to_signed(batch.video.to(self.trained["tokenizer"].network.device))

    def report(self, step: int) -> dict[str, float]:
        """Codes in use over the last complete window."""
        return self.use.report(self.space.levels)

    def validate(self, step: int) -> Validation:
        """Reconstruction of held-out clips at every uniform length, by the averaged weights."""
        network = self.trained["tokenizer"].averaged()
        return validate(network, self.validation, self.loss.to(network.device))

    def save(self, folder: Path) -> None:
        """Writes the averaged tokenizer for `VideoTokenizer.from_pretrained`."""
        network = self.trained["tokenizer"].averaged()
        if rank_and_world()[0] == 0:
            network.save_pretrained(folder)

    def state_dict(self) -> dict[str, Tensor]:
        """Counts of the codebook's use, and what adversarial losses remember."""
        own = {"counts": sum_over_processes(self.use.counts), "window": self.use.window}
        return own | {
            f"{name}.{key}": value
            for name, each in self.adversaries.items()
            for key, value in each.loss.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes back the counts of all processes, which the main one goes on with, and the other memories."""
        self.use.counts, self.use.window = state["counts"], state["window"]
        if rank_and_world()[0]:
            self.use.counts.zero_()
        for name, each in self.adversaries.items():
            each.loss.load_state_dict({key: state[f"{name}.{key}"] for key in each.loss.state_dict()})
