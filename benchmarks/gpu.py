"""What a GPU makes of evatok: attention against the CPU, training of a large preset, a proxy tokenizer in a given time.

    python -m benchmarks.gpu --peak 989 --minutes 8 --out docs/results/gpu.json

1. Attention in bfloat16 on the device, and its gradients, against the same numbers in float32 on the CPU.
2. Updates of a preset in bfloat16 on random clips, without LPIPS. Packed: every clip of a batch has a random assignment
   of its own. Padded: every clip has that of the batch's longest one, as if it were filled up to that; no mask costs
   anything. Each eager and compiled (`loop.compile`). The four take turns. Operations are those of the packed lengths:
   what is computed on padding is of no use. Utilisation is their rate over `--peak`, or over that of a plain product.
3. Training by a config for a number of minutes: steps are as many as fit by the rate of a short run before. A GPU
   waits for a small tokenizer's updates; `benchmarks.captured` replays them.

`--config` and single values are those of `evatok train proxy`. Without a GPU all of it runs on the CPU, slowly.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from benchmarks.common import Row, in_turn, product_rate, read_config, table, timing_arguments, write_record
from benchmarks.operations import training_operations
from benchmarks.steps import RandomClips, new_accelerator, step_config
from evatok.losses.reconstruction import ReconstructionLoss, ReconstructionLossConfig
from evatok.nn.attention import Segments, attend
from evatok.nn.packed import Layout
from evatok.nn.transformer import TransformerConfig, compile_layers
from evatok.stages.proxy import ProxyConfig, ProxyTask, train_proxy
from evatok.stages.tokenizer_validation import validate
from evatok.tokenizer.config import PRESETS, TokenizerConfig
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokenizer.picture import Picture, places_of
from evatok.training.preparing import prepare
from evatok.training.task import Item
from evatok.training.update import update

PARTS = ("attention", "speed", "training")
TOLERANCE = 0.05  # of bfloat16, over the largest number
PROBE = 30  # steps by which a rate is measured
GIB = 2**30


def attention_errors(model: TokenizerConfig, clips: int, device: torch.device) -> list[Row]:
    """Largest errors of a model's four attentions, relative to the largest number of the right result."""
    generator = torch.Generator().manual_seed(0)
    tokens = Layout.of(model.space.sample(generator, clips).tolist())
    patches = places_of(Picture.of((model.side, model.side), model), tokens, torch.device("cpu")).patch_layout
    cases = {
        "encoder, own": (model.encoder, Segments(tokens, tokens)),
        "encoder, cross": (model.encoder, Segments(tokens, patches)),
        "decoder, own": (model.decoder, Segments(patches, patches)),
        "decoder, cross": (model.decoder, Segments(patches, tokens)),
    }
    rows: list[Row] = []
    for name, (size, segments) in cases.items():
        q, k, v, towards = _values(size, segments, generator)
        found = _passes([q, k, v], towards, segments, device)
        right = _passes([q.float(), k.float(), v.float()], towards.float(), segments, torch.device("cpu"))
        errors = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, right, strict=True)]
        rows.append({"attention": name, "output": errors[0], "gradients": max(errors[1:])})
    return rows


def _values(size: TransformerConfig, segments: Segments, generator: torch.Generator) -> list[Tensor]:
    """Queries, keys, values, and a gradient of the output."""
    counts = [segments.queries.size, segments.keys.size, segments.keys.size, segments.queries.size]
    shape = size.heads, size.width // size.heads
    return [torch.randn(count, *shape, generator=generator).bfloat16() for count in counts]


def _passes(values: list[Tensor], towards: Tensor, segments: Segments, device: torch.device) -> list[Tensor]:
    """Attention's output and the gradients of queries, keys and values, as float32 on the CPU."""
    q, k, v = (value.to(device).requires_grad_() for value in values)
    output = attend(q, k, v, segments)
    gradients = torch.autograd.grad(output, (q, k, v), towards.to(device))
    return [each.detach().cpu().float() for each in (output, *gradients)]


class MixedTask(ProxyTask):
    """Stage 1 on random clips under the assignments that it is told."""

    def __init__(self, config: ProxyConfig, device: torch.device) -> None:
        super().__init__(config)
        clips = RandomClips(config.data.group, config.model.clip_frames, config.model.side, device)
        self.item = Item(clips[0], seed=0)
        self.layout = Layout(())
        self.assign = lambda video, generator: self.layout


def speed(
    model: TokenizerConfig,
    batch: int,
    mixes: int,
    repeats: int,
    peak: float,
    backend: str = "inductor",
) -> list[Row]:
    """Rows of packed and padded, eager and compiled updates."""
    generator = torch.Generator().manual_seed(0)
    packed = [Layout.of(model.space.sample(generator, batch).tolist()) for _ in range(mixes)]
    padded = [Layout.of([max(layout.lengths, key=sum)] * batch) for layout in packed]
    layouts = {"packed": packed, "padded": padded}
    calls: dict[tuple[str, str], Callable[[], None]] = {}
    with tempfile.TemporaryDirectory() as folder:
        config = step_config(Path(folder), model, batch, 1, ReconstructionLossConfig(perceptual=0.0), mixes)
        accelerator = new_accelerator(config.loop.on_this_machine().precision)
        for how, compiler in (("eager", None), ("compiled", backend)):
            learn = learner(config, accelerator, compiler)
            calls |= {(kind, how): partial(_each, learn, several) for kind, several in layouts.items()}
        seconds = in_turn(calls, repeats)
    useful = training_operations(model, (model.side, model.side), [row for each in packed for row in each.lengths])
    return [
        {
            "lengths": kind,
            "layers": how,
            "batch": batch,
            "tokens a clip": sum(layout.size for layout in layouts[kind]) / (batch * mixes),
            "clips/s": batch * mixes / seconds[kind, how],
            "useful TFLOP/s": useful / seconds[kind, how] / 1e12,
            "utilisation": f"{useful / seconds[kind, how] / peak:.1%}",
            "memory, GiB": _memory(call),
        }
        for (kind, how), call in calls.items()
    ]


