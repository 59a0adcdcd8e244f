"""Two processes do what one does with twice the batches, also where each holds half of every weight."""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from evatok.data import folders
from evatok.data.folders import FolderConfig, FolderSource
from evatok.generator.config import GeneratorSize
from evatok.nn.packed import Layout
from evatok.stages.codebook import CodebookConfig
from evatok.stages.generator import GeneratorTrainingConfig, TokenSetsConfig, train_generator
from evatok.tokenizer.config import QuantizerConfig, TokenizerConfig
from evatok.tokenizer.quantizer import VectorQuantizer
from evatok.training.checkpoints import checkpoints
from evatok.training.loop import LoopConfig
from evatok.training.optimizers import OptimizerConfig
from evatok.utils.ranks import meet
from evatok.video.sources import VideoInfo
from tests.conftest import IN_PASSES, MINI
from tests.generator.sets import made_up, save
from tests.runs import mini_config, write_config
from tests.stages.parts import ALIGNMENT, PATCHES

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


# Without the entropy loss: its mean over tokens is over processes, and not over the groups that one has after another.
FORMS = {
    name: replace(model, quantizer=QuantizerConfig(**vars(model.quantizer) | {"entropy": 0.0}))
    for name, model in {"paper": MINI, "passes": IN_PASSES}.items()
}
ONE: list[str] = []
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
NODES = Path(__file__).parents[2] / "configs" / "accelerate" / "nodes-fsdp2.yaml"
# The shipped file for many machines, on this one.
HERE = ["--num_machines=1", "--num_processes=2", "--main_process_port=0"]
TWO_SHARDED = ["-m", "accelerate.commands.launch", f"--config_file={NODES}", *HERE]


def run(config: Path, launch: list[str], *words: str, module: str = "tests.runs") -> None:
    command = [sys.executable, *launch, "-m", module, str(config), *words]
    done = subprocess.run(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def logged(folder: Path) -> dict[str, dict[int, float]]:
    """Every scalar of a run's log by step, over all its resumes."""
    scalars: dict[str, dict[int, float]] = {}
    for events in sorted((folder / "log").rglob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime):
        log = EventAccumulator(str(events)).Reload()
        for name in log.Tags()["scalars"]:
            scalars.setdefault(name, {}).update({event.step: event.value for event in log.Scalars(name)})
    return scalars


def run_one_and_two(
    folder: Path,
    videos: Path,
    optimizer: OptimizerConfig,
    model: TokenizerConfig,
    launch: list[str],
    *words: str,
    **parts: Any,
) -> None:
    """The same training in `one` by a process, in `two` by two, which stop and resume; their logs must be alike."""

    # Three validation clips: the two processes have unequal shares.
    def config(name: str, **loop: Any) -> Path:
        made = mini_config(folder / name, videos, log_every=1, **loop)
        made = replace(made, data=replace(made.data, validation_clips=3), optimizer=optimizer)
        codebook = made.codebook if model.sketch is None else CodebookConfig(warmup=0, window=2, groups=4)
        made = replace(made, model=model, codebook=codebook, **parts)
        return write_config(made, folder / f"{name}.yaml")

    run(config("one", accumulate=2), ONE)
    two = config("two", accumulate=1, checkpoint_every=6)
    run(two, launch, *words)
    # The codebook's window of 2 steps is open at step 6: a resume must not lose the second process's counts.
    shutil.rmtree(checkpoints(folder / "two" / "checkpoints")[-1])
    run(two, launch, *words, "--resume")

    one_log, two_log = logged(folder / "one"), logged(folder / "two")
    compared = [name for name in one_log if "clips/s" not in name]
    assert {"loss/tokenizer/l1", "loss/tokenizer/commitment", "codes/used"} <= set(compared) and any(
        "lpips/8" in name for name in compared
    )
    for name in compared:
        # A single token between two codes moves the perplexity of few tokens by a hundredth, as it does gradients and
        # what is judged by features, LPIPS by less.
        moved = any(part in name for part in ("perplexity", "gradient", "alignment", "discriminator"))
        nearly = 2e-2 if moved else 5e-3 if "lpips" in name else 1e-3
        assert two_log[name] == pytest.approx(one_log[name], rel=nearly, abs=1e-4), name


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "final" / "model.safetensors")


