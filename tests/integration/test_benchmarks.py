"""The benchmarks run, on little, and their records hold what they should."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import (
    common,
    cpu_defaults,
    fuzz,
    gpu,
    manifests,
    memory,
    operations,
    recipes,
    reconstruct,
    search_cost,
    search_speed,
    source_speed,
    tokenizer_bound,
    tokenizer_speed,
    training_speed,
)
from evatok.data.manifest import read_manifest
from evatok.data.prepare.scanning import ScanConfig
from evatok.losses.reconstruction import ReconstructionLossConfig
from evatok.nn.packed import Layout, Packed
from evatok.pretrained.lpips import LPIPS
from evatok.search.walk import search_clips
from evatok.tokenizer.config import PRESETS, SketchConfig, TokenizerConfig
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokenizer.network import TokenizerNetwork
from evatok.video.reading import write_video
from tests.conftest import MINI, SKETCHED
from tests.fuzzing.answers import Answer
from tests.runs import mini_config

LOSS = ReconstructionLossConfig(lpips_net="alex", perceptual_frames=1)


def test_a_tokenizer_is_bounded_by_what_it_makes_of_real_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("walking", "running")):
        (tmp_path / name).mkdir()
        for seed in range(2):
            noise = torch.randint(256, (32, 3, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
            video = (noise // (1 + 7 * number)).repeat_interleave(8, 2).repeat_interleave(8, 3)
            write_video(tmp_path / name / f"{seed}.mkv", video, fps=24)
    sources, out = f"[{{folder: {tmp_path}}}]", tmp_path / "bound.json"
    words = ["--real", sources, "--held-out", sources, "--clips", "4", "--folder", str(tmp_path / "kept")]
    words += ["--decoders", "evatok-tiny", "evatok-tiny-ale/tokenizer", "--sheet", str(tmp_path / "sheet.png")]
    monkeypatch.setattr("sys.argv", ["tokenizer_bound", *words, "--out", str(out)])
    tokenizer_bound.main()
    record = json.loads(out.read_text())
    same, by_itself, by_another = record["rows"]
    assert same["FVD"] == pytest.approx(0, abs=1e-3) and same["class found"] == 1
    assert 4 * 8 <= record["tokens"] <= 4 * 128 and by_itself["PSNR"] != by_another["PSNR"]
    assert all(row["FVD"] > 10 and 0 < row["LPIPS"] < 1 for row in (by_itself, by_another))
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 12 * 96 and sheet.size[1] > 3 * 96


def test_fuzz_record_adds_up(tmp_path: Path) -> None:
    record = fuzz.fuzz(tmp_path, seed=3, videos=32, count=2, config=ScanConfig(1, seconds=30.0))
    assert record["inputs"] == sum(record["answers"].values()) == 32 + 2 * len(record["families"]) - 2
    assert record["wrong"] == [] and record["tracebacks"] == record["hangs"] == record["left_behind"] == 0
    videos = record["families"]["videos"]
    assert videos["answers"]["read"] + videos["answers"]["refused"] == videos["inputs"] == 32
    assert all(sum(row.values()) == 2 for row in videos["by_damage"].values())
    assert sum(videos["reasons"].values()) == videos["answers"]["refused"] > 0
    assert videos["by_damage"]["unchanged"] == {"read": 2}
    assert videos["contradictions"] == [] and 0 < videos["peak_memory_mb"] <= 200
    for name, family in record["families"].items():
        assert family["inputs"] == sum(family["answers"].values()) == (32 if name == "videos" else 2)
        assert family["by_damage"]["unchanged"].keys() == {"read"}


@pytest.mark.parametrize(
    ("family", "kind", "answer", "wrong"),
    [
        ("configs", "bytes", Answer("refused", "it is none"), False),
        ("configs", "unchanged", Answer("refused", "it is none"), True),
        ("configs", "bytes", Answer("traceback", "KeyError"), True),
        ("lists", "table: unchanged", Answer("refused"), True),
        ("models", "bytes", Answer("read", memory=fuzz.MOST_MEMORY + 1), True),
        ("models", "bytes", Answer("too much memory"), True),
        ("checkpoints", "bytes", Answer("read", left=("run/.step_3.partial",)), True),
        ("encoding", "other size", Answer("read", memory=fuzz.MOST_MEMORY + 1), True),
        ("encoding", "other size", Answer("too much memory", memory=fuzz.MOST_MEMORY), False),
        ("videos", "noise", Answer("too much memory"), False),
        ("videos", "noise", Answer("too long", memory=fuzz.MOST_MEMORY + 1), True),
        ("videos", "noise", Answer("death"), True),
    ],
)
def test_fuzz_tells_what_is_wrong(family: str, kind: str, answer: Answer, wrong: bool) -> None:
    assert fuzz.is_wrong(family, kind, answer) is wrong


def test_manifests_are_opened_and_their_good_videos_counted(tmp_path: Path) -> None:
    made = list(manifests.rows(2000))
    assert [row.path for row in made] == sorted({row.path for row in made}) and len({row.label for row in made}) == 1000
    assert manifests.write(str(tmp_path / "manifest.parquet"), 2000) > 2000 * 64
    assert list(read_manifest(tmp_path / "manifest.parquet")) == made
    seconds, busy, memory = manifests.open_and_count(str(tmp_path))
    assert seconds > 0 and busy > 0 and memory >= 0
    assert sum(row.reason is not None for row in made) == 20


def test_source_speed_has_every_source_and_number_of_workers(
    tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVATOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(source_speed, "learner", lambda config: lambda batch: None)
    record = source_speed.measure(mini_config(tmp_path / "run", video_folder), tmp_path, [0, 1], seconds=0.01)
    assert set(record["sources"]) == {"videos", "shards", "mixture"}
    assert all(set(row) == {"0", "1"} for row in [*record["sources"].values(), record["fed"]])
    rates = record["sources"]["shards"]
    assert record["ratios"]["shards"]["1"] == rates["1"] / record["training"] and rates["1"] > 0
    rows = source_speed.rows(record)
    assert [next(iter(row.values())) for row in rows] == ["videos", "shards", "mixture", "training, fed by the mixture"]
    assert rows[1]["0 workers"].startswith(f"{rates['0']:.1f} (")


def test_records_say_what_made_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common.report([{"name": "a", "value": 1.23456}], tmp_path / "new" / "record.json", seed=3)
    record = json.loads((tmp_path / "new" / "record.json").read_text())
    assert record["rows"] == [{"name": "a", "value": 1.23456}] and record["seed"] == 3
    assert {"command", "commit", "torch", "threads", "device"} <= record["environment"].keys()
    printed = capsys.readouterr().out
    assert printed.startswith("| name | value |\n| ---- | ----: |\n| a    |  1.23 |\n") and torch.__version__ in printed


def test_operations_are_those_that_torch_counts() -> None:
    """Of matrix products and attention; but for pooling and positions, which are left out as small."""
    assignments = [[8, 4, 4, 8], [4, 4, 8, 4]]
    network = TokenizerNetwork(MINI)
    with FlopCounterMode(display=False) as counter, torch.autocast("cpu", torch.bfloat16):
        network(torch.zeros(2, 16, 3, 32, 32), Layout.of(assignments), quantize=False)
    counted = operations.forward_operations(MINI, (32, 32), assignments)
    assert counted <= counter.get_total_flops() < 1.15 * counted


def test_tokenizer_speed_compares_with_a_plain_transformer() -> None:
    plain = tokenizer_speed.PlainConfig(width=32, depth=2, heads=2, elements=16)
    row = tokenizer_speed.measure(MINI, plain, clips=3, tokens=20, precision="bfloat16", repeats=1)
    assert row["tokens a clip"] == 20 and row["batch"] == 3
    assert row["ratio"] == pytest.approx(row["clips/s"] / row["clips/s, plain"])
    theirs = 2 * (2 * 12 * 32**2 * 16 + 4 * 32 * 16**2)
    assert operations.plain_operations(32, 2, 16) == theirs
    assert 0 < row["ratio of operations"] < 3 * theirs / operations.forward_operations(MINI, (32, 32), [[4] * 4] * 3)


def test_reconstruct_tells_start_up_from_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "in.mp4", torch.zeros(60, 3, 32, 32, dtype=torch.uint8), fps=25)
    # 4 s and 3 s of a processor to begin with, 0.02 s and 0.05 s a frame.
    costs = {"few": reconstruct.Cost(4.32, 3.8), "many": reconstruct.Cost(4.8, 5.0)}
    monkeypatch.setattr(reconstruct, "run", lambda video, folder, tokenizer: costs[video.stem])
    row = reconstruct.measure(tmp_path / "in.mp4", 0.4, 40, "mini", repeats=1)
    assert row["frames"] == 40 and row["pixels"] == "32x32" and row["start-up, s"] == 4.32
    assert row["frames/s"] == pytest.approx(50) and row["of the video's own"] == pytest.approx(2)
    assert row["processor seconds a second of video"] == pytest.approx(1.25)


def test_training_speed_divides_the_step_into_kinds() -> None:
    row = training_speed.measure("mini", MINI, 2, 2, LOSS, steps=5, profile_steps=1, rate=1e12)
    assert row["batch"] == 2 and row["groups"] == 2 and row["clips/s"] > 0 and row["operators a step"] > 1000
    shares = [int(row[kind].removesuffix("%")) for kind in [*training_speed.KINDS, "everything else"]]
    assert sum(shares) == pytest.approx(100, abs=len(shares)) and min(shares[:3]) > 0


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::bmm", "attention"),
        ("aten::addmm", "matrix products"),
        ("aten::convolution_backward", "convolutions"),
        ("aten::copy_", "copies and casts"),
        ("aten::_fused_adamw_", "optimisers"),
        ("aten::mul", "everything else"),
    ],
)
def test_training_speed_knows_operators(operator: str, kind: str) -> None:
    assert training_speed.kind_of(operator) == kind


@pytest.fixture
def no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures in this process: that children measure right is in `tests/tokenizer/test_memory.py`."""
    for module in (memory, cpu_defaults):
        monkeypatch.setattr(module, "in_child", lambda function, *given, environment: function(*given))
    monkeypatch.setattr(
        cpu_defaults, "side_by_side", lambda count, function, *given, environment: [function(*given)] * count
    )