def learner(config: ProxyConfig, accelerator: Accelerator, backend: str | None) -> Callable[[Layout], None]:
    """An update of a new model under given assignments."""
    torch.manual_seed(config.loop.seed)
    task = MixedTask(config, accelerator.device)
    if backend:
        compile_layers(task.trained["tokenizer"].network, backend)
    prepare(accelerator, task.trained.values())

    def learn(layout: Layout) -> None:
        task.layout = layout
        update(task, accelerator, task.warmup, config.loop.steps, [task.item])

    return learn


def _each(learn: Callable[[Layout], None], several: list[Layout]) -> None:
    for layout in several:
        learn(layout)


def _memory(call: Callable[[], None]) -> float | None:
    """Most memory that a call needs on a GPU, with both models that are there."""
    if not torch.cuda.is_available():
        return None
    torch.cuda.reset_peak_memory_stats()
    call()
    return torch.cuda.max_memory_allocated() / GIB


def train_for(config: ProxyConfig, seconds: float, device: torch.device) -> dict[str, Any]:
    """Trains for about so many seconds; `half` in the run's folder gets the result in half precision, measured here.

    Raises:
        ValueError: the time does not suffice for more than the warm-up without quantization.
    """
    steps = int(seconds / seconds_a_step(config))
    if steps <= config.codebook.warmup:
        raise ValueError(
            f"{seconds:g} s suffice for {steps} steps, all of them warm-up: codebook.warmup is {config.codebook.warmup}"
        )
    trained = replace(config, loop=replace(config.loop, steps=steps, validate_every=steps))
    final, half = train_proxy(trained), Path(config.folder) / "half"
    VideoTokenizer.from_pretrained(final).save_pretrained(half, torch.float16)
    shutil.copy(final / "training.json", half)
    progress = json.loads((half / "training.json").read_text())
    tokenizer = VideoTokenizer.from_pretrained(half, device=device)
    _, held_out = config.data.open(config.loop.seed)
    loss = ReconstructionLoss(config.loss).to(device)
    return {
        **{name: progress[name] for name in ("steps", "clips", "seconds")},
        "clips/s": progress["clips"] / progress["seconds"],
        "bytes in half precision": (half / "model.safetensors").stat().st_size,
        "validation": validate(tokenizer, held_out, loss).scalars,
        "config": asdict(trained),
    }


def seconds_a_step(config: ProxyConfig) -> float:
    """By a short run that is thrown away, the quantizer in use and nothing validated."""
    loop = replace(config.loop, steps=PROBE, checkpoint_every=PROBE, tracker="none")
    with tempfile.TemporaryDirectory() as folder:
        short = replace(
            config,
            folder=str(Path(folder) / "run"),
            data=replace(config.data, validation=[]),
            codebook=replace(config.codebook, warmup=0, groups=1),
            loop=loop,
        )
        progress = json.loads((train_proxy(short) / "training.json").read_text())
    return float(progress["seconds"] / progress["steps"])


def main() -> None:
    """Runs the parts; ends with 1 if attention is wrong."""
    parser = timing_arguments(__doc__)
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--preset", choices=list(PRESETS), default="base", help="whose attention and updates")
    parser.add_argument("--batch", type=int, default=32, help="clips of an update")
    parser.add_argument("--mixes", type=int, default=4, help="batches with other assignments, in a turn")
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device in bfloat16 by its data sheet")
    parser.add_argument("--config", default="configs/small/proxy.yaml", help="of the training")
    parser.add_argument("--minutes", type=float, default=8.0, help="of the training")
    given, words = parser.parse_known_args()
    torch.set_num_threads(given.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = PRESETS[given.preset]
    record: dict[str, Any] = {"preset": given.preset}
    if "attention" in given.parts:
        record["attention"] = attention_errors(model, 4, device)
        print(table(record["attention"]))
    if "speed" in given.parts:
        rate = product_rate(torch.bfloat16, device.type, size=8192 if device.type == "cuda" else 1024)
        peak = given.peak * 1e12 if given.peak else rate
        rows = speed(model, given.batch, given.mixes, given.repeats, peak)
        record |= {"product_rate": rate, "peak": peak, "speed": rows}
        print(table(record["speed"]))
    if "training" in given.parts:
        config = read_config(ProxyConfig, [f"--config={given.config}", *words])
        record["training"] = train_for(config, 60 * given.minutes, device)
        print(table([{k: v for k, v in record["training"].items() if not isinstance(v, dict)}]))
    write_record(record, given.out)
    sys.exit(any(max(row["output"], row["gradients"]) > TOLERANCE for row in record.get("attention", [])))


if __name__ == "__main__":
    main()
