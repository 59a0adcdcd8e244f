"""Generators: a Llama that learns the sequences of token sets (paper, section 4)."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import torch
import torch.nn.functional as F
from torch import Tensor

from evatok.data.overlap import OverlapError
from evatok.generator.attention import PackedLlama
from evatok.generator.config import GeneratorConfig, GeneratorSize
from evatok.generator.model import VideoGenerator
from evatok.generator.packing import PackedBatch, PackedSequences, TokenSequences, held_out_batches
from evatok.nn.packed import on_device
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.token_set import TokenSet
from evatok.training.averaging import check_ema_decay
from evatok.training.loop import LoopConfig, train
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Item, Task, Trained, Validation
from evatok.utils.configs import check_least
from evatok.utils.ranks import gathered, rank_and_world

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenSetsConfig:
    """Token sets for training and validation, of one tokenizer and the same classes.

    Args:
        train: folders of token sets.
        validation: folders of sets that share no video with those, which is checked by the names that sources gave
            them; none: nothing is validated.
        validation_sequences: how many of those are looked at, spread evenly.
    """

    train: list[str]
    validation: list[str] = field(default_factory=list)
    validation_sequences: int = 512

    def __post_init__(self) -> None:
        check_least(self, 1, "validation_sequences")
        if not self.train:
            raise ValueError("train names no token set; give at least one, such as [runs/tokens/train]")
        if both := sorted({*self.train} & {*self.validation}):
            raise ValueError(f"validation has a token set of train, {both[0]}; it must be of other videos")


@dataclass(frozen=True)
class GeneratorTrainingConfig:
    """Everything about the training of a generator.

    Args:
        folder: where the run is kept: log, checkpoints, and the trained generator in `final`.
        data: token sets, which say what the generator writes: tokens of which tokenizer, pictures, classes.
        size: of the transformer.
        clips: consecutive clips of one video that a sequence has; a clip sees those before it in its sequence.
        batch: tokens of a batch, on average; sequences are of all lengths and are not filled up. Where
            there are fewer, a batch has all, which is logged.
        class_dropout: probability that a sequence comes without its class, for guidance.
        token_dropout: share of the numbers of embedded tokens that are zeroed in training.
        optimizer: how weights are updated.
        loop: length, precision, seed, logging. The log says how many epochs its steps are.
        init_from: generator of the same config whose weights training starts with (a shipped name, a folder, a hub's
            repository); None: from scratch.
        tokenizer: the one whose tokens these are (as `init_from`), which goes with the trained generator; None: none.
        ema_decay: decay per step of the moving average of the weights, which is what is validated and saved; None: no
            average, the weights themselves are.
    """

    folder: str
    data: TokenSetsConfig
    size: GeneratorSize
    clips: int = 1
    batch: int = 16384
    class_dropout: float = 0.1
    token_dropout: float = 0.0
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(schedule="wsd", final=0.0))
    loop: LoopConfig = field(default_factory=LoopConfig)
    init_from: str | None = None
    tokenizer: str | None = None
    ema_decay: float | None = 0.999

    def __post_init__(self) -> None:
        check_least(self, 1, "clips", "batch")
        for name in ("class_dropout", "token_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        check_ema_decay(self.ema_decay)


def train_generator(config: GeneratorTrainingConfig, resume: bool = False) -> Path:
    """Trains a generator; returns the folder of the result, which `VideoGenerator.from_pretrained` reads.

    Raises:
        ValueError: the token sets do not fit each other, the tokenizer or what training starts with, have no sequence,
            or one that is longer than a batch. OverlapError: those for training and validation share a video.
    """
    torch.manual_seed(config.loop.seed)
    return train(GeneratorTask(config), config, resume, validate_first=config.init_from is not None)


class GeneratorTask(Task[PackedBatch]):
    """Prediction of the next token of sequences, all but their first, which is given."""

    fixed = ("size", "clips", "optimizer.kind")
    batches: PackedSequences

    def __init__(self, config: GeneratorTrainingConfig) -> None:
        self.config = config
        folders = [*config.data.train, *config.data.validation]
        sets = [TokenSet.open(folder) for folder in folders]
        _check_agree(sets, folders)
        training, held_out = sets[: len(config.data.train)], sets[len(config.data.train) :]
        _check_apart(training, held_out)
        one = training[0]
        self.model = GeneratorConfig(config.size, one.format, one.picture, one.fps, one.classes, config.clips)
        self.tokenizer = None if config.tokenizer is None else VideoTokenizer.from_pretrained(config.tokenizer)
        generator = VideoGenerator(self.model, _start(config, self.model), self.tokenizer)
        network = PackedLlama(generator.model).train()
        self.trained = {"generator": Trained(network, config.optimizer, config.ema_decay)}
        if config.loop.compile:
            network.compile_layers()
        if config.loop.recompute:
            network.recompute_layers()
        grammar, seed = self.model.grammar, config.loop.seed
        sequences = TokenSequences(training, grammar)
        self.batches = PackedSequences(sequences, config.batch, config.class_dropout, seed)
        self.held_out = TokenSequences(held_out, grammar) if held_out else None
        log.info(
            "%d sequences of %.0f tokens on average; an epoch is %d batches",
            len(sequences),
            sequences.lengths.mean(),
            self.batches.epoch,
        )
        if (tokens := int(sequences.lengths.sum())) < config.batch:
            log.warning("batch is %d, and there are %d tokens: every batch has them all", config.batch, tokens)

    def losses(self, step: int, item: Item[PackedBatch]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The cross-entropy of a batch's tokens over the tokens that a batch has on average: each counts alike."""
        trained = self.trained["generator"]
        tokens, following, places = on_device(item.batch.tokens, trained.network.device)
        logits = trained.model(tokens, places, item.batch.layout, self._dropout(item, tokens))
        loss = F.cross_entropy(logits.float(), following, reduction="sum") / self.batches.tokens
        yield "generator", {"cross_entropy": loss}

    def _dropout(self, item: Item[PackedBatch], tokens: Tensor) -> Tensor | None:
        share = self.config.token_dropout
        if share == 0:
            return None
        generator = torch.Generator(tokens.device).manual_seed(item.seed)
        drawn = torch.rand(len(tokens), self.config.size.width, generator=generator, device=tokens.device)
        return (drawn >= share) / (1 - share)

    def report(self, step: int) -> dict[str, float]:
        """How often each sequence has been seen."""
        return {"epochs": (step + 1) * self.config.loop.accumulate * rank_and_world()[1] / self.batches.epoch}

    def validate(self, step: int) -> Validation:
        """What held-out sequences are to the averaged weights."""
        if self.held_out is None:
            return Validation({})
        network, (rank, world) = self.trained["generator"].averaged(), rank_and_world()
        sums = torch.zeros(6, dtype=torch.float64)
        batches = held_out_batches(self.held_out, self.config.data.validation_sequences, self.config.batch)
        for batch in islice(batches, rank, None, world):
            sums += self._likelihood(network, batch)
        codes, code_nats, lengths, length_nats, likeliest, clips = torch.stack(gathered(sums)).sum(0).tolist()
        return Validation(
            {
                "codes": code_nats / codes,
                "perplexity": math.exp(code_nats / codes),
                "lengths": length_nats / lengths,
                "length_accuracy": likeliest / lengths,
                "bits_per_clip": (code_nats + length_nats) / math.log(2) / clips,
            }
        )

    @torch.no_grad()
    def _likelihood(self, network: PackedLlama, batch: PackedBatch) -> Tensor:
        """Codes, nats of them; length tokens, nats of them, those that were the likeliest; clips: float64 `(6,)`."""
        words = self.model.grammar.vocabulary
        tokens, following, places = on_device(batch.tokens, network.device)
        logits = network(tokens, places, batch.layout).float()
        nats = F.cross_entropy(logits, following, reduction="none")
        code = following < words.codebook_size
        length = ~code & (following < words.first_class)
        likeliest = logits[:, words.first_length : words.first_class].argmax(1) + words.first_length == following
        counted = torch.stack([code, nats * code, length, nats * length, likeliest & length]).double().sum(1)
        return torch.cat((counted.cpu(), torch.tensor([batch.clips])))

    def save(self, folder: Path) -> None:
        """Writes the averaged generator, and its tokenizer."""
        network = self.trained["generator"].averaged()
        if rank_and_world()[0] == 0:
            VideoGenerator(self.model, network.llama, self.tokenizer).save_pretrained(folder)