def test_memory_measures_what_fits_and_estimates_the_rest(no_children: None) -> None:
    def run(model: TokenizerConfig, batch: int) -> memory.Measured:
        return memory.Measured(100.0 + 20 * batch + batch**2, float(batch))

    found = list(memory.by_batch(run, MINI, [1, 2, 4, 8], free=200.0))
    assert found[:3] == [(run(MINI, batch), True) for batch in (1, 2, 4)]
    # From 144 at 2 clips to 196 at 4 it is 26 a clip.
    assert found[3] == (memory.Measured(196.0 + 4 * 26, 4.0), False)


def test_memory_of_every_pass(no_children: None) -> None:
    rows = memory.measure("mini", MINI, LOSS, [1])
    passes = ["training step", "training step, layers computed again", "encode + decode"]
    assert [row["pass"] for row in rows] == passes
    assert all(row["clips/s"] > 0 and row["memory, MiB"] >= 0 and row["from"] == "measured" for row in rows)
    assert memory.LOSSES.keys() == PRESETS.keys()


@pytest.mark.parametrize("run", [memory.encoding, memory.reconstructing])
def test_memory_by_length(no_children: None, run: Callable[[Path], memory.Measured]) -> None:
    rows = memory.lengths(run, [16, 32], side=32)
    assert [row["frames"] for row in rows] == [16, 32] and all(row["clips/s"] > 0 for row in rows)


