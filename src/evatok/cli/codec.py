"""Commands that turn videos into tokens and back."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from evatok.cli.arguments import OR_FOLDER, any_path, numbers, parse_config
from evatok.tokens.limits import TokenLimits

DEFAULT_TOKENIZER = "evatok-tiny"
_TOKENIZER = "a shipped tokenizer's name, a folder that holds one, or a hub's repository."


def demo(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Reconstruct a real video at several lengths: table, picture, video."""
    parser.add_argument("-o", "--output", type=any_path, default=Path("demo"), help="folder for what it writes.")
    parser.add_argument("--tokenizer", default=DEFAULT_TOKENIZER, help=_TOKENIZER)
    parser.add_argument("--video", type=any_path, help="a video of your own, of which the first 4 seconds are taken.")
    given = parser.parse_args(words)
    import matplotlib.figure  # noqa: F401  # if it is missing, that is said before the work is done

    from evatok.codec.demo import demo

    print(demo(given.output, given.tokenizer, given.video))


def app(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Show one's own video as tokens in a browser, and videos that a generator writes."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 for all of this machine's.")
    parser.add_argument("--port", type=int, default=7860, help="to listen at; 0 for any that is free.")
    parser.add_argument("--tokenizer", default=DEFAULT_TOKENIZER, help=f"with a router; {_TOKENIZER}")
    given = parser.parse_args(words)
    import gradio  # noqa: F401  # if one is missing, that is said before the models are loaded
    import matplotlib.figure  # noqa: F401
    import transformers  # noqa: F401

    from evatok.app.serving import serve

    serve(given.tokenizer, given.host, given.port)


def encode(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Turn a video into a token file."""
    _add_video(parser)
    parser.add_argument("-o", "--output", required=True, help=f"the token file, {OR_FOLDER}")
    given = parser.parse_args(words)
    from evatok.codec.files import bits_per_pixel, encode_file
    from evatok.codec.targets import named

    with named(given.output, given.video, ".tokens") as target:
        tokens = encode_file(given.video, target, **_choices(given))
    print(f"{target}: {tokens!r}, {bits_per_pixel(tokens):.4f} bits/pixel, {target.stat().st_size} bytes")


def decode(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Turn a token file back into a video."""
    parser.add_argument("tokens", type=any_path, help="a token file.")
    what = f"video: .mp4, .m4v, .mov, .mkv or .webm, {OR_FOLDER}"
    parser.add_argument("-o", "--output", required=True, help=what)
    parser.add_argument("--tokenizer", help=f"{_TOKENIZER} Without it, the one named in the tokens.")
    parser.add_class_arguments(TokenLimits, "limits")
    given = parser.parse_args(words)
    from evatok.codec.files import decode_file
    from evatok.codec.targets import named

    limits = TokenLimits(**given.limits)
    with named(given.output, given.tokens, ".mp4") as target:
        record = decode_file(given.tokens, target, given.tokenizer, limits).videos[0]
    print(f"{target}: {record.frames} frames, {record.seconds:.2f} s, {record.fps:.6g} frames/s")


def reconstruct(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Write a video's reconstruction, the two side by side, a picture and numbers."""
    _add_video(parser)
    parser.add_argument("-o", "--output", type=any_path, required=True, help="folder for what it writes.")
    given = parser.parse_args(words)
    from evatok.codec.reconstruct import FILES, reconstruct_file
    from evatok.codec.scored import scores_table

    print(scores_table([reconstruct_file(given.video, given.output, **_choices(given))]))
    print(f"{given.output} holds {', '.join(name for name in FILES if (given.output / name).exists())}")


def tokenize(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Write the tokens of whole data sets, for generators; the same command again goes on."""
    from evatok.codec.token_parts import TokenizeConfig
    from evatok.codec.tokenize import tokenize

    parser.add_argument("-o", "--output", required=True, help="folder of the token set; made if missing.")
    config, given = parse_config(parser, words, TokenizeConfig)
    made = tokenize(config, Path(given.output))
    mean = len(made.ids) / max(len(made), 1)
    print(f"{given.output}: {len(made)} clips of {len(made.classes)} classes, {mean:.1f} tokens a clip")


def weights(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Fetch the frozen networks now rather than on first need."""
    parser.parse_args(words)
    from evatok.pretrained.weights import prepare_weights

    for name, path in prepare_weights().items():
        print(f"{name}: {path}")


def _add_video(parser: ArgumentParser) -> None:
    parser.add_argument(
        "video", type=any_path, help="a video of any length, in any container and codec that FFmpeg reads."
    )
    parser.add_argument("--tokenizer", default=DEFAULT_TOKENIZER, help=_TOKENIZER)
    lengths = parser.add_mutually_exclusive_group()
    lengths.add_argument("--assignment", type=numbers, help="tokens of each block of a clip, such as 32,8,8,16.")
    lengths.add_argument("--uniform", type=int, help="tokens of every block.")
    lengths.add_argument("--w_q", type=float, help="the router's choice at a preference, above 0 and at most 2 (best).")
    lengths.add_argument("--tokens", type=float, help="the router's choice at about so many tokens a clip.")
    lengths.add_argument(
        "--tokens_per_second",
        type=float,
        help="the router's choice with so many at most; without any of these, its own preference decides, or, where "
        "the tokenizer has no router, its default assignment.",
    )
    beam = "prefixes of a clip's lengths that are followed by measuring: fewer tokens for more time; 1, 2, 4 or 8."
    parser.add_argument("--beam", type=int, default=0, help=beam)
    metric = "what is measured: LPIPS by AlexNet or VGG16, or squared errors; without it, LPIPS as the router knows it."
    parser.add_argument("--beam_metric", choices=["alex", "vgg", "mse"], help=metric)
    prefix = "tokens of the first blocks of every clip, such as 128,32; the router chooses the rest."
    parser.add_argument("--prefix", type=numbers, default=(), help=prefix)
    parser.add_argument(
        "--fit",
        choices=["keep", "crop", "letterbox"],
        default="keep",
        help="how pictures are brought to the tokenizer's area: aspect ratio kept, centre square, square with bars.",
    )
    parser.add_argument("--fps", type=float, help="frame rate to resample to; without it, every frame is kept.")
    track = "number of the video track, from 0 on; without it, the longest that is no still picture."
    parser.add_argument("--track", type=int, help=track)


def _choices(given: Namespace) -> dict[str, Any]:
    """What the commands that take a video hand on."""
    from evatok.tokenizer.lengths import LengthRequest

    request = LengthRequest(**{field.name: given[field.name] for field in fields(LengthRequest)})
    return {"request": request} | {name: given[name] for name in ("tokenizer", "fit", "fps", "track")}