def _check_agree(sets: Sequence[TokenSet], folders: Sequence[str]) -> None:
    """ValueError where sets are not of one tokenizer, of the same pictures and of the same classes."""
    for tokens, folder in zip(sets, folders, strict=True):
        for name in ("format", "classes", "picture", "fps"):
            here, there = getattr(sets[0], name), getattr(tokens, name)
            if here != there:
                raise ValueError(f"{folder} and {folders[0]} do not go together: {_difference(name, there, here)}")


def _check_apart(training: Sequence[TokenSet], held_out: Sequence[TokenSet]) -> None:
    """OverlapError where a video is in sets of both."""
    trained, names = (pyarrow.chunked_array([each.names for each in sets], "string") for sets in (training, held_out))
    shared = names.filter(pyarrow.compute.is_in(names, trained)).unique()
    if len(shared):
        raise OverlapError(
            f"{len(shared)} videos of validation are in training, such as {shared[0]}; "
            "if they only have the same names, give their sources other ones (`name`) and tokenize again"
        )


def _difference(name: str, one: Any, other: Any) -> str:
    """What differs in two values, with both."""
    if name == "classes":
        unlike = sorted({*one} ^ {*other})
        return f"they differ in classes, as {', '.join(unlike[:3]) or 'in their order'}"
    if name == "format":
        name = next(each.name for each in fields(one) if getattr(one, each.name) != getattr(other, each.name))
        one, other = getattr(one, name), getattr(other, name)
    return f"{name} is {one!s:.80}, and {other!s:.80}"


def _start(config: GeneratorTrainingConfig, model: GeneratorConfig) -> Any:
    """The Llama that training starts with; None: a random one."""
    if config.init_from is None:
        return None
    found = VideoGenerator.from_pretrained(config.init_from)
    for each in fields(model):
        one, other = getattr(found.config, each.name), getattr(model, each.name)
        if one != other:
            raise ValueError(f"init_from {config.init_from} is another generator: {_difference(each.name, one, other)}")
    return found.model