def test_cpu_defaults_measures_every_setting_in_turn(no_children: None) -> None:
    rows = cpu_defaults.measure(MINI, ["one thread"], batch=2, steps=1, turns=1)
    assert [row["setting"] for row in rows] == ["defaults", "one thread"]
    assert rows[0]["training gains"] == "+0.0%" and rows[1]["variables"] == "OMP_NUM_THREADS=1"
    assert all(row[f"{kind}, s"] > 0 for row in rows for kind in ("training", "fed", "coding"))
    [shared] = cpu_defaults.measure_shared(MINI, ["one thread"], batch=2, steps=1)
    assert shared["two trainings at once"] == "one thread" and shared["seconds a step"] > 0


def test_cpu_defaults_takes_the_fastest_turn_of_each_step() -> None:
    assert cpu_defaults.fastest([[1.0, 5.0], [3.0, 2.0]]) == 1.5
    slow, fast = (cpu_defaults.Seconds([step, step], [2.0], [1.0]) for step in (1.5, 1.2))
    row = cpu_defaults.row_of("one thread", [fast], [slow])
    assert (row["training gains"], row["fed gains"], row["coding gains"]) == ("+25.0%", "+0.0%", "+0.0%")


def test_gpu_attention_is_near_the_cpu_in_float32() -> None:
    rows = gpu.attention_errors(MINI, 3, torch.device("cpu"))
    assert [row["attention"] for row in rows] == ["encoder, own", "encoder, cross", "decoder, own", "decoder, cross"]
    assert all(0 < row["output"] < gpu.TOLERANCE and 0 < row["gradients"] < gpu.TOLERANCE for row in rows)