@pytest.mark.parametrize("model", FORMS.values(), ids=FORMS)
def test_two_processes_equal_one_with_twice_the_batches(
    tmp_path: Path, video_folder: Path, model: TokenizerConfig
) -> None:
    run_one_and_two(tmp_path, video_folder, OptimizerConfig(lr=1e-3, warmup=2), model, TWO)
    two = weights(tmp_path / "two")
    for name, weight in weights(tmp_path / "one").items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-4)
    progress = [
        json.loads((checkpoints(tmp_path / name / "checkpoints")[-1] / "progress.json").read_text())
        for name in ("one", "two")
    ]
    assert progress[0]["clips"] == progress[1]["clips"] == 32


@pytest.mark.parametrize("model", FORMS.values(), ids=FORMS)
def test_two_processes_shard_as_the_config_for_many_nodes_says(
    tmp_path: Path, video_folder: Path, model: TokenizerConfig
) -> None:
    optimizer = OptimizerConfig(kind="muon", lr=1e-3, warmup=2)
    run_one_and_two(tmp_path, video_folder, optimizer, model, TWO_SHARDED, "--shard")
    names = {path.name for path in (tmp_path / "two" / "checkpoints").glob("*/*.*")}
    assert names == {path.name for path in (tmp_path / "one" / "checkpoints").glob("*/*.*")}
    two = weights(tmp_path / "two")
    for name, weight in weights(tmp_path / "one").items():
        # Muon computes in bf16, so a few entries differ by more than a tenth of what they have moved.
        assert (two[name] - weight).abs().mean() < 1.5e-4, name


@pytest.mark.parametrize(("launch", "words"), [(TWO, []), (TWO_SHARDED, ["--shard"])], ids=["copies", "shards"])
def test_two_processes_train_with_a_discriminator_and_alignment(
    tmp_path: Path, video_folder: Path, launch: list[str], words: list[str]
) -> None:
    # Without LeCAM, whose averages move with every batch: with two at once, or with one after the other.
    loss = replace(PATCHES.loss, lecam=0.0, start=2)
    parts = {"discriminator": replace(PATCHES, loss=loss), "alignment": ALIGNMENT}
    run_one_and_two(tmp_path, video_folder, OptimizerConfig(lr=1e-3, warmup=2), FORMS["paper"], launch, *words, **parts)
    for name in ("discriminator", "alignment"):
        one, two = (
            load_file(checkpoints(tmp_path / run / "checkpoints")[-1] / f"{name}.weights.safetensors")
            for run in ("one", "two")
        )
        assert one.keys() == two.keys()
        for key, weight in one.items():
            torch.testing.assert_close(two[key], weight, rtol=1e-2, atol=2e-4)


@pytest.mark.parametrize(("launch", "words"), [(TWO, []), (TWO_SHARDED, ["--shard"])], ids=["copies", "shards"])
def test_two_processes_train_a_generator_as_one_does(tmp_path: Path, launch: list[str], words: list[str]) -> None:
    def config(name: str, accumulate: int) -> GeneratorTrainingConfig:
        return GeneratorTrainingConfig(
            folder=str(tmp_path / name),
            data=TokenSetsConfig([str(tmp_path / "train")], [str(tmp_path / "validation")]),
            size=GeneratorSize(32, 2, 2),
            batch=100,
            token_dropout=0.1,
            optimizer=OptimizerConfig(lr=1e-3, warmup=2),
            loop=LoopConfig(steps=6, accumulate=accumulate, precision="no", log_every=1, validate_every=3),
            ema_decay=0.9,
        )

    save(made_up([3] * 12), tmp_path / "train")
    save(made_up([5] * 4, seed=1), tmp_path / "validation")
    train_generator(config("one", 2))
    run(write_config(config("two", 1), tmp_path / "two.yaml"), launch, "--stage", "generator", *words)
    one, two = (logged(tmp_path / name) for name in ("one", "two"))
    assert {"loss/generator/cross_entropy", "validation/bits_per_clip", "epochs"} <= one.keys() == two.keys()
    for name in one.keys() - {"clips/s"}:
        assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-4), name
    expected = weights(tmp_path / "one")
    for name, weight in weights(tmp_path / "two").items():
        torch.testing.assert_close(expected[name], weight, rtol=1e-3, atol=1e-4)


