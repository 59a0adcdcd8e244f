"""Sample videos from a generator: by class, within a budget of tokens, and going on from given frames.

    pip install -e '.[generator]'
    python examples/sample.py --generator runs/games-generator/final --classes pong boxing

Each part between `# %%` is a cell: they run one after the other in an editor that knows such cells, or all as a script.
The generator that ships, `evatok-tiny-ale`, is a small one. It takes some seconds on a CPU.
"""

# %% What may be said on the command line; a notebook's own arguments are let pass.
import argparse
from pathlib import Path

from evatok import VideoGenerator, write_video

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--generator", default="evatok-tiny-ale", help="a shipped name, or a folder that holds one")
parser.add_argument("--classes", nargs="+", default=["pong", "boxing", "enduro"], help="one video of each")
parser.add_argument("--output", type=Path, default=Path("runs/example-samples"), help="for the videos")
given, _ = parser.parse_known_args()
given.output.mkdir(parents=True, exist_ok=True)

# %% The generator, with the tokenizer whose tokens it writes.
generator = VideoGenerator.from_pretrained(given.generator)
config = generator.config
print(f"{len(config.classes)} classes, {config.frames} frames of {config.picture}, {config.fps:g} a second")

# %% By class. How many tokens each block gets the model decides itself; the seed and a video's number say the rest.
made = generator.generate(given.classes, guidance=1.5, seed=0)
for name, video, tokens in zip(given.classes, made.videos, made.tokens, strict=True):
    write_video(given.output / f"{name}.mp4", video, fps=config.fps)
    print(f"{name:12} {tokens.num_tokens:4} tokens: {tokens.assignments[0]}")

# %% Within a budget: no clip has more, and what later blocks need at least is kept for them.
least = config.tokens.levels[0] * config.tokens.clip_blocks
thrifty = generator.generate(given.classes, guidance=1.5, seed=0, most_tokens=2 * least)
print(f"{thrifty.mean_tokens:.1f} tokens a clip instead of {made.mean_tokens:.1f}")

# %% Going on: the first five frames of what was made are given, and the rest is written anew.
given_frames = made.videos[:, :5]
followed = generator.generate(given.classes, frames=given_frames, seed=1)
for name, video in zip(given.classes, followed.videos, strict=True):
    write_video(given.output / f"{name}-followed.mp4", video, fps=config.fps)
print(f"lengths of the blocks, the first two given: {followed.tokens.assignments}")
print(f"the videos are in {given.output}")