def test_gpu_speed_of_packed_and_padded_eager_and_compiled() -> None:
    rows = gpu.speed(MINI, 3, mixes=2, repeats=1, peak=1e9, backend="eager")
    kinds = [("packed", "eager"), ("padded", "eager"), ("packed", "compiled"), ("padded", "compiled")]
    assert [(row["lengths"], row["layers"]) for row in rows] == kinds
    packed, padded = rows[:2]
    assert 16 <= packed["tokens a clip"] < padded["tokens a clip"] <= 32
    # Padding is of no use: utilisations differ as clips/s do.
    for row in rows:
        assert row["useful TFLOP/s"] / packed["useful TFLOP/s"] == pytest.approx(row["clips/s"] / packed["clips/s"])


def test_gpu_trains_for_a_time(tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = mini_config(tmp_path / "run", video_folder)
    monkeypatch.setattr(gpu, "PROBE", 2)
    assert 0 < gpu.seconds_a_step(config) < 60 and not (tmp_path / "run").exists()
    monkeypatch.setattr(gpu, "seconds_a_step", lambda config: 0.25)
    record = gpu.train_for(config, 1.0, torch.device("cpu"))
    assert record["steps"] == 4 and record["clips"] == 16 and record["clips/s"] > 0
    assert record["bytes in half precision"] == (tmp_path / "run" / "half" / "model.safetensors").stat().st_size
    assert 0 < record["validation"]["held_out/lpips/8"] < 2
    with pytest.raises(ValueError, match="suffice for 3 steps, all of them warm-up"):
        gpu.train_for(config, 0.9, torch.device("cpu"))


def test_search_speed_compares_searches_with_one_result(mini: VideoTokenizer) -> None:
    rows = search_speed.measure(mini.config, 1, "alex", repeats=1, sampled=[3, 8])
    assert [row["search"] for row in rows[:2]] == ["one by one", "shared prefixes"]
    assert rows[0]["times as fast"] == 1 and all(row["times as fast"] > 0 for row in rows)
    video, lpips = torch.randint(0, 256, (2, 16, 3, 32, 32), dtype=torch.uint8), LPIPS.from_pretrained("alex")
    shared = search_clips(mini, video, lpips).lpips[:, mini.config.space.prefixes].mean(2)
    some = [15, 3, 8]
    single = search_speed.one_by_one(mini, video, lpips, some)
    torch.testing.assert_close(shared[:, some], single, rtol=0, atol=1e-4)


def test_search_cost_is_what_a_counter_counts(mini: VideoTokenizer) -> None:
    row = search_cost.cost("mini", MINI, "alex")
    frames = torch.zeros(1, 4, 3, 32, 32)
    prefixes: list[tuple[int, ...]] = [()]
    total = {"encoding": 0, "decoding": 0}
    # By the tokenizer itself: every block under every prefix, after the keys and values of the earlier ones.
    while prefixes:
        prefix = prefixes.pop()
        if len(prefix) < MINI.blocks:
            prefixes += [(*prefix, level) for level in MINI.levels]
        if prefix:
            whole, shorter = (_counted(mini, frames, each) for each in (prefix, prefix[:-1]))
            total = {kind: total[kind] + whole[kind] - shorter[kind] for kind in total}
    # But for pooling and positions, which are left out as small.
    by_part = {"encoding": operations.encoding_operations, "decoding": operations.decoding_operations}
    for part, count in by_part.items():
        counted = search_cost.of_blocks(MINI, count)
        assert counted <= total[part] < 1.25 * counted
    # 64 blocks one by one over 30 with shared prefixes; the ones that are shared are the cheaper.
    assert 1.9 < row["times as many"] < 64 / 30


def test_recipes_are_trained_for_equal_times_on_the_same_clips(
    tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = mini_config(tmp_path / "run", video_folder, accumulate=1)
    config = replace(config, model=SKETCHED, codebook=replace(config.codebook, warmup=0, groups=2))
    file = tmp_path / "clips.pt"
    prepared = recipes.Prepared.read(config.data, 6, file, 0)
    assert len(prepared.training) == 6 and len(prepared.held_out["held_out"]) == 2
    assert prepared.training.video.shape[1:] == (16, 3, 32, 32)
    changes = {"paper": recipes.model(sketch=None), "single blocks first": recipes.RECIPES["single blocks first"]}
    monkeypatch.setattr(recipes, "RECIPES", changes)
    monkeypatch.setattr(recipes, "FRONT_LOADED", ((8, 4, 4, 4),))
    monkeypatch.setattr(recipes, "SHOWN", ((4,) * 4, (8,) * 4, (8, 4, 4, 4)))
    for name in recipes.RECIPES:
        trained = recipes.trial(name, config, file, 6, minutes=0.05)
        scores = trained["result"]["sources"][0]["scores"]
        assert trained["row"]["clips"] == 2 * trained["steps"] > 0
        assert [tuple(each["assignment"]) for each in scores] == [(4,) * 4, (8,) * 4, (8, 4, 4, 4)]
        assert all(len(each["blocks"]) == 4 for each in scores)
        assert trained["row"]["8/4/4/4"] == f"{scores[2]['psnr']:.2f} / {scores[2]['lpips']:.3f}"


def test_single_blocks_come_first_as_many_of_them_as_whole_clips_have(tmp_path: Path, video_folder: Path) -> None:
    config = mini_config(tmp_path / "run", video_folder, accumulate=1)
    file = tmp_path / "clips.pt"
    clips = recipes.Prepared.read(config.data, 6, file, 0)
    data = recipes.InMemory(**vars(config.data), prepared=clips)
    task = recipes.ProxyTask(replace(config, data=data, loss=replace(config.loss, perceptual=0.0, perceptual_frames=8)))
    whole = task.batches[3].video
    recipes.single_blocks(task, 0.39)
    parts = task.batches[3].video
    assert parts.shape == (len(whole) * 4, 4, *whole.shape[2:])
    blocks = clips.training.video.unflatten(1, (4, 4)).flatten(0, 1)
    assert all((each == blocks).flatten(1).all(1).any() for each in parts)
    lengths = task.assign(parts, torch.Generator().manual_seed(0)).lengths
    assert len(lengths) == len(parts) and all(len(each) == 1 for each in lengths)
    assert task.loss.config.perceptual_frames == 2
    recipes.single_blocks(task, 0.4)
    assert task.batches[3].video.shape == whole.shape and task.loss.config.perceptual_frames == 8
    assert {len(each) for each in task.assign(whole, torch.Generator().manual_seed(0)).lengths} == {4}


@pytest.mark.parametrize("sketch", [None, SketchConfig()], ids=["paper", "sketch"])
def test_operations_are_those_that_are_counted(sketch: SketchConfig | None) -> None:
    config = replace(PRESETS["tiny"], sketch=sketch)
    model, lengths = VideoTokenizer(config), (64, 32, 16, 128)
    layout, video = Layout((lengths,)), torch.zeros(1, 16, 3, 64, 64)
    # With gradients, in bfloat16, attention is made of products, which the counter counts.
    with FlopCounterMode(display=False) as encoding, torch.autocast("cpu", torch.bfloat16):
        ids, _ = model.encode_blocks(video, layout)
    with FlopCounterMode(display=False) as decoding, torch.autocast("cpu", torch.bfloat16):
        model.decode_blocks(ids, layout, (64, 64))
    # But for positions, pooling, resizing and the quantizer, which are left out as small.
    counted = operations.encoding_operations(config, (64, 64), [lengths])
    assert counted <= encoding.get_total_flops() < 1.3 * counted
    counted = operations.decoding_operations(config, (64, 64), [lengths])
    assert counted <= decoding.get_total_flops() < 1.1 * counted


def _counted(model: VideoTokenizer, frames: torch.Tensor, prefix: tuple[int, ...]) -> dict[str, int]:
    if not prefix:
        return {"encoding": 0, "decoding": 0}
    layout = Layout((prefix,))
    # With gradients, in bfloat16, attention is made of products, which the counter counts.
    with FlopCounterMode(display=False) as encoding, torch.autocast("cpu", torch.bfloat16):
        model.encoder(frames.repeat(1, len(prefix), 1, 1, 1), layout)
    tokens = Packed(torch.zeros(layout.size, MINI.quantizer.dim), layout)
    with FlopCounterMode(display=False) as decoding, torch.autocast("cpu", torch.bfloat16):
        model.decoder(tokens, (32, 32))
    return {"encoding": encoding.get_total_flops(), "decoding": decoding.get_total_flops()}
