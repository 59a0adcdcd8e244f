"""Tokenize a folder of videos, see how many tokens each got, and make a video of some of them again.

    pip install -e .
    python examples/tokenize_folder.py --folder my/videos

Each part between `# %%` is a cell: they run one after the other in an editor that knows such cells, or all as a script.
Without `--folder` there are made-up videos. It takes some seconds on a CPU.
"""

# %% What may be said on the command line; a notebook's own arguments are let pass.
import argparse
from pathlib import Path

from made_up import write_videos

from evatok import Tokens, VideoTokenizer, write_video

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--folder", type=Path, help="with videos, also in its subfolders")
parser.add_argument("--output", type=Path, default=Path("runs/example-tokens"), help="where token files are written")
parser.add_argument("--videos", type=int, default=6, help="to make up where there is no folder")
given, _ = parser.parse_known_args()

# %% The videos.
folder = given.folder or given.output / "made-up"
if given.folder is None:
    write_videos(folder, given.videos)
paths = sorted(path for path in folder.rglob("*") if path.suffix in (".mp4", ".mkv", ".webm", ".mov", ".avi"))
print(f"{len(paths)} videos in {folder}")

# %% The tokenizer. It carries a router, which gives each block of four frames 8, 16, 32, 64 or 128 tokens.
tokenizer = VideoTokenizer.from_pretrained("evatok-tiny")
given.output.mkdir(parents=True, exist_ok=True)

# %% Encoding. A path is read as a stream, so a video may be of any length. `w_q` above 1.2 buys quality.
for path in paths:
    tokens = tokenizer.encode(path, w_q=1.2)
    name = "-".join(path.relative_to(folder).with_suffix(".tokens").parts)
    tokens.save(given.output / name)
    print(
        f"{name:20} {tokens.num_tokens:6} tokens, {tokens.tokens_per_second():6.1f} a second; {tokens.assignments[0]}"
    )

# %% Decoding needs the tokens and the tokenizer alone. Of a long one take `decode_stream`, frame after frame.
first = min(given.output.glob("*.tokens"))
tokens = Tokens.load(first)
fps = tokens.videos[0].fps
write_video(first.with_suffix(".mp4"), tokenizer.decode(tokens)[0], fps=fps)
print(f"{first.with_suffix('.mp4')}: {tokens.videos[0].frames} frames at {fps:g} a second")

# %% For a model that is to learn them: all clips side by side, -1 where a clip has ended, and their lengths.
# `evatok tokenize` writes sets of many videos, with classes: docs/own-generator.md goes on from there.
everything = Tokens.cat([Tokens.load(path) for path in sorted(given.output.glob("*.tokens"))])
print(everything)
print("ids", tuple(everything.pad_to().shape), "lengths", tuple(everything.lengths.shape))
