"""The command line's own matters: help, versions, configs, and what it says about wrong arguments."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
import yaml

from evatok import __version__, cli
from evatok.cli import COMMANDS, main
from evatok.stages import proxy
from evatok.stages.proxy import ProxyConfig
from evatok.tokenizer.config import PRESETS, FSQConfig
from evatok.tokenizer.network import TokenizerNetwork

CONFIGS = Path(__file__).parent.parent / "configs"
TINY = str(CONFIGS / "tiny" / "proxy.yaml")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ProxyConfig, bool]]:
    """What `train_proxy` would have been called with."""
    calls: list[tuple[ProxyConfig, bool]] = []

    def record(config: ProxyConfig, resume: bool = False) -> Path:
        calls.append((config, resume))
        return Path(config.folder) / "final"

    monkeypatch.setattr(proxy, "train_proxy", record)
    return calls


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"evatok {__version__}\n"


def test_overview_names_every_command_and_loads_nothing_heavy() -> None:
    heavy = {
        "accelerate",
        "matplotlib",
        "pyarrow",
        "scipy",
        "tensorboard",
        "torch",
        "evatok.codec",
        "evatok.data",
        "evatok.stages",
    }
    code = f"import sys, evatok.cli; evatok.cli.main(['--help']); print(*({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"    {name.split()[0]} " in done.stdout for name in COMMANDS)
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("group", ["train", "evaluate", "data"])
def test_help_of_a_group_names_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([group, "--help"]) == 0
    said = capsys.readouterr().out
    names = [name.split()[1] for name in COMMANDS if name.startswith(f"{group} ")]
    assert len(names) >= 2 and all(f"    {name} " in said for name in names)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ["command", "demo", "encode"]),
        (["train"], ["train.command", "proxy", "router"]),
        (["nonsense"], ["nonsense", "encode", "router-report", "train", "data"]),
        (["data", "nonsense"], ["nonsense", "scan", "shards", "big-buck-bunny"]),
        (["--nonsense", "encode"], ["--nonsense"]),
    ],
)
def test_no_command(words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == cli.WRONG_USE
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and all(word in err for word in said)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: evatok {name}")
    assert "<function" not in said and "object at 0x" not in said


def test_help_explains_values_of_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "proxy", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "weight of LPIPS; 0 leaves it out. (type: float, default: 1.0)" in said
    assert "--data.train" in said and "sources of training clips" in said


def test_printed_config_is_a_config(tmp_path: Path, capsys: pytest.CaptureFixture[str], trained: list) -> None:
    assert main(["train", "proxy", "--config", TINY, "--loop.steps", "7", "--print_config"]) == 0
    printed = capsys.readouterr().out
    assert "# number of updates." in printed or not find_spec("ruamel")
    assert yaml.safe_load(printed)["loop"]["steps"] == 7
    (tmp_path / "again.yaml").write_text(printed)
    for path in (tmp_path / "again.yaml", TINY):
        assert main(["train", "proxy", "--config", str(path), "--loop.steps", "7"]) == 0
    assert trained[0] == trained[1]


def test_values_and_sources_from_the_command_line(trained: list, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "train",
        "proxy",
        "--config",
        TINY,
        "--folder",
        "runs/mine",
        "--model.quantizer.codebook_size",
        "512",
        "--resume",
    ]
    words += ["--data.train", "[{folder: my/videos}, {games: [pong], seeds: [3, 5], weight: 0.5}]"]
    assert main([*words, "--data.validation", "[{file: my/held_out.mp4}]"]) == 0
    assert capsys.readouterr().out == "The trained tokenizer is in runs/mine/final\n"
    ((config, resume),) = trained
    folder, games = config.data.train
    assert resume and config.folder == "runs/mine" and config.model.quantizer.codebook_size == 512
    assert (folder.folder, folder.weight) == ("my/videos", 1.0)
    assert (games.games, games.seeds, games.weight) == (["pong"], (3, 5), 0.5)
    assert [source.file for source in config.data.validation] == ["my/held_out.mp4"]
    assert config.optimizer.kind == "muon"  # still from the file


def test_the_other_quantizer_from_a_file_and_from_the_command_line(tmp_path: Path, trained: list) -> None:
    (tmp_path / "fsq.yaml").write_text(
        "model:\n  quantizer: {class_path: evatok.FSQConfig, init_args: {fsq: [8, 6, 5]}}\n"
    )
    for words in (["--config", str(tmp_path / "fsq.yaml")], ["--model.quantizer.fsq", "[8, 6, 5]"]):
        assert main(["train", "proxy", "--config", TINY, *words]) == 0
    assert trained[0] == trained[1] and trained[0][0].model.quantizer == FSQConfig((8, 6, 5))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
        (["--loop.steps", "0"], ["steps must be at least 1, got 0"]),
        (["--loop.steps", "x"], ["loop.steps", "int", "x"]),
        (["--loop.stepz", "1"], ["--loop.stepz"]),
        (["--loop.precision", "fp8"], ["loop.precision", "'bf16'", "fp8"]),
        (["--model.encoder.width", "250"], ["width", "250"]),
        (["--model.quantizer.dim", "x"], ["model.quantizer", "dim", "int", "x"]),
        (["--model.quantizer.fsq", "[8, 2]"], ["fsq must be one or more numbers of at least 3, got (8, 2)"]),
        (["--data.clips.frames", "12"], ["data.clips.frames must be the model's 16, got 12"]),
        (["--data.train", "[]"], ["train names no source"]),
        (["--data.train", "[{foldr: my/videos}]"], ["data.train", "one of folder, file, shards, games, doom", "foldr"]),
        (["--data.train", "[{folder: a, games: all}]"], ["data.train", "one of folder, file", "'games': 'all'"]),
        (["--data.train", "[{folder: a, wheight: 2}]"], ["data.train", "index, name, max_bad", "wheight"]),
        (["--data.train", "[{folder: a, weight: x}]"], ["data.train", "weight", "float", "x"]),
        (["--data.train", "[{scenes: a, paths: 0}]"], ["data.train", "paths must be at least 1, not 0"]),
        (["--data.train", "[{folder: a, weight: -1}]"], ["weight of a source must be greater than 0, not -1.0"]),
        (["--data.train", "5"], ["data.train", "list", "5"]),
        (["more"], ["more"]),
    ],
)
def test_wrong_values_of_a_config(
    words: list[str], said: list[str], trained: list, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "proxy", "--config", TINY, *words]) == cli.WRONG_USE
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and all(word in err for word in said)
    assert not trained


@pytest.mark.parametrize(("group", "key"), [("optimizer", "clip"), ("loop", "keep"), ("model", "nonsense")])
def test_an_unknown_key_of_a_file_is_named(
    group: str, key: str, tmp_path: Path, trained: list, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.yaml").write_text(f"{group}: {{{key}: 1}}\n")
    assert main(["train", "proxy", "--config", TINY, "--config", str(tmp_path / "old.yaml")]) == cli.WRONG_USE
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and group in said and f"'{key}'" in said
    assert not trained


def test_options_are_spelled_with_either_dash(trained: list) -> None:
    for option in ("--init-from", "--init_from", "--init-from=some-model"):
        words = [option] if "=" in option else [option, "some-model"]
        assert main(["train", "proxy", "--config", TINY, *words, "--loop.log-every=7"]) == 0
        config, _ = trained.pop()
        assert (config.init_from, config.loop.log_every) == ("some-model", 7)


def test_sources_are_printed_as_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    source = "[{folder: my/videos, weight: 2}]"
    assert main(["train", "proxy", "--config", TINY, "--data.train", source, "--print-config"]) == 0
    [printed] = yaml.safe_load(capsys.readouterr().out)["data"]["train"]
    assert (printed["folder"], printed["weight"]) == ("my/videos", 2.0)


def test_configs_of_the_paper_and_of_tiny(trained: list) -> None:
    sizes = {}
    for path in (*CONFIGS.glob("paper/proxy*.yaml"), Path(TINY)):
        assert main(["train", "proxy", "--config", str(path)]) == 0
        config, _ = trained.pop()
        with torch.device("meta"):
            network = TokenizerNetwork(config.model)
        sizes[path.stem] = sum(weight.numel() for weight in network.parameters())
        if path.parent.name == "tiny":
            assert config.model == PRESETS["tiny"]
        else:
            rate = config.optimizer
            assert config.data.group * 8 * config.loop.accumulate == 128 and config.loop.steps == 400_000
            assert (rate.kind, rate.lr, rate.lr * rate.final) == ("adamw", 1e-4, pytest.approx(1e-6))
    assert set(sizes) == {"proxy", "proxy-ucf-k600", "proxy-webvid"}
    assert 1.5e6 < sizes["proxy"] < 8e6
    assert all(abs(sizes[name] / 145e6 - 1) < 0.05 for name in ("proxy-ucf-k600", "proxy-webvid"))


def test_every_other_config_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    from evatok.reports import evaluate

    monkeypatch.setattr(evaluate, "evaluate", lambda config: Path(config.folder) / "evaluation.json")
    for path in CONFIGS.glob("*/evaluation*.yaml"):
        assert main(["evaluate", "reconstruction", "--config", str(path)]) == 0


def test_weights_says_where_they_are(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from evatok.pretrained import weights
    from evatok.utils.packages import PackageError

    monkeypatch.setattr(weights, "WEIGHTS", {"lpips-alex": lambda: Path("/cache/alex.safetensors")})
    assert main(["weights"]) == 0
    assert capsys.readouterr().out == "lpips-alex: /cache/alex.safetensors\n"

    def fail() -> Path:
        raise PackageError("could not fetch it")

    monkeypatch.setattr(weights, "WEIGHTS", {"lpips-alex": fail})
    assert main(["weights"]) == cli.FAILED
    assert capsys.readouterr().err == "evatok: could not fetch it\n"


def test_a_folder_that_is_no_film(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "big-buck-bunny", str(tmp_path)]) == cli.FAILED
    assert "holds no shots" in capsys.readouterr().err


def test_data_commands_say_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nothing").mkdir()
    nothing, manifest, gone = str(tmp_path / "nothing"), str(tmp_path / "m.parquet"), str(tmp_path / "gone")
    for words, code, said in (
        (["scan", gone, "-o", manifest], cli.FAILED, "there is no folder or video"),
        (["scan", nothing, "-o", manifest], cli.FAILED, "no video files in"),
        (
            ["scan", nothing, "-o", manifest, "--processes", "0"],
            cli.WRONG_USE,
            '"processes": Not of type PositiveInt: 0',
        ),
        (["scan", nothing, "-o", manifest, "--memory", "0"], cli.WRONG_USE, '"memory": Not of type PositiveFloat'),
        (["shards", nothing, gone], cli.FAILED, "no video files in"),
        (["shards", nothing, gone, "--shard-size", "0"], cli.WRONG_USE, '"shard_size": Not of type PositiveInt: 0'),
        (["shards", nothing], cli.WRONG_USE, "destination"),
    ):
        assert main(["data", *words]) == code
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and said in err
    assert [path.name for path in tmp_path.iterdir()] == ["nothing"]


@pytest.mark.parametrize("name", ["in.mp4", "notes.txt", "shards.parquet", "table.parquet", "link", "pipe", "x.mp4/"])
def test_a_scan_replaces_nothing_but_a_scan(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evatok.data.manifest import Manifest, write_manifest

    monkeypatch.chdir(tmp_path)
    for file in ("in.mp4", "notes.txt", "x.mp4"):
        Path(file).write_text("the user's")
    os.symlink("in.mp4", "link")
    os.mkfifo("pipe")
    write_manifest(Manifest.of([]), "shards.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), "table.parquet")
    before = {path.name: path.lstat()[:2] for path in Path().iterdir()}
    assert main(["data", "scan", "in.mp4", "-o", name]) == cli.FAILED
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and f"cannot write {Path(name)}: it " in err
    assert {path.name: path.lstat()[:2] for path in Path().iterdir()} == before


def test_a_scan_replaces_a_scan_and_goes_into_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evatok.data.manifest import read_manifest

    monkeypatch.chdir(tmp_path)
    for file in ("in.mp4", "other.mp4", "empty.parquet"):
        Path(file).touch()
    os.symlink("empty.parquet", "link.parquet")
    for name, made in (("new/er/", "new/er/in.parquet"), ("new", "new/in.parquet"), ("link.parquet", "empty.parquet")):
        for source in ("other.mp4", "in.mp4"):
            assert main(["data", "scan", source, "-o", name if source == "in.mp4" else made]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "  in.mp4: the file is empty"
        assert [row.path for row in read_manifest(made)] == ["in.mp4"]
    assert Path("link.parquet").is_symlink()
