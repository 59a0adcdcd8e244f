"""The generator as users hold it: classes or first frames in, videos out."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor
from tqdm import tqdm

from evatok.generator.cached import CachedLlama, CompiledLlama
from evatok.generator.config import GeneratorConfig
from evatok.generator.drawing import Drawing
from evatok.generator.grammar import Parsed
from evatok.generator.requests import requested
from evatok.generator.sampling import Sampler
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.tokens import Tokens, VideoRecord
from evatok.utils.defaults import with_own_defaults
from evatok.utils.files import write_text
from evatok.utils.saving import CONFIG, CheckpointError, Kind, read_json, read_weights, weights_digest
from evatok.video.fit import plan_fit

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

# Where a saved generator has its tokenizer.
TOKENIZER = "tokenizer"
# Seconds until a bar shows how far sampling is.
_PATIENCE = 5


class Generated(NamedTuple):
    """What a generator has made.

    Args:
        videos: `(B, F, 3, H, W)` uint8.
        tokens: that they are made of.
    """

    videos: Tensor
    tokens: Tokens

    @property
    def mean_tokens(self) -> float:
        """Tokens of a clip, on average."""
        return self.tokens.num_tokens / self.tokens.num_clips

    @property
    def level_shares(self) -> Tensor:
        """How many of each block of clips have each level, as shares: float32 `(blocks, levels)`."""
        levels = torch.tensor(self.tokens.format.levels)
        return (self.tokens.lengths[..., None] == levels).float().mean(0)


class VideoGenerator:
    """Writes the tokens of videos one after the other, their numbers too, and has the tokenizer make videos of them.

    Its folder is one of the library transformers too: `AutoModelForCausalLM.from_pretrained` loads the model alone.

    Args:
        config: what it is made of.
        model: a Llama of `config.llama()`; without one its weights are random.
        tokenizer: the one whose tokens it writes; without one it makes tokens and no videos.

    Raises:
        ValueError: the model has other weights than the config says, or the tokenizer made none of the tokens.
    """

    KIND = Kind("generator", "evatok.VideoGenerator", GeneratorConfig, "generator.json", (f"{TOKENIZER}/*",))
    name: str = "unnamed"

    @with_own_defaults
    def __init__(
        self,
        config: GeneratorConfig,
        model: "LlamaForCausalLM | None" = None,
        tokenizer: VideoTokenizer | None = None,
    ) -> None:
        from transformers import LlamaForCausalLM

        self.config, self.grammar = config, config.grammar
        self.model: LlamaForCausalLM = LlamaForCausalLM(config.llama()).eval() if model is None else model
        if odd := _differing(self.model.config.to_dict(), config):
            raise ValueError(f"the model does not fit the generator's config: {odd}")
        self.tokenizer = tokenizer
        self._compiled: CompiledLlama | None = None

    @property
    def tokenizer(self) -> VideoTokenizer | None:
        """What makes videos of tokens; None if there is none."""
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: VideoTokenizer | None) -> None:
        wanted = self.config.tokens
        if tokenizer is not None and not tokenizer.decodes(wanted):
            raise ValueError(
                f"the generator writes tokens of {wanted.model} ({wanted.checksum}), "
                f"not of {tokenizer.name} ({tokenizer.token_format.checksum})"
            )
        self._tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        revision: str | None = None,
        subfolder: str = "",
        token: str | bool | None = None,
    ) -> Self:
        """Loads a folder that `save_pretrained` wrote, a shipped generator by its name, or a hub's repository.

        The arguments are those of `VideoTokenizer.from_pretrained`; `dtype` is the Llama's alone. A folder without a
        tokenizer takes the shipped one that made its tokens, if one did.

        Raises:
            CheckpointError: a ValueError that says what is missing or does not fit.
        """
        from transformers import LlamaForCausalLM
        from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

        folder = cls.KIND.find(name, subfolder, revision, token)
        config = cls.KIND.read_config(folder)
        _check_llama(folder / CONFIG, config)
        with torch.device("meta"):
            model = LlamaForCausalLM(config.llama()).eval()
        model.load_state_dict(read_weights(folder, model.state_dict()), assign=True)
        # Its frequencies are in no file.
        model.model.rotary_emb = LlamaRotaryEmbedding(config=model.config)
        try:
            generator = cls(config, model, _tokenizer(folder, config))
        except ValueError as error:
            raise CheckpointError(f"{folder}: {error}") from error
        generator.name = folder.resolve().name if Path(name).is_dir() else str(PurePosixPath(name, subfolder))
        return generator.to(device, dtype)

    def generate(
        self,
        classes: Sequence[str | int | None] | None = None,
        frames: Tensor | None = None,
        **options: Any,
    ) -> Generated:
        """Makes videos of classes, or that begin with given frames: what `sample` does, with its options, decoded.

        Raises:
            ValueError: as `sample` does, and where the generator has no tokenizer.
        """
        if self.tokenizer is None:
            raise ValueError(f"the generator has no tokenizer to make videos with; it needs {self.config.tokens.model}")
        tokens = self.sample(classes, frames, **options)
        return Generated(self.tokenizer.decode(tokens), tokens)

    @torch.no_grad()
    @with_own_defaults
    def sample(
        self,
        classes: Sequence[str | int | None] | None = None,
        frames: Tensor | None = None,
        *,
        assignment: Sequence[int] | Tensor | None = None,
        guidance: float = 1.0,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        most_tokens: int | None = None,
        length_bias: float = 0.0,
        seed: int = 0,
        first: int = 0,
        rows: int = 16,
        compile: bool = False,
        progress: bool = True,
    ) -> Tokens:
        """Writes the tokens of videos. A video's are the same alone and beside others, whatever `rows` is.

        Args:
            classes: of each video, by name or number; None: of no class.
            frames: that videos begin with, `(B, F0, 3, H, W)` of the config's picture, uint8 or float in [-1, 1]. They
                are encoded as they are, the last one repeated until a block is full.
            assignment: tokens of each block, `(blocks,)` for all or `(B, blocks)`; 0 leaves a block's to the model.
                Without one all are; but the first block of given frames has the longest level's, others of them the
                second longest's.
            guidance, temperature, top_k, top_p, most_tokens, length_bias: see `Drawing`.
            seed: of chance.
            first: number of the first video: that many are skipped of those which the seed has.
            rows: videos that are written side by side; more are quicker, and take more memory.
            compile: compiles how a token is read, on a GPU to CUDA graphs, and keeps that for calls with as many rows.
                It takes minutes at first, so it is for many videos on a GPU, and rounds otherwise: a seed may differ.
            progress: whether a bar shows how far it is, if it takes long.

        Raises:
            ValueError: for values out of range, classes that there are not, frames of another size or too many, and
                where lengths and a budget do not go together.
        """
        drawing = Drawing(guidance, temperature, top_k, top_p, most_tokens, length_bias)
        requests = requested(self, classes, frames, assignment, first)
        if min(seed, first) < 0 or rows < 1:
            raise ValueError(f"seed and first must be at least 0 and rows 1, got {seed}, {first} and {rows}")
        clip_blocks = self.config.tokens.clip_blocks
        for request in requests:
            request.check(self.grammar, clip_blocks, most_tokens)
        rows = rows if compile else min(rows, len(requests))
        sampler = Sampler(self.grammar, clip_blocks, drawing, rows, self.device)
        bar = tqdm(
            sampler.sample(requests, self._reader(sampler.read_rows, compile), seed),
            "sampling",
            len(requests),
            unit="video",
            delay=_PATIENCE,
            disable=not progress,
        )
        done = dict(bar)
        return self._tokens([self.grammar.parse(done[number]) for number in sorted(done)])

    def _reader(self, rows: int, compiled: bool) -> CachedLlama:
        """What reads so many rows. A compiled one is kept, and with it what has been compiled."""
        if not compiled:
            return CachedLlama(self.model, rows, self.grammar.longest)
        if self._compiled is None or self._compiled.rows != rows:
            self._compiled = CompiledLlama(self.model, rows, self.grammar.longest)
        return self._compiled

    def _tokens(self, parsed: Sequence[Parsed]) -> Tokens:
        """Sequences as tokens of videos."""
        fit = plan_fit(self.config.picture, area=1, patch=(1, 1), mode="none")
        record = VideoRecord(self.config.frames, self.config.fps, self.config.picture, fit.to_dict())
        lengths = torch.tensor([each.lengths for each in parsed]).unflatten(1, (-1, self.config.tokens.clip_blocks))
        return Tokens(
            self.config.tokens, (record,) * len(parsed), torch.cat([each.ids for each in parsed]), lengths.flatten(0, 1)
        )

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Writes the Llama's `config.json` and `model.safetensors`, `generator.json`, the tokenizer in a subfolder.

        Args:
            folder: which is made where there is none.
            dtype: of the numbers in the file. The tokenizer's are kept as this where they stay what they are.
        """
        folder = Path(folder)
        self.KIND.write(folder, self.config, self.model.state_dict(), dtype)
        llama = self.config.llama()
        llama.architectures, llama.dtype = ["LlamaForCausalLM"], dtype
        write_text(folder / CONFIG, llama.to_json_string())
        if self.tokenizer is not None:
            weights = self.tokenizer.state_dict().values()
            exact = all(torch.equal(each.to(dtype).to(each.dtype), each) for each in weights)
            self.tokenizer.save_pretrained(folder / TOKENIZER, dtype if exact else torch.float32)
        else:
            (folder / TOKENIZER / CONFIG).unlink(missing_ok=True)  # of what was there before

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the Llama's weights."""
        return next(self.model.parameters()).dtype

    @property
    def checksum(self) -> str:
        """Sixteen hexadecimal digits that say which weights the Llama's are."""
        return weights_digest(self.model.state_dict())

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """Moves the Llama and the tokenizer; the dtype is the Llama's alone."""
        # Its own `to` is wrapped in a way that hides `self` from mypy.
        torch.nn.Module.to(self.model, device, dtype)
        self._compiled = None  # its keys and values are where they were
        if self.tokenizer is not None:
            self.tokenizer.to(device)
        return self


