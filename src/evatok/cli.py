"""The command line: each command parses its arguments, calls one function, and prints what came of it.

A command's parser is built, and what it needs is imported, only when that command is run: `evatok --help` is quick.
"""

import logging
import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from jsonargparse import ArgumentParser, Namespace

from evatok import __version__
from evatok.data.packages import PackageError

DEFAULT_TOKENIZER = "evatok-tiny-proxy"
FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
ConfigT = TypeVar("ConfigT")
# Why a value is not of a kind that it was never meant to be.
_OTHER_KIND = re.compile(r"Option .* is not accepted|.* unexpected keyword argument|Problem with given class_path")


class WrongUse(ValueError):
    """Arguments that parse and still make no sense."""


@dataclass(frozen=True)
class Command:
    """What a command is for, its arguments, what it does with them, and what is logged meanwhile."""

    about: str
    usage: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[ArgumentParser, Namespace], None]
    log_level: int = logging.WARNING


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line (the process's own if None) and returns its exit code; errors are one sentence on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)
    if name is None:
        return _overview(words)
    command = COMMANDS[name]
    logging.basicConfig(level=command.log_level, format="%(message)s", stream=sys.stderr)
    try:
        parser = ArgumentParser(
            prog=f"evatok {name}",
            usage=f"evatok {name} {command.usage}",
            description=command.about,
            exit_on_error=False,
        )
        command.add_arguments(parser)
        command.run(parser, parser.parse_args(words[len(name.split()) :]))
    except SystemExit as done:  # --help and --print_config
        return int(done.code or 0)
    except (ArgumentError, WrongUse) as error:
        return _complain(f"{_sentence(str(error))} (see evatok {name} --help)", WRONG_USE)
    except (ValueError, OSError, PackageError, FloatingPointError) as error:
        return _complain(str(error), FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    return 0


def _overview(words: list[str]) -> int:
    """Answers a command line that names no command."""
    if words == ["--version"]:
        print(f"evatok {__version__}")
        return 0
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.about}" for name, command in COMMANDS.items()]
    text = "\n".join(
        [
            "usage: evatok COMMAND ... | --help | --version",
            "",
            "EVATok: an adaptive-length video tokenizer.",
            "",
            *lines,
            "",
            "evatok COMMAND --help explains a command.",
        ]
    )
    if words in (["--help"], ["-h"]):
        print(text)
        return 0
    if not words:
        print(text, file=sys.stderr)
        return WRONG_USE
    return _complain(f"there is no command {' '.join(words)!r:.80}; there are {', '.join(COMMANDS)}", WRONG_USE)


def _complain(sentence: str, code: int) -> int:
    print(f"evatok: {sentence}", file=sys.stderr)
    return code


def _sentence(message: str) -> str:
    """What jsonargparse says over many lines, in one sentence."""
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", message).replace("typing.", "")
    text = re.sub(r'^Parser key "(.+?)":\s*', r"\1: ", text)
    if "Does not validate against any of the Union" in text:
        bullets = [line.strip()[2:] for line in text.splitlines() if line.strip().startswith("- ")]
        kinds = re.search(r"Subtypes: \[(.*)\]", text)
        why = " or ".join(bullet for bullet in bullets if not _OTHER_KIND.match(bullet))
        why = why or f"none of {kinds[1] if kinds else 'the possible kinds'}"
        text = f"{text.partition('Does not')[0]}{why}; got {text.rpartition('Given value: ')[2]}"
    return " ".join(text.split())


def _numbers(text: str) -> tuple[int, ...]:
    """An assignment as it is typed: `32,8,8,16`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"an assignment is whole numbers with commas between, such as 32,8,8,16, not {text!r}") from None


def _add_train_proxy(parser: ArgumentParser) -> None:
    from evatok.stages.proxy import ProxyConfig

    parser.add_argument("--config", action="config", help="YAML file with any of the values below; may be repeated.")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in `folder`.")
    parser.add_class_arguments(ProxyConfig, None)


def _train_proxy(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.stages.proxy import ProxyConfig, train_proxy

    config = _config(ProxyConfig, parser, given)
    print(f"The trained tokenizer is in {train_proxy(config, given.resume)}")


def _add_evaluate(parser: ArgumentParser) -> None:
    from evatok.stages.evaluate import EvaluationConfig

    parser.add_argument("--config", action="config", help="YAML file with any of the values below; may be repeated.")
    parser.add_class_arguments(EvaluationConfig, None)


def _evaluate(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.stages.evaluate import EvaluationConfig, evaluate

    print(f"The numbers and what made them are in {evaluate(_config(EvaluationConfig, parser, given))}")


def _add_card(parser: ArgumentParser) -> None:
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer, with its training.json.")
    parser.add_argument("--evaluation", required=True, help="an evaluation.json of the same weights.")


def _card(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.evaluation.card import write_card

    print(f"The card is {write_card(given.tokenizer, given.evaluation)}")


def _config(kind: type[ConfigT], parser: ArgumentParser, given: Namespace) -> ConfigT:
    """The config dataclass whose fields a command takes as its arguments."""
    try:
        values = vars(parser.instantiate(given))
        return kind(**{field.name: values[field.name] for field in fields(kind)})  # type: ignore[arg-type]
    except ValueError as error:
        raise WrongUse(str(error)) from error


COMMANDS = {
    "train proxy": Command(
        "train a proxy tokenizer, under uniformly random assignments (stage 1)",
        "--config FILE [--any.value X] [--resume]",
        _add_train_proxy,
        _train_proxy,
        logging.INFO,
    ),
    "evaluate": Command(
        "measure a tokenizer on held-out clips: PSNR, SSIM, LPIPS, codes used, by source and length",
        "--config FILE [--any.value X]",
        _add_evaluate,
        _evaluate,
    ),
    "card": Command(
        "write the model card beside a tokenizer's weights",
        "--tokenizer DIR --evaluation FILE",
        _add_card,
        _card,
    ),
}
