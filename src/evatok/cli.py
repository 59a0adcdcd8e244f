"""The command line: each command parses its arguments, calls one function, and prints what came of it.

A command's parser is built, and what it needs is imported, only when that command is run: `evatok --help` is quick.
"""

import logging
import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser, Namespace

from evatok import __version__
from evatok.training.stopping import Stopped
from evatok.utils.packages import PackageError

DEFAULT_TOKENIZER = "evatok-tiny-proxy"
# 75 is what sysexits.h calls a temporary failure: a scheduler may start the same command again.
FAILED, WRONG_USE, STOPPED, INTERRUPTED = 1, 2, 75, 130
ConfigT = TypeVar("ConfigT")
_RECONSTRUCTED = "reconstruction.mp4, side_by_side.mp4, picture.png, tokens.tokens and metrics.json"
_TOKENIZER = "a shipped tokenizer's name, a folder that holds one, or a hub's repository."
_OPTION = re.compile(r"(?<=^--)\w[\w.-]*")
# Why a value is not of a kind that it was never meant to be.
_OTHER_KIND = re.compile(r"Option .* is not accepted|.* unexpected keyword argument|Subclasses are disabled")


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
    # Options are spelled with either of - and _.
    words = [_OPTION.sub(lambda found: found[0].replace("-", "_"), word) for word in words]
    # A printed config explains its values.
    words = ["--print_config=comments" if word == "--print_config" else word for word in words]
    name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)
    if name is None:
        return _overview(words)
    command = COMMANDS[name]
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("evatok").setLevel(command.log_level)
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
    except Stopped as error:
        return _complain(f"{error}; the same command with --resume goes on", STOPPED)
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
    lines = "\n".join(f"  {name:{width}}  {command.about}" for name, command in COMMANDS.items())
    text = (
        "usage: evatok COMMAND ... | --help | --version\n\nEVATok: an adaptive-length video tokenizer.\n\n"
        f"{lines}\n\nevatok COMMAND --help explains a command."
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
    text = re.sub(r'Parser key "(.+?)":\s*', r"\1: ", text)
    if "Does not validate against any of the Union" in text:
        text = re.sub(r"- Problem with given class_path .*:\n\s*", "- ", text)
        text = re.sub(r"NestedArg\(key='(.*)', val='(.*)'\)", r"{\1: \2}", text)
        bullets = [line.strip()[2:] for line in text.splitlines() if line.strip().startswith("- ")]
        kinds = re.search(r"Subtypes: \[(.*)\]", text)
        why = " or ".join(bullet for bullet in bullets if not _OTHER_KIND.match(bullet))
        why = why or f"none of {kinds[1] if kinds else 'the possible kinds'}"
        text = f"{text.partition('Does not')[0]}{why}; got {text.rpartition('Given value: ')[2]}"
    return " ".join(text.split())


def _numbers(text: str | tuple[int, ...]) -> tuple[int, ...]:
    """An assignment as it is typed: `32,8,8,16`; the parser hands what came of it in again."""
    if isinstance(text, tuple):
        return text
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"whole numbers with commas between, such as 32,8,8,16, are expected, not {text!r}") from None


def _add_video(parser: ArgumentParser, output: str) -> None:
    """Arguments of the commands that take a video."""
    parser.add_argument("video", type=Path, help="a video of any length, in any container and codec that FFmpeg reads.")
    parser.add_argument("-o", "--output", type=Path, required=True, help=output)
    parser.add_argument("--tokenizer", default=DEFAULT_TOKENIZER, help=_TOKENIZER)
    lengths = parser.add_mutually_exclusive_group()
    lengths.add_argument("--assignment", type=_numbers, help="tokens of each block of a clip, such as 32,8,8,16.")
    lengths.add_argument("--uniform", type=int, help="tokens of every block.")
    lengths.add_argument("--w_q", type=float, help="the router's choice at a preference, above 0 and at most 2 (best).")
    lengths.add_argument("--tokens", type=float, help="the router's choice at about so many tokens a clip.")
    lengths.add_argument(
        "--tokens_per_second",
        type=float,
        help="the router's choice with so many at most; without any of these, its own preference decides, or, where "
        "the tokenizer carries no router, its default assignment.",
    )
    parser.add_argument(
        "--fit",
        choices=["keep", "crop", "letterbox"],
        default="keep",
        help="how pictures are brought to the tokenizer's area: aspect ratio kept, centre square, square with bars.",
    )
    parser.add_argument("--fps", type=float, help="frame rate to resample to; without it, every frame is kept.")