def entropy_of_half(rank: int, folder: Path) -> None:
    """Writes the entropy loss of a process's half of the clips, and its gradient by the codebook."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(entropy_and_gradient(slice(2 * rank, 2 * rank + 2)), folder / f"{rank}.pt")
    dist.destroy_process_group()


def entropy_and_gradient(clips: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Of those of four clips of five tokens each."""
    generator = torch.Generator().manual_seed(0)
    quantizer = VectorQuantizer(QuantizerConfig(codebook_size=7, dim=3, entropy=1.0, temperature=0.5))
    quantizer.codebook.data = torch.randn(7, 3, generator=generator)
    features = torch.randn(4, 5, 3, generator=generator)[clips]
    layout = Layout.of([[5]] * len(features))
    loss = quantizer.losses(quantizer(features.flatten(0, 1)), layout)["entropy"]
    return loss.detach(), torch.autograd.grad(loss, quantizer.codebook)[0]


def test_the_entropy_is_that_of_the_mean_over_all_processes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(entropy_of_half, (tmp_path,), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for parts, expected in zip(zip(*halves, strict=True), entropy_and_gradient(slice(4)), strict=True):
        torch.testing.assert_close(torch.stack(parts).mean(0), expected)


def open_one_of_two(rank: int, folder: Path, videos: Path, port: int) -> None:
    """Writes what a process sees of a folder, and which files it looked at itself."""
    torch.set_num_threads(1)
    looked: list[str] = []
    real = folders.look_at

    def look_at(path: Path) -> VideoInfo:
        looked.append(path.name)
        return real(path)

    folders.look_at = look_at
    launched = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in launched.items()} | {"CUDA_VISIBLE_DEVICES": ""})
    meet()
    source = FolderSource(FolderConfig(str(videos), max_bad=0.5))
    entries = [astuple(source.describe(number)) for number in range(len(source))]
    with pytest.raises(ValueError, match="has the columns file, but 'path' is not among them") as refused:
        FolderSource(FolderConfig(str(videos), index="index.csv"))
    seen = {"entries": entries, "skipped": list(map(astuple, source.bad.skipped)), "refused": str(refused.value)}
    (folder / f"{rank}.json").write_text(json.dumps({"looked": sorted(looked), "seen": seen}))
    dist.destroy_process_group()


def test_one_of_two_processes_looks_at_a_folder(tmp_path: Path, video_folder: Path) -> None:
    (video_folder / "empty.mp4").touch()
    (video_folder / "index.csv").write_text("file\na.mp4\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(open_one_of_two, (tmp_path, video_folder, port), nprocs=2)
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one["looked"] == sorted(path.name for path in video_folder.rglob("*.m*")) and two["looked"] == []
    assert one["seen"] == two["seen"]
    assert len(one["seen"]["entries"]) == len(one["looked"]) - 1
    assert [path for path, _ in one["seen"]["skipped"]] == ["empty.mp4"]


@pytest.mark.parametrize(("launch", "words"), [(TWO, []), (TWO_SHARDED, ["--shard"])], ids=["copies", "shards"])
def test_two_processes_train_two_models_against_each_other(tmp_path: Path, launch: list[str], words: list[str]) -> None:
    run(tmp_path / "one", ONE, "4", module="tests.rivals")
    run(tmp_path / "two", launch, "2", *words, module="tests.rivals")
    one, two = (torch.load(tmp_path / name / "final.pt") for name in ("one", "two"))
    assert one.keys() == two.keys() == {"maker", "judge"}
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=1e-4, atol=1e-5)
