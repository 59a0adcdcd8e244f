"""How much of the search's gain belongs to the clip rather than to one measurement of it.

The search picks the least of many measured values, so some of its gain may be luck of the measurement. Held-out clips
are searched again, wholly, in copies that show the same: mirrored; shifted, 3 pixels to the right and 2 down, all
frames alike, with what is missing at the left and at the top filled by reflection; both, mirrored first. Lengths that
are picked by the tables of copies are scored on the clip as it is. What they keep of the search's gain is the clip's.

    python -m benchmarks.routing_ceiling --train runs/tiny-search --held-out runs/tiny-search-validation \\
        --tokenizer evatok-tiny-proxy --router evatok-tiny-router --measured runs/routing-ceiling \\
        --out docs/results/routing-ceiling.json

Rows are tokens saved at equal LPIPS over the best fixed assignments (BD-tokens), in %. What has been measured stays in
a file a clip: a run that was killed goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.common import Row, arguments, report
from evatok.allocation.predictors import motion
from evatok.allocation.reward import ProxyReward
from evatok.evaluation.comparison import Draws, compare_curves, share_of
from evatok.evaluation.routing import Prediction
from evatok.evaluation.strategies import Curve, by_reward
from evatok.pretrained.lpips import LPIPS
from evatok.reports.judging import ALL, JudgingConfig, judged
from evatok.search.table import SearchTable
from evatok.search.walk import search_clips
from evatok.stages.search.dataset import SearchedClips
from evatok.tokenizer.model import VideoTokenizer

RIGHT, DOWN = 3, 2


def mirrored(frames: Tensor) -> Tensor:
    """Frames `(F, 3, H, W)` with left and right exchanged."""
    return frames.flip(-1)


def shifted(frames: Tensor) -> Tensor:
    """Frames `(F, 3, H, W)` moved to the right and down; what is missing is filled by reflection."""
    height, width = frames.shape[-2:]
    rows, columns = (torch.arange(height) - DOWN).abs(), (torch.arange(width) - RIGHT).abs()
    return frames[..., rows, :][..., columns]


COPIES: dict[str, Callable[[Tensor], Tensor]] = {
    "mirrored": mirrored,
    "shifted": shifted,
    "mirrored and shifted": lambda frames: shifted(mirrored(frames)),
}


def spread(sources: Sequence[str], clips: int) -> list[int]:
    """Rows of so many clips of each source, evenly over these."""
    by_source: dict[str, list[int]] = {}
    for row, source in enumerate(sources):
        by_source.setdefault(source, []).append(row)
    for source, rows in by_source.items():
        if len(rows) < clips:
            raise ValueError(f"{source} has {len(rows)} clips, fewer than the {clips} that are asked for")
    return sorted(rows[place * len(rows) // clips] for rows in by_source.values() for place in range(clips))


def search_copies(tokenizer: VideoTokenizer, clips: SearchedClips, folder: Path) -> dict[str, Tensor]:
    """LPIPS of every copy of clips under every assignment; a file a clip is in the folder, or is written there.

    Raises:
        ValueError: the clips were searched with another tokenizer.
    """
    truth = clips.table
    if tokenizer.checksum != truth.made_by["checksum"]:
        raise ValueError(f"the clips were searched with {truth.made_by['checksum']}, not with {tokenizer.checksum}")
    folder.mkdir(parents=True, exist_ok=True)
    lpips = LPIPS.from_pretrained(truth.made_by["lpips_net"])
    about = {**truth.made_by, "right": RIGHT, "down": DOWN}
    tables = []
    for row in tqdm(range(len(clips)), unit="clip"):
        path = folder / f"clip-{truth.places[row]:05d}.parquet"
        if not path.exists():
            video = torch.stack([copied(clips.frames(row)) for copied in COPIES.values()])
            values, moved = search_clips(tokenizer, video, lpips), motion(video, tokenizer.config.block_frames)
            keys = tuple(f"{truth.keys[row]} {name}" for name in COPIES)
            places = (truth.places[row],) * len(COPIES)
            SearchTable(truth.space, places, keys, values.mse, values.lpips, moved, about).write(path)
        tables.append(SearchTable.read(path))
    joined = SearchTable.joined(tables)
    if joined.made_by != about:
        raise ValueError(f"{folder} holds copies of other clips or by other shifts; choose another folder")
    return dict(zip(COPIES, joined.clip_lpips.unflatten(0, (-1, len(COPIES))).unbind(1), strict=True))


def measure(
    truth: SearchTable,
    reward: ProxyReward,
    mean: Tensor,
    tables: Mapping[str, Tensor],
    groups: Mapping[str, list[int]],
    draws: int,
) -> list[Row]:
    """A row for the search and for each of the tables: what their picks save on the clips as they are."""

    def curve(table: Tensor) -> Curve:
        return Curve.measured(by_reward(Prediction("", table), truth.space, reward), truth)

    rows: list[Row] = []
    fixed, best = curve(mean), curve(truth.clip_lpips)
    for name, table in {"search": truth.clip_lpips, **tables}.items():
        row: dict[str, Any] = {"picks by": name}
        found = curve(table)
        for group, some in groups.items():
            ours, reference, most = (each.of_clips(some) for each in (found, fixed, best))
            drawn = Draws(len(some), draws, 0)
            saved = compare_curves(ours, reference, drawn).bd_tokens
            row[f"{group}, saved %"] = saved.value
            if group == ALL:
                row |= {"from": saved.low, "to": saved.high}
                share = share_of(ours, most, reference, drawn)
                row |= {"of the search's": share.value, "share from": share.low, "share to": share.high}
        rows.append(row)
    return rows


def main() -> None:
    """Reads searches, searches copies, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--train", required=True, help="folder of the search of training clips")
    parser.add_argument("--held-out", required=True, help="folder of the search of held-out clips")
    parser.add_argument("--tokenizer", required=True, help="which they were searched with")
    parser.add_argument("--router", required=True, help="whose picks are compared")
    parser.add_argument("--measured", type=Path, required=True, help="folder for the tables of copies")
    parser.add_argument("--clips", type=int, default=8, help="of each source")
    parser.add_argument("--draws", type=int, default=1000, help="of clips, for the intervals")
    given = parser.parse_args()
    found = judged(JudgingConfig(given.train, given.held_out, "", {"router": given.router}))
    rows = spread(found.truth.sources, given.clips)
    clips = SearchedClips(Path(given.held_out)).only(rows)
    copies = search_copies(VideoTokenizer.from_pretrained(given.tokenizer), clips, given.measured)
    known = {each.name: each.table[rows] for each in found.predictions}
    mean_of_copies = torch.stack(list(copies.values())).mean(0)
    tables = {**copies, "mean of the three copies": mean_of_copies, "router": known["router"]}
    judging = replace(found, truth=clips.table)
    measured = measure(clips.table, found.reward, known["mean"], tables, judging.groups, given.draws)
    report(measured, given.out, clips=len(clips), made_by=dict(clips.table.made_by))


if __name__ == "__main__":
    main()