def _choices(given: Namespace) -> dict[str, Any]:
    """What the commands that take a video hand on."""
    from evatok.codec.files import Asked

    asked = Asked(**{field.name: given[field.name] for field in fields(Asked)})
    return {"asked": asked} | {name: given[name] for name in ("tokenizer", "fit", "fps")}


def _encode(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.codec.files import bits_per_pixel, encode_file

    tokens = encode_file(given.video, given.output, **_choices(given))
    size = given.output.stat().st_size
    print(f"{given.output}: {tokens!r}, {bits_per_pixel(tokens):.4f} bits/pixel, {size} bytes")


def _add_decode(parser: ArgumentParser) -> None:
    parser.add_argument("tokens", type=Path, help="a token file.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="video: .mp4, .m4v, .mov, .mkv or .webm.")
    parser.add_argument("--tokenizer", help=f"{_TOKENIZER} Without it, the one named in the tokens.")


def _decode(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.codec.files import decode_file

    record = decode_file(given.tokens, given.output, given.tokenizer).videos[0]
    print(f"{given.output}: {record.frames} frames, {record.seconds:.2f} s, {record.fps:.6g} frames/s")


def _reconstruct(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.codec.reconstruct import reconstruct_file, table

    print(table([reconstruct_file(given.video, given.output, **_choices(given))]))
    print(f"{given.output} holds {_RECONSTRUCTED}")


def _add_demo(parser: ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder for what it writes.")
    parser.add_argument("--tokenizer", default=DEFAULT_TOKENIZER, help=_TOKENIZER)
    parser.add_argument("--video", type=Path, help="a video of your own, of which the first 4 seconds are taken.")


def _demo(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.codec.demo import demo

    print(demo(given.output, given.tokenizer, given.video))


def _weights(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.pretrained.weights import prepare_weights

    for name, path in prepare_weights().items():
        print(f"{name}: {path}")


def _add_big_buck_bunny(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="gets train/ and validation/, shots in each; it must not exist yet.")
    parser.add_argument("--height", type=int, default=270, help="of the shots in pixels.")


def _big_buck_bunny(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.data.toy.film import CREDIT, prepare_big_buck_bunny

    counts = prepare_big_buck_bunny(given.folder, given.height)
    if not counts.train_shots:
        raise FileExistsError(f"{given.folder} exists and holds no shots; choose another folder")
    print(f"{given.folder}/train: {counts.train_shots} shots, {counts.train_frames} frames")
    print(f"{given.folder}/validation: {counts.validation_shots} shots, {counts.validation_frames} frames")
    print(CREDIT)


def _add_photographs(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="gets train/, validation/ and cutouts/; it must not exist yet.")
    parser.add_argument("--from", type=Path, help="folder with the .deb files; without it, apt-get fetches them.")


def _photographs(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.data.toy.photographs import prepare_photographs

    counts = prepare_photographs(given.folder, given["from"])
    if not any(counts.values()):
        raise FileExistsError(f"{given.folder} exists and holds no photographs; choose another folder")
    for part, pictures in counts.items():
        print(f"{given.folder}/{part}: {pictures} pictures")
    print(f"{given.folder}/CREDITS.md says whose they are")


def _add_footage(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="gets train/ and validation/; it must not exist yet.")
    parser.add_argument("--from", type=Path, help="folder with the repository's files; without it, they are fetched.")
    parser.add_argument("--height", type=int, default=180, help="of the videos in pixels.")


def _footage(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.data.toy.footage import CREDIT, prepare_footage

    counts = prepare_footage(given.folder, given["from"], given.height)
    if not counts.train_videos:
        raise FileExistsError(f"{given.folder} exists and holds no footage; choose another folder")
    print(f"{given.folder}/train: {counts.train_videos} videos, {counts.train_frames} frames")
    print(f"{given.folder}/validation: {counts.validation_videos} videos, {counts.validation_frames} frames")
    print(CREDIT)


def _add_scan_config(parser: ArgumentParser) -> None:
    parser.add_argument("--processes", type=int, help="videos decoded at a time; without it, as many as CPUs.")
    parser.add_argument("--memory", type=float, default=4.0, help="GiB that decoding a video may take.")
    parser.add_argument("--seconds", type=float, default=60.0, help="that any video may take; larger ones get more.")


def _scan_config(given: Namespace) -> Any:
    from evatok.data.prepare.children import Limits
    from evatok.data.prepare.scanning import ScanConfig

    try:
        return ScanConfig(given.processes, Limits(int(given.memory * 2**30), given.seconds))
    except ValueError as error:
        raise WrongUse(str(error)) from error


def _add_scan(parser: ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="a folder, whose subfolders are classes, or a video.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the manifest, a Parquet file.")
    _add_scan_config(parser)


def _scan(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.data.manifest import summary
    from evatok.data.prepare.scanning import scan_to

    manifest = scan_to(given.source, given.output, _scan_config(given))
    print(f"{given.output}: {summary(manifest)}")


def _add_shards(parser: ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="a folder of videos, which is scanned first, or a scan's manifest.")
    parser.add_argument("destination", help="folder for the shards, or its URL, such as s3://bucket/shards.")
    parser.add_argument("--shard_size", type=int, default=2**30, help="bytes of a shard at most.")
    _add_scan_config(parser)


def _shards(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.data.prepare.sharding import plan_shards, write_shards

    plan = plan_shards(given.source, given.destination, given.shard_size, _scan_config(given))
    print(plan)
    write_shards(plan)
    print(f"{plan.place} is complete")


def _add_config(parser: ArgumentParser, kind: type[ConfigT]) -> None:
    """The values of a config, in YAML files or one by one."""
    parser.add_argument("--config", action="config", help="YAML file with any of the values below; may be repeated.")
    parser.add_class_arguments(kind, None)


def _read_config(parser: ArgumentParser, given: Namespace, kind: type[ConfigT]) -> ConfigT:
    try:
        values = vars(parser.instantiate(given))
        return kind(**{field.name: values[field.name] for field in fields(kind)})  # type: ignore[arg-type]
    except ValueError as error:
        raise WrongUse(str(error)) from error


def _add_train_proxy(parser: ArgumentParser) -> None:
    from evatok.stages.proxy import ProxyConfig

    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in `folder`.")
    _add_config(parser, ProxyConfig)


def _train_proxy(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.stages.proxy import ProxyConfig, train_proxy

    final = train_proxy(_read_config(parser, given, ProxyConfig), given.resume)
    print(f"The trained tokenizer is in {final}")


def _add_train_router(parser: ArgumentParser) -> None:
    from evatok.stages.router import RouterTrainingConfig

    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in `folder`.")
    _add_config(parser, RouterTrainingConfig)


def _train_router(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.stages.router import RouterTrainingConfig, train_router

    final = train_router(_read_config(parser, given, RouterTrainingConfig), given.resume)
    print(f"The trained router is in {final}")


def _add_search(parser: ArgumentParser) -> None:
    from evatok.stages.search.parts import SearchConfig

    _add_config(parser, SearchConfig)


def _search(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.stages.search.parts import SearchConfig
    from evatok.stages.search.run import search

    config = _read_config(parser, given, SearchConfig)
    table = search(config)
    print(f"{config.folder}: {len(table)} clips under {len(table.space)} assignments each")


def _add_evaluate(parser: ArgumentParser) -> None:
    from evatok.reports.evaluate import EvaluationConfig

    _add_config(parser, EvaluationConfig)


def _evaluate(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.reports.evaluate import EvaluationConfig, evaluate

    print(f"The numbers and what made them are in {evaluate(_read_config(parser, given, EvaluationConfig))}")


def _add_curve(parser: ArgumentParser) -> None:
    from evatok.reports.judging import JudgingConfig

    _add_config(parser, JudgingConfig)


def _curve(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.reports.curve import curve
    from evatok.reports.judging import JudgingConfig

    path = curve(_read_config(parser, given, JudgingConfig))
    print(f"\nThe comparisons are in {path}; operating points and figure beside it")


def _add_router_report(parser: ArgumentParser) -> None:
    from evatok.reports.router_report import RouterReportConfig

    _add_config(parser, RouterReportConfig)


def _router_report(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.reports.router_report import RouterReportConfig, router_report

    print(f"\nThe report is in {router_report(_read_config(parser, given, RouterReportConfig))}")


def _add_card(parser: ArgumentParser) -> None:
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer, with its training.json.")
    parser.add_argument("--evaluation", type=Path, required=True, help="an evaluation.json of the same weights.")


def _card(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.reports.card import write_card

    print(f"The card is {write_card(given.tokenizer, given.evaluation)}")


def _add_selfcheck(parser: ArgumentParser) -> None:
    parser.add_argument("--video", type=Path, help="whose first 16 frames are learned; without it, a made-up clip.")


def _selfcheck(parser: ArgumentParser, given: Namespace) -> None:
    from evatok.codec.selfcheck import selfcheck, setup

    facts = setup()
    width = max(map(len, facts))
    print("\n".join(f"{name:{width}}  {value}" for name, value in facts.items()), flush=True)
    learned = selfcheck(given.video)
    if not learned.passed:
        raise ValueError(str(learned))
    print(learned)


_VIDEO_CHOICES = (
    "[--assignment 32,8,8,16 | --uniform 32 | --w-q 1.2 | --tokens 100 | --tokens-per-second 60] "
    "[--fit keep|crop|letterbox] [--fps N] [--tokenizer NAME]"
)
COMMANDS = {
    "demo": Command(
        "reconstruct a real video at several lengths: table, picture, video",
        "[-o demo] [--tokenizer NAME] [--video FILE]",
        _add_demo,
        _demo,
    ),
    "encode": Command(
        "turn a video into a token file",
        f"VIDEO -o FILE.tokens {_VIDEO_CHOICES}",
        partial(_add_video, output="the token file."),
        _encode,
    ),
    "decode": Command(
        "turn a token file back into a video",
        "FILE.tokens -o VIDEO [--tokenizer NAME]",
        _add_decode,
        _decode,
    ),
    "reconstruct": Command(
        "write a video's reconstruction, the two side by side, a picture and numbers",
        f"VIDEO -o FOLDER {_VIDEO_CHOICES}",
        partial(_add_video, output=f"folder for {_RECONSTRUCTED}."),
        _reconstruct,
    ),
    "train proxy": Command(
        "train a proxy tokenizer, under uniformly random assignments (stage 1)",
        "--config FILE [--any.value X] [--init-from NAME] [--resume]",
        _add_train_proxy,
        _train_proxy,
        logging.INFO,
    ),
    "search": Command(
        "measure every clip under every assignment of lengths (stage 2); the same command again goes on",
        "--config FILE [--any.value X]",
        _add_search,
        _search,
    ),
    "train router": Command(
        "train a router on the tables of searched clips (stage 3)",
        "--config FILE [--any.value X] [--resume]",
        _add_train_router,
        _train_router,
        logging.INFO,
    ),
    "evaluate": Command(
        "measure a tokenizer on held-out clips: PSNR, SSIM, LPIPS, codes used, by source and length",
        "--config FILE [--any.value X]",
        _add_evaluate,
        _evaluate,
    ),
    "curve": Command(
        "quality over tokens on held-out searched clips: every predictor and rule, and what they save",
        "--config FILE [--any.value X]",
        _add_curve,
        _curve,
    ),
    "router-report": Command(
        "how good routers are on held-out searched clips: percentile, regret, time, what they confuse",
        "--config FILE [--any.value X]",
        _add_router_report,
        _router_report,
    ),
    "card": Command(
        "write the model card beside a tokenizer's weights",
        "--tokenizer FOLDER --evaluation FILE",
        _add_card,
        _card,
    ),
    "selfcheck": Command(
        "tell a broken setup from hard data: print the setup, learn one clip by heart within minutes",
        "[--video FILE]",
        _add_selfcheck,
        _selfcheck,
    ),
    "weights": Command("fetch the frozen networks now rather than on first need", "", lambda parser: None, _weights),
    "data scan": Command(
        "decode every video of a folder completely: which are good, and why others are not",
        "FOLDER -o MANIFEST.parquet [--processes N]",
        _add_scan,
        _scan,
    ),
    "data shards": Command(
        "pack the good videos of a folder into tar files that training reads, here or in an object store",
        "FOLDER|MANIFEST DESTINATION [--shard-size BYTES]",
        _add_shards,
        _shards,
    ),
    "data big-buck-bunny": Command(
        "fetch the film and cut it into shots, for training and for validation",
        "FOLDER [--height N]",
        _add_big_buck_bunny,
        _big_buck_bunny,
        logging.INFO,
    ),
    "data photographs": Command(
        "make a folder of photographs and of cut-outs with alpha, out of Debian packages and scikit-image's",
        "FOLDER [--from FOLDER]",
        _add_photographs,
        _photographs,
    ),
    "data footage": Command(
        "make a folder of a camera's short recordings, for training and for validation",
        "FOLDER [--from FOLDER] [--height N]",
        _add_footage,
        _footage,
    ),
}