def _tokenizer(folder: Path, config: GeneratorConfig) -> VideoTokenizer | None:
    """The tokenizer in a generator's folder, or else the shipped one that made its tokens; by its name in tokens."""
    name = config.tokens.model
    shipped = VideoTokenizer.from_pretrained(name) if VideoTokenizer.KIND.ships(name) else None
    if (folder / TOKENIZER / CONFIG).exists():
        tokenizer = VideoTokenizer.from_pretrained(folder / TOKENIZER)
        known = (config.tokens.checksum, shipped.checksum if shipped else None)
        tokenizer.name = name if tokenizer.checksum in known else f"{folder.resolve().name}/{TOKENIZER}"
        return tokenizer
    return shipped if shipped is not None and shipped.decodes(config.tokens) else None


def _check_llama(path: Path, config: GeneratorConfig) -> None:
    """CheckpointError where the Llama's own config is missing or is of another model."""
    try:
        entries = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if odd := _differing(entries, config) if isinstance(entries, dict) else "it is no object":
        raise CheckpointError(f"{path} does not fit {VideoGenerator.KIND.file}: {odd}")


# What a Llama's config has besides what it computes.
_ASIDE = ("architectures", "attention_dropout", "dtype", "initializer_range", "transformers_version", "use_cache")


def _differing(entries: dict[str, object], config: GeneratorConfig) -> str:
    """The first entry of a Llama's config that is not what a generator's has; nothing if there is none."""
    for key, value in config.llama().to_dict().items():
        if key not in _ASIDE and entries.get(key, value) != value:
            return f"{key} is {entries[key]!r:.80}, not {value!r:.80}"
    return ""
