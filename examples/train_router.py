r"""Give a tokenizer of your own a router: search a few clips, train on what was found, encode adaptively.

    pip install -e '.[train]'
    python examples/train_router.py --tokenizer runs/mine/final --folder my/videos --held-out my/held_out --clips 500 \
        --output runs/mine-router

Each part between `# %%` is a cell: they run one after the other in an editor that knows such cells, or all as a script.
Without `--tokenizer` it is the tiny proxy with two of its lengths, so that a clip has 16 assignments instead of 625
and the search is quick; without folders there are made-up videos. So it takes about a minute on a CPU, and shows the
way: a router that is worth something needs hundreds of clips (docs/routing.md).
"""

# %% What may be said on the command line; a notebook's own arguments are let pass.
import argparse
from dataclasses import replace
from pathlib import Path

from made_up import write_videos

from evatok import BlockwiseConfig, Router, RouterConfig, VideoTokenizer
from evatok.data.folders import FolderConfig
from evatok.stages.router import RouterTrainingConfig, train_router
from evatok.stages.search.parts import SearchConfig
from evatok.stages.search.run import search
from evatok.training.loop import LoopConfig
from evatok.training.optimizers import OptimizerConfig

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tokenizer", help="a folder that holds yours")
parser.add_argument("--folder", type=Path, help="with videos to learn from")
parser.add_argument("--held-out", type=Path, help="with others, to judge by")
parser.add_argument("--output", type=Path, default=Path("runs/example-router"), help="for all that is made")
parser.add_argument("--clips", type=int, default=24, help="that are searched; of held-out ones a third")
parser.add_argument("--steps", type=int, default=100, help="of the router's training")
given, _ = parser.parse_known_args()

# %% The tokenizer, in a folder of its own. How many lengths a block may have is no matter of its weights.
if given.tokenizer is None:
    tiny = VideoTokenizer.from_pretrained("evatok-tiny-proxy")
    own = VideoTokenizer(replace(tiny.config, levels=(8, 64), default_assignment=(64, 8, 8, 8)))
    own.load_state_dict(tiny.state_dict())
    given.tokenizer = str(given.output / "tokenizer")
    own.save_pretrained(given.tokenizer)
tokenizer = VideoTokenizer.from_pretrained(given.tokenizer).set_router(None)
space = tokenizer.config.space
print(f"{given.tokenizer}: levels {space.levels}, {len(space)} assignments of a clip")

# %% The videos: some to learn from, others to judge by. The search refuses to be judged by what it has learned from.
if given.folder is None:
    given.folder, given.held_out = given.output / "videos", given.output / "held-out"
    write_videos(given.folder, 12)
    write_videos(given.held_out, 6, first=12)

# %% Stage 2: 64 clips under every assignment, of others a few blocks. The same call goes on where it was stopped.
side = tokenizer.config.side
learning = SearchConfig(
    tokenizer=given.tokenizer,
    sources=[FolderConfig(str(given.folder))],
    folder=str(given.output / "search"),
    clips=given.clips,
    size=(side, side),
    paths=1 if given.clips > 64 else None,
    whole=64,
)
judging = replace(
    learning,
    sources=[FolderConfig(str(given.held_out))],
    folder=str(given.output / "search-held-out"),
    clips=max(2, given.clips // 3),
    drawn="held_out",
    paths=None,
)
table = search(learning)
search(judging)
lpips = table.whole.clip_lpips.mean(0)  # of each assignment
for name, assignment in (
    ("shortest", [space.levels[0]] * space.blocks),
    ("longest", [space.levels[-1]] * space.blocks),
):
    print(f"{name} assignment: LPIPS {lpips[space.index(assignment)]:.3f}")

# %% Stage 3: a small network learns these tables from how the clips' blocks change. The log has the percentile on
# held-out clips.
trained = train_router(
    RouterTrainingConfig(
        folder=str(given.output / "router"),
        train=learning.folder,
        validation=judging.folder,
        model=RouterConfig(levels=space.levels, blocks=space.blocks, side=64, blockwise=BlockwiseConfig()),
        optimizer=OptimizerConfig(lr=1e-3, warmup=10, weight_decay=0.3),
        loop=LoopConfig(
            steps=given.steps, precision="no", validate_every=given.steps, checkpoint_every=given.steps, tracker="none"
        ),
        batch=16,
        augment=0.0,
        ema_decay=0.9,
    )
)

# %% From now on the tokenizer is adaptive: it asks its router, and takes it along wherever it is saved.
tokenizer.set_router(Router.from_pretrained(trained))
tokenizer.save_pretrained(given.output / "adaptive")
for path in sorted(given.held_out.rglob("*.mp4"))[:6]:
    tokens = tokenizer.encode(path)
    name, rate = path.relative_to(given.held_out), tokens.tokens_per_second()
    print(f"{name!s:20} {rate:6.1f} tokens a second; first clip {tokens.assignments[0]}")
print(f"the adaptive tokenizer is in {given.output / 'adaptive'}")
