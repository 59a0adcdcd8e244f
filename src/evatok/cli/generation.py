"""Commands of generators."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from jsonargparse import ArgumentParser

from evatok.cli.arguments import any_path, numbers


def generate(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Make videos of classes, or that go on from first frames, and a picture of them with the tokens of each block."""
    from evatok.generator.drawing import Drawing

    parser.add_argument("model", help="a shipped generator's name, a folder that holds one, or a hub's repository.")
    what = "name or number of a class, may be repeated; without it videos are of no class."
    parser.add_argument("--class", dest="classes", action="append", metavar="CLASS", help=what)
    what = "video file whose first frames every video begins with, in the middle of its picture, at the model's rate."
    parser.add_argument("--frames", type=any_path, metavar="VIDEO", help=what)
    parser.add_argument("--given", type=int, default=5, help="how many of them.")
    parser.add_argument("-n", "--count", type=int, default=1, help="videos of each class, or of the frames.")
    what = "video: .mp4, .m4v, .mov, .mkv or .webm; several are numbered. The picture has its name, with .png."
    parser.add_argument("-o", "--output", type=any_path, default=Path("generated.mp4"), help=what)
    parser.add_argument("--grid", action="store_true", help="all videos side by side in one.")
    parser.add_class_arguments(Drawing, None)
    what = "tokens of each block, such as 32,8,8,16; 0 for a block whose tokens the model chooses."
    parser.add_argument("--assignment", type=numbers, help=what)
    parser.add_argument("--seed", type=int, default=0, help="of chance.")
    parser.add_argument("--rows", type=int, default=16, help="videos that are written side by side.")
    what = "compile how tokens are read, on a GPU to CUDA graphs: takes minutes first; for many videos there."
    parser.add_argument("--compile", action="store_true", help=what)
    given = parser.parse_args(words)
    import matplotlib.figure  # noqa: F401  # if one is missing, that is said before the work is done
    import transformers  # noqa: F401

    from evatok.codec.generate import generate_files

    names = (*(field.name for field in fields(Drawing)), "assignment", "seed", "rows", "compile")
    options = {name: given[name] for name in names}
    made = generate_files(
        given.model,
        given.classes or [],
        given.count,
        given.output,
        frames=given.frames,
        given=given.given,
        together=given.grid,
        options=options,
    )
    print(made)
