"""Training clips made beforehand by many processes, for a GPU that would wait for them.

    python -m benchmarks.prepared --config configs/mini/proxy.yaml --seconds 100 --workers 14 --clips-to clips

The clips are those of the config's seed, group by group, as many as come in the time. Each size has a file.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from benchmarks.common import arguments, read_config, write_record
from evatok.data.clips import ClipBatch
from evatok.data.loading import loader
from evatok.nn.packed import on_device
from evatok.stages.data import DataConfig
from evatok.stages.proxy import ProxyConfig
from evatok.utils.files import replacing

GROUP = 32  # clips that a process makes at a time


def prepare(data: DataConfig, seed: int, seconds: float, workers: int, folder: Path) -> dict[str, int]:
    """Writes uint8 `(clips, F, 3, h, w)` to `{h}x{w}.npy` for each size; returns how many clips each has."""
    start, made = time.monotonic(), dict[tuple[int, int], list[Tensor]]()
    batches, _ = replace(data, validation=[], group=GROUP).open(seed)
    with tqdm(unit="clip") as bar:
        for batch in loader(batches, range(2**31), workers):
            # Out of the memory that processes share, of which there is little.
            made.setdefault((batch.video.shape[-2], batch.video.shape[-1]), []).append(batch.video.clone())
            bar.update(len(batch))
            if time.monotonic() - start > seconds:
                break
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for (height, width), parts in made.items():
        with replacing(folder / f"{height}x{width}.npy") as temporary:
            np.save(temporary, torch.cat(parts).numpy())
        counts[f"{height}x{width}"] = sum(map(len, parts))
    return counts


class PreparedClips(Dataset[ClipBatch]):
    """Groups of clips of one size, drawn at random from what was prepared, mirrored or not; kept on a device.

    Item `i` is a function of the seed and `i`. How often a size comes is how many clips it has.

    Raises:
        ValueError: there are none, or fewer of a size than a group has.
    """

    def __init__(self, folder: Path, group: int, seed: int, device: torch.device) -> None:
        files = sorted(folder.rglob("*.npy"))
        if not files:
            raise ValueError(f"{folder} holds no prepared clips (.npy)")
        self.videos = [torch.from_numpy(np.load(file, mmap_mode="c")).to(device) for file in files]
        for file, video in zip(files, self.videos, strict=True):
            if len(video) < group:
                raise ValueError(f"{file} holds {len(video)} clips, fewer than a group of {group}")
        self.group, self.seed = group, seed

    def __len__(self) -> int:
        return sum(map(len, self.videos))

    def __getitem__(self, index: int) -> ClipBatch:
        rng = np.random.default_rng([self.seed, index])
        counts = np.array([len(each) for each in self.videos])
        video = self.videos[rng.choice(len(counts), p=counts / counts.sum())]
        clips = torch.from_numpy(rng.integers(len(video), size=self.group))
        mirrored = torch.from_numpy(rng.random(self.group) < 0.5)[:, None, None, None, None]
        chosen = video.index_select(0, on_device(clips, video.device))
        chosen = torch.where(on_device(mirrored, video.device), chosen.flip(-1), chosen)
        return ClipBatch(chosen, torch.full((self.group,), -1), ["prepared"] * self.group)


def main() -> None:
    """Prepares the clips of a training's config."""
    parser = arguments(__doc__)
    parser.add_argument("--config", required=True, help="of the training")
    parser.add_argument("--seconds", type=float, default=100.0, help="for which clips are made")
    parser.add_argument("--workers", type=int, default=14, help="processes that make them")
    parser.add_argument("--clips-to", type=Path, required=True, help="folder for the clips")
    given, words = parser.parse_known_args()
    config = read_config(ProxyConfig, [f"--config={given.config}", *words])
    counts = prepare(config.data, config.loop.seed, given.seconds, given.workers, given.clips_to)
    write_record({"clips": counts}, given.out)


if __name__ == "__main__":
    main()
