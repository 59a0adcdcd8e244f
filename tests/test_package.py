"""The package as it is installed: version, import and what a wheel holds."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import torch
from hatchling.builders.wheel import WheelBuilder

import evatok
from evatok.cli import COMMANDS
from evatok.tokenizer.model import VideoTokenizer
from evatok.video.reading import read_video, write_video

ROOT = Path(__file__).parent.parent


def test_version_is_the_installed_one() -> None:
    assert importlib.metadata.version("evatok") == evatok.__version__


# What extras bring. PyYAML is not among it: jsonargparse needs it too.
EXTRAS = (
    "accelerate ale_py fsspec gradio gymnasium matplotlib PIL pyarrow ray ruamel scipy skimage tensorboard "
    "torchmetrics transformers vizdoom"
)


def run_without_extras(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    blocked = f"import os, sys; sys.modules.update(dict.fromkeys({EXTRAS.split()!r})); os.chdir({str(folder)!r})"
    words = [sys.executable, "-c", f"{blocked}\nfrom evatok.cli import COMMANDS, main\n{code}"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_inference_needs_no_extra(tmp_path: Path, mini: VideoTokenizer) -> None:
    mini.save_pretrained(tmp_path / "model")
    write_video(tmp_path / "in.mp4", torch.randint(256, (9, 3, 40, 48), dtype=torch.uint8), fps=8)
    code = """
for words in ("encode in.mp4 -o out.tokens", "decode out.tokens -o out.mp4", "reconstruct in.mp4 -o both"):
    assert main([*words.split(), "--tokenizer", "model"]) == 0, words
"""
    done = run_without_extras(code, tmp_path)
    made = {"reconstruction.mp4", "side_by_side.mp4", "tokens.tokens", "metrics.json"}
    assert {path.name for path in (tmp_path / "both").iterdir()} == made
    last = done.stdout.splitlines()[-1]
    assert all(name in last for name in made) and "picture.png" not in last
    assert len(read_video(tmp_path / "out.mp4").frames) == 9


def test_commands_name_the_extra_that_is_missing(tmp_path: Path) -> None:
    words = {
        "app": "app",
        "demo": "demo --video in.mp4",
        "generate": "generate model",
        "selfcheck": "selfcheck",
        "data scan": "data scan videos -o manifest.parquet",
        "data shards": "data shards videos shards",
        "data photographs": "data photographs pictures",
        "evaluate results": "evaluate results cards.json",
        "report": "report runs",
    }
    code = f"""
words = {words!r}
for name, command in COMMANDS.items():
    if command.extra and name != "card":  # of which only PyYAML would be missing
        assert main(words.get(name, name + " --help").split()) == 1, name
        print(name, command.extra, sep=":")
"""
    done = run_without_extras(code, tmp_path)
    needs = dict(line.split(":") for line in done.stdout.splitlines())
    assert needs["train proxy"] == needs["selfcheck"] == "train" and needs["curve"] == "search"
    assert set(needs) == {name for name, command in COMMANDS.items() if command.extra} - {"card"}
    for (name, extra), said in zip(needs.items(), done.stderr.splitlines(), strict=True):
        assert said.startswith(f"evatok: {name} needs ") and said.endswith(f": pip install 'evatok[{extra}]'")
    assert not list(tmp_path.iterdir())


def test_what_an_installation_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[^\w-]", requirement)[0] for requirement in project["dependencies"]}
    assert named == {"torch", "av", "numpy", "safetensors", "huggingface_hub", "jsonargparse", "tqdm"}
    extras = {extra for command in COMMANDS.values() for extra in command.extra.split(",")}
    assert extras - {""} <= set(project["optional-dependencies"])


def test_wheel_holds_every_file_of_the_package() -> None:
    """Also what is no Python: py.typed, and the shipped weights with their configs and cards."""
    files = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    source = ROOT / "src"
    kept = {
        str(path.relative_to(source))
        for path in (source / "evatok").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "evatok/py.typed" in kept
    assert kept <= files


def test_scripts_are_declared() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"evatok": "evatok.__main__:main"}
    assert callable(importlib.metadata.EntryPoint("evatok", scripts["evatok"], "console_scripts").load())


def test_public_names_are_there_and_load_when_they_are_asked_for() -> None:
    code = """
import sys, evatok
before = "torch" in sys.modules
from evatok import *
from evatok import Tokens as imported
assert Tokens is imported is evatok.Tokens and "VideoTokenizer" in dir(evatok)
heavy = "transformers" in sys.modules
print(before, "torch" in sys.modules, hasattr(evatok, "nonsense"), len(evatok.__all__) > 20, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False", "True", "False"]
