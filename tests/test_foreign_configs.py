"""Configs that somebody else made or damaged: one short sentence each on the command line, before any work."""

import sys
from pathlib import Path
from typing import Any

import pytest

from evatok import cli
from evatok.cli import main
from evatok.reports import evaluate
from evatok.stages import final, proxy, router
from evatok.stages.search import run

TINY = Path(__file__).parent.parent / "configs" / "tiny"
COMMANDS = {
    "train proxy": "proxy",
    "train router": "router",
    "train final": "final",
    "search": "search",
    "evaluate reconstruction": "evaluation",
}
PROXY, ROUTER, FINAL, SEARCH, EVALUATE = COMMANDS

LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9))
TOO_MUCH = "more than 32 levels or 10000 values"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configs that work has begun with."""
    configs: list[Any] = []

    def begin(config: Any, *_: Any) -> Path:
        configs.append(config)
        return Path()

    works: tuple[tuple[Any, str], ...] = (
        (proxy, "train_proxy"),
        (router, "train_router"),
        (final, "train_final"),
        (run, "search"),
        (evaluate, "evaluate"),
    )
    for module, name in works:
        monkeypatch.setattr(module, name, begin)
    return configs


def config_of(command: str, tmp_path: Path, text: str | bytes) -> list[str]:
    """A command line with its own config and another one over it."""
    (tmp_path / "other.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return [
        *command.split(),
        "--config",
        str(TINY / f"{COMMANDS[command]}.yaml"),
        "--config",
        str(tmp_path / "other.yaml"),
    ]


@pytest.mark.parametrize(
    ("command", "text", "said"),
    [
        # Numbers of models that nobody builds.
        (PROXY, "model: {encoder: {depth: 1000000000}}", "depth must be at most 128, got 1000000000"),
        (PROXY, "model: {decoder: {width: 1024000000}}", "width must be at most 8192"),
        (PROXY, f"model: {{encoder: {{mlp_ratio: {2**63}}}}}", "model.encoder.mlp_ratio must be finite and below 2^63"),
        (PROXY, "model: {side: 1000000000}", "side must be at most 4096"),
        (PROXY, f"model: {{quantizer: {{codebook_size: {2**40}}}}}", "codebook_size must be at most 1048576"),
        (PROXY, "model: {patch: [4, 100000, 100000]}", "patch must have at most 65536 pixels"),
        (PROXY, f"model: {{levels: {list(range(1, 1000))}}}", "at most 256 levels and 256 blocks, got 999 levels"),
        (PROXY, f"model: {{sketch: {{passes: {[1] * 1000}}}}}", "passes"),
        (ROUTER, "model: {transformer: {depth: 1000000000}}", "depth must be at most 128"),
        (ROUTER, "model: {blocks: 40}", "at most 1048576 assignments of all blocks, got 5 to 128 for 40 blocks"),
        # Something else where a section or a value belongs.
        (PROXY, "loop: inf", "loop"),
        (PROXY, "loop: [1]", "loop must be a section with any of steps, accumulate"),
        (PROXY, "data: 3", "data must be a section with any of train, validation"),
        (PROXY, "data.group: 1000000000000", "group must be at most 65536, got 1000000000000"),
        (PROXY, "data.validation_clips: 1000000000000", "validation_clips must be at most 65536, got"),
        (PROXY, "codebook.groups: 1000000000000", "groups must be at most 65536, got 1000000000000"),
        (PROXY, "data: null", "data must be a section with any of train, validation, clips, group"),
        (PROXY, "model: .nan", "model must be a section with any of levels, blocks"),
        (PROXY, "model: {encoder: [1]}", "model.encoder must be a section with any of width, depth, heads"),
        (PROXY, "model: {encoder: null}", "model.encoder must be a section with any of width, depth, heads"),
        (PROXY, "optimizer: {betas: null}", "optimizer.betas must have a value; got null"),
        (PROXY, "data: {train: null}", "data.train must have a value; got null"),
        (PROXY, "data: {train: [null]}", "a source has one of folder, file"),
        (PROXY, "data: {train: [{folder: null}]}", "folder must have a value; got null"),
        (ROUTER, "model: {transformer: 3}", "model.transformer must be a section with any of width"),
        (ROUTER, "model: {calibration: 3}", "model.calibration"),
        (SEARCH, "sources: 3", "sources"),
        (SEARCH, "size: null", "size must have a value; got null"),
        (EVALUATE, "assignments: [3]", "assignments"),
        (PROXY, "{1: 2}", "Key must be a string, got: 1"),
        # Numbers without end, or none.
        (PROXY, "optimizer: {lr: .nan}", "optimizer.lr must be finite and below 2^63; got nan"),
        (PROXY, "optimizer: {betas: [.nan, 1]}", "optimizer.betas must be finite"),
        (PROXY, "loss: {perceptual: -.inf}", "loss.perceptual must be finite and below 2^63; got -inf"),
        (PROXY, "loop: {steps: .inf}", 'Parser key "loop.steps": Expected a int. Got value: inf (see'),
        (PROXY, "loop: {seed: 1000000000000000000000}", "loop.seed must be finite and below 2^63"),
        (PROXY, "model: {quantizer: {temperature: .nan}}", "model.quantizer must be finite"),
        (PROXY, "data: {clips: {size_weights: [.nan, 1, 1, 1]}}", "data.clips.size_weights must be finite"),
        (PROXY, "data: {train: [{folder: a, weight: .inf}]}", "weight must be finite"),
        (ROUTER, "loss: {w_q: [.nan, .nan]}", "loss.w_q must be finite"),
        (SEARCH, "sources: [{folder: a, weight: .nan}]", "weight must be finite"),
        # What only a final tokenizer has.
        (FINAL, "lengths: null", "arguments are required: lengths.router"),
        (FINAL, "lengths: {router: null}", "arguments are required: lengths.router"),
        (FINAL, "lengths: {by: random}", "lengths.by"),
        (FINAL, "lengths: {w_q: [1.5, 0.5]}", "w_q must be above 0 and at most 2, or a range within, got (1.5, 0.5)"),
        (FINAL, "lengths: {w_q: [0.4]}", "Expected a float - Expected a tuple with 2 elements Given value: [0.4]"),
        (FINAL, "lengths: {w_q: .nan}", "lengths.w_q must be finite and below 2^63; got nan"),
        (FINAL, "discriminator: 3", "discriminator"),
        (FINAL, "discriminator: {model: {transformer: {depth: 1000000000}}}", "depth must be at most 128"),
        (FINAL, "discriminator: {loss: {weight: .nan}}", "discriminator must be finite and below 2^63; got nan"),
        (FINAL, "discriminator: {loss: {lecam_decay: 1}}", "lecam_decay must be below 1"),
        (FINAL, "semantic: {model: {encoder: {name: i3d}}}", "must be no network that results are measured by"),
        (FINAL, "semantic: {model: {kernel: 4}}", "evatok: kernel must be odd, got 4 (see evatok train final --help)"),
        (FINAL, "alignment: {model: {hidden: 1000000000}}", "hidden must be at most 8192"),
        (FINAL, "alignment: {model: {weight: -1}}", "weight must be at least 0"),
        # What is made to take time and memory.
        (PROXY, LAUGHS, TOO_MUCH),
        (ROUTER, f"{LAUGHS}loss: *a9\n", TOO_MUCH),
        (EVALUATE, f"{LAUGHS}sources: *a9\n", TOO_MUCH),
        (PROXY, "&a {loop: *a}", TOO_MUCH),
        (PROXY, "loop: &a\n  steps: *a", TOO_MUCH),
        (PROXY, "loop: " + "[" * 100_000, TOO_MUCH),
        (PROXY, "loop: " + "{a: " * 100_000, TOO_MUCH),
        (SEARCH, "\n".join(" " * depth + "a:" for depth in range(500)), TOO_MUCH),
        (EVALUATE, f"credits: [{', '.join('x' * 20_000)}]", TOO_MUCH),
        (PROXY, f"optimizer: {{kind: {'x' * 20_000}}}", "Expected a typing.Literal['adamw', 'muon']. Got value: xxx"),
        (PROXY, "\n".join(f"key{number}: 1" for number in range(100_000)), "bytes; a config may have 1048576"),
        # What is no config at all.
        (PROXY, "no config, " * 10_000, "it has no keys with values"),
        (PROXY, "- 1", "it has no keys with values"),
        (PROXY, "", "it has no keys with values"),
        (PROXY, "loop: {steps: 1}\nconfig: other.yaml", "'config' is no key of a config"),
        (PROXY, b"\xff\xfe\x00\x01", "'utf-8' codec can't decode"),
        (PROXY, "!!python/object/apply:os.system [id]", "could not determine a constructor"),
        (PROXY, "loop: *nowhere", "undefined alias"),
    ],
)
def test_a_wrong_config_is_a_short_sentence(
    command: str, text: str | bytes, said: str, tmp_path: Path, started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(config_of(command, tmp_path, text)) == cli.WRONG_USE
    out, err = capsys.readouterr()
    assert out == "" and not started
    assert said in err and err.count("\n") == 1 and len(err) < 600
    assert "<class" not in err and "Namespace" not in err and "NoneType" not in err


@pytest.mark.parametrize(
    "quantizer", ["{class_path: foreign_module.Quantizer}", "{class_path: foreign_module}", "foreign_module.Quantizer"]
)
def test_a_config_imports_nothing(
    quantizer: str, tmp_path: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign_module.py").write_text("import evatok\nclass Quantizer(evatok.QuantizerConfig): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(config_of(PROXY, tmp_path, f"model: {{quantizer: {quantizer}}}")) == cli.WRONG_USE
    assert not started and "foreign_module" not in sys.modules


@pytest.mark.parametrize("text", ["no config", "loop: {steps: x}", "[" * 1000, b"\xff", "k: 1\n" * 300_000])
def test_the_file_of_a_wrong_config_is_named(
    text: str | bytes, tmp_path: Path, started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(config_of(PROXY, tmp_path, text)) == cli.WRONG_USE
    assert f"config {tmp_path / 'other.yaml'}: " in capsys.readouterr().err and not started


def test_a_config_shows_nothing_of_another_file(
    tmp_path: Path, started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("a secret")
    for text in (f"config: {tmp_path / 'secret'}", f"config: [{tmp_path / 'secret'}]", "a secret"):
        assert main(config_of(PROXY, tmp_path, text)) == cli.WRONG_USE
        out, err = capsys.readouterr()
        assert "a secret" not in out + err and not started


def test_a_config_that_is_missing_is_named(started: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "proxy", "--config", "nowhere.yaml"]) == cli.WRONG_USE
    assert "config nowhere.yaml: " in (said := capsys.readouterr().err) and "does not exist" in said


@pytest.mark.parametrize(
    "words",
    [["--loop", "[" * 20_000], ["--data.train", "[" * 20_000], ["--data.train", LAUGHS], ["--loop.steps", "x" * 10**5]],
)
def test_a_wrong_value_is_a_short_sentence(
    words: list[str], started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "proxy", "--config", str(TINY / "proxy.yaml"), *words]) == cli.WRONG_USE
    out, err = capsys.readouterr()
    assert out == "" and not started and words[0].strip("-") in err and err.count("\n") == 1 and len(err) < 600


def test_aliases_that_save_words_are_read(tmp_path: Path, started: list[Any]) -> None:
    text = "model:\n  encoder: &same {width: 64, depth: 2, heads: 4}\n  decoder: {<<: *same, depth: 3}\n"
    assert main(config_of(PROXY, tmp_path, text)) == 0
    [config] = started
    assert (config.model.encoder.width, config.model.decoder.width, config.model.decoder.depth) == (64, 64, 3)
