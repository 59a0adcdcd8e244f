"""How documented commands are run: as they stand, but for what makes them small, each after those that it builds on."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from glob import glob
from pathlib import Path

from evatok.cli import main
from tests.docs.pages import ROOT, Command
from tests.docs.parsing import command_of, parsed

_LOOP = "--loop.steps 2 --loop.workers 0 --loop.log_every 1 --loop.validate_every 2 --loop.checkpoint_every 1"
_TRAIN = f"{_LOOP} --data.group 1 --data.validation_clips 1 --codebook.groups 16"
_HERE = "--num_machines 1 --num_processes 2 --machine_rank 0 --main_process_ip 127.0.0.1 --main_process_port 0"

# What makes each kind of command small, in the order in which they build on each other.
SMALL = {
    "data scan": "--processes 1",
    "data shards": "--processes 1",
    "data big-buck-bunny": "",
    "data photographs": "",
    "data footage": "--from sample-videos",
    "encode": "",
    "decode": "",
    "reconstruct": "",
    "selfcheck": "",
    "train proxy": _TRAIN,
    "accelerate": _HERE,
    "torchrun": "--nproc-per-node 2",
    "search": "--clips 12 --paths null --batch 4 --part 4",
    "train router": f"{_LOOP} --batch 4",
    "curve": "--draws 10",
    "router-report": "--draws 10 --tokenizer runs/tiny-proxy/final",
    "train final": _TRAIN,
    "evaluate reconstruction": "--clips 1 --assignments [[8,8,8,8]] --x264 false",
    "card": "",
    "tokenize": "--part 16",
    "train generator": f"{_LOOP} --batch 256 --data.validation_sequences 4",
    "generate": "-n 1",
    "evaluate generation": "--samples 6 --real.clips 6 --held_out.clips 6",
    "evaluate prediction": "--real.clips 6",
    "evaluate results": "",
    "report": "",
    "app": "",
    "examples/tokenize_folder.py": "",
    "examples/train_router.py": "--clips 2 --steps 2",
    "examples/sample.py": "",
    "benchmarks.beam_metrics": "--clips 1 --w-q 1.2 1.6 --draws 10",
    "benchmarks.beam_width": "--clips 2 --draws 10",
    "benchmarks.budgets": "--tokens 40 48",
    "benchmarks.cpu_defaults": "--settings defaults --batch 1 --steps 1 --turns 1",
    "benchmarks.epochs": "",
    "benchmarks.final_tokenizers": "--draws 10",
    "benchmarks.fuzz": "--videos 32 --count 2",
    "benchmarks.generator_lengths": "--kinds uniform router --games 2 --judged 4 --epochs 1 --together 8 --real 8 "
    "--held-out 8 --samples 8 --timed 2 --seeds 1",
    "benchmarks.gpu": "--folder runs/gpu --preset tiny --batch 1 --mixes 1 --repeats 1 --minutes 0.5 --data.group 1 "
    "--data.validation_clips 1 --codebook.groups 16 --codebook.warmup 0",
    "benchmarks.kill_resume": "--kills 1 --steps 6",
    "benchmarks.long_clips": "--cuts 4 8 --videos 1 --long-cuts 4 --w-q 0.8 1.6 --draws 10",
    "benchmarks.manifests": "--rows 2000",
    "benchmarks.memory": "--presets tiny --batches 1 2 --frames 16 32",
    "benchmarks.prepared": "--seconds 2 --workers 1 --data.group 1",
    "benchmarks.recipes": "--minutes 0.05 --clips 64 --recipes config",
    "benchmarks.reconstruct": "--video in.mp4 --frames 19 --repeats 1",
    "benchmarks.router_scaling": "--clips 2 3 --draws 10 --loop.steps 2",
    "benchmarks.router_trials": "--steps 2",
    "benchmarks.routing_ceiling": "--clips 1 --draws 10",
    "benchmarks.sampling": "--videos 2 --rows 2 --repeats 1 --mean 64",
    "benchmarks.search_cost": "",
    "benchmarks.search_speed": "--clips 1 --levels 2 --repeats 1",
    "benchmarks.source_speed": "--workers 0 --seconds 0.2",
    "benchmarks.stage4": f"{_TRAIN} --held-out 1",
    "benchmarks.step": _TRAIN,
    "benchmarks.tokenizer_bound": "--clips 6",
    "benchmarks.tokenizer_speed": "--preset tiny --tokens 100 --batches 1 --precisions float32 --repeats 1",
    "benchmarks.twins": "--clips 1 --draws 10 --tokenizer runs/tiny-final/final",
    "benchmarks.training_speed": "--batches 1 --groups 1 --repeats 1 --profile-steps 1",
}
_ORDER = list(SMALL)

# Fewer and shorter episodes, two lengths instead of five, and models that earlier commands have made instead of those
# that ship: in commands and in their configs alike.
_SHRUNK = {
    "games: all": "games: [pong, boxing, enduro], frames: 40",
    "doom: all": "doom: [my_way_home], frames: 40",
    "levels: [8, 16, 32, 64, 128]": "levels: [8, 16]",
    "default_assignment: [64, 32, 32, 32]": "default_assignment: [16, 8, 8, 8]",
    "tokenizer: evatok-tiny\n": "tokenizer: runs/tiny-final/final\n",
    "evatok-tiny-proxy": "runs/tiny-proxy/final",
    "evatok-mini-proxy": "runs/tiny-proxy/final",
    "evatok-tiny-router": "runs/tiny-router/final",
}

# Lines that are not run, by how they begin or what they name, and why.
NOT_RUN = {
    r"pip |make ": "sets up an environment; CI begins with it, and the README's are tried in a fresh clone",
    r".*(configs/paper/|runs/ucf-)": "WebVid, UCF-101, Kinetics-600, the encoders of a hub and eight GPUs",
    r".*s3://": "an object store",
    r".*configs/accelerate/gpu|python -m benchmarks.captured ": "GPUs",
    r"python (examples/vllm_sample.py|-m benchmarks.vllm_engine) ": "vLLM",
    r"python -m benchmarks.miniature ": "the hours of `make reproduce`, whose last step it is",
}


def why_not(command: Command) -> str | None:
    """Why a command is not run; None where it is."""
    return next((why for line, why in NOT_RUN.items() if re.match(line, command.line)), None)


def kind_of(command: Command) -> str:
    """The name that `SMALL` has for it."""
    program, *words = command.words
    if program == "evatok":
        return command_of(words)
    if program == "python":
        return words[1] if words[0] == "-m" else words[0]
    return program


def in_order(commands: list[Command]) -> list[Command]:
    """Each behind those that make what it needs; of one kind, as they stand in the pages."""

    def place(command: Command) -> int:
        after = "train final" if "runs/tiny-final/final" in command.line else _ORDER[0]
        return max(_ORDER.index(kind_of(command)), _ORDER.index(after) + 1)

    return sorted(commands, key=place)


def shrunk(text: str) -> str:
    """A config, or a word of a command, with less to do."""
    for long, short in _SHRUNK.items():
        text = text.replace(long, short)
    return text


def line_of(command: Command) -> list[str]:
    """What is run for a command, in the folder where it is run."""
    words = [shrunk("my.yaml" if word == "..." else word) for word in command.words]
    kind = kind_of(command)
    if kind in ("accelerate", "torchrun"):
        at = words.index("-m")
        fewer = SMALL[kind].split() if "configs/accelerate/cpu.yaml" not in words else []
        return [*words[:at], *fewer, *words[at:], *SMALL["train proxy"].split()]
    spread = [each for word in words for each in (sorted(glob(word)) or [word])]
    return [*spread, *SMALL[kind].split()]


def run(line: list[str]) -> int:
    """Runs a line where the process stands and returns its exit code; what it would not write anew goes first."""
    words = line[line.index("evatok") + 1 :] if "evatok" in line else []
    if words[:1] in (["train"], ["search"], ["tokenize"], ["data"]):
        made = words[words.index("-o") + 1] if "-o" in words else getattr(parsed(words), "folder", None)
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
    if line[1:2] == ["-m"] and line[2].startswith("benchmarks") and "--folder" in line:
        shutil.rmtree(line[line.index("--folder") + 1], ignore_errors=True)
    if line[0] != "evatok":
        return subprocess.run(line, env=_environment()).returncode
    return _served(words) if words[0] == "app" else main(words)


def _environment() -> dict[str, str]:
    """One in which programs of this one's environment are found, and the repository's modules."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    modules = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    return os.environ | {"PATH": programs, "PYTHONPATH": modules, "CUDA_VISIBLE_DEVICES": ""}


def _served(words: list[str]) -> int:
    """0 as soon as the app answers, which then is ended; else what it ends with."""
    asked = parsed(words)
    with subprocess.Popen(["evatok", *words], env=_environment()) as app:
        while app.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{asked.port}", timeout=10):
                    app.terminate()
                    return 0
            except OSError:
                time.sleep(0.5)
    return app.returncode
