"""Final tokenizers trained alike but for one thing: parts of the loss left out, or lengths by something else.

    python -m benchmarks.prepared --config configs/tiny/proxy.yaml --loop.seed 1 --seconds 1500 --clips-to clips
    python -m benchmarks.stage4 --config configs/tiny/final.yaml --clips clips --folder runs/stage4 \
        --variants all "no semantic discriminator" "no alignment" neither --out docs/results/ablation.json \
        --sheet docs/ablation.png

Every variant sees the same prepared clips in the same order, for as many steps; the same command again goes on where it
was stopped. They are judged on the same held-out clips, all under the lengths of the config's router at its preference:
PSNR, LPIPS, LPIPS of the clips moved by two pixels, which is higher where speckles are fitted to the places where its
network looks, sharpness (change from pixel to pixel over that of the originals), how much of the change
lies at the borders of patches (1: no more than elsewhere), FVD with its 95 % interval, which depends on how many clips
there are, and KVD, which does not.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.common import Row, arguments, read_config, report
from benchmarks.prepared import PreparedClips
from evatok.data.clips import held_out_clips
from evatok.data.sources import open_source
from evatok.evaluation.fvd import fvd_features, fvd_scores
from evatok.evaluation.metrics import clip_scores
from evatok.evaluation.reconstruction import reconstruct
from evatok.evaluation.seams import patch_energy
from evatok.figures.frames import reconstruction_sheet
from evatok.nn.packed import Layout
from evatok.pretrained.i3d import I3D
from evatok.pretrained.lpips import LPIPS
from evatok.stages.final import FinalConfig, FinalTask
from evatok.stages.lengths import LengthsByRouter, RandomLengths
from evatok.stages.tokenizer import with_model_of_start
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.checkpoints import checkpoints
from evatok.training.loop import train
from evatok.utils.files import replacing
from evatok.utils.saving import WEIGHTS
from evatok.video.fit import to_signed

VARIANTS: dict[str, Callable[[FinalConfig], FinalConfig]] = {
    "all": lambda config: config,
    "no semantic discriminator": lambda config: replace(config, semantic=None),
    "no alignment": lambda config: replace(config, alignment=None),
    "neither": lambda config: replace(config, semantic=None, alignment=None),
    "reconstruction alone": lambda config: replace(config, discriminator=None, semantic=None, alignment=None),
    "best fixed lengths": lambda config: replace(config, lengths=replace(config.lengths, by="best_fixed")),
    "uniform lengths": lambda config: replace(config, lengths=replace(config.lengths, by="uniform")),
}
# Stage 1 with the losses of the config but the semantic one.
RANDOM = "random lengths"
_TOGETHER = 8
_SHOWN = 2  # clips of each source
_MOVED = 2  # pixels


class Held:
    """Held-out clips and the lengths that the router gives them, by which every variant is judged.

    Args:
        config: whose validation sources and router these are.
        clips: of each source.
    """

    def __init__(self, config: FinalConfig, clips: int) -> None:
        data = config.data
        sources = [open_source(each) for each in data.validation]
        batches = held_out_clips(sources, clips, data.validation_size, data.clips.frames)
        self.video = torch.cat([batch.video for batch in batches.values()])
        # Of each source as many, spread evenly.
        starts = range(0, len(self.video), clips)
        self.shown = [start + (2 * number + 1) * clips // (2 * _SHOWN) for start in starts for number in range(_SHOWN)]
        self.pictures: dict[str, Tensor] = {}
        router = LengthsByRouter(replace(config.lengths, by="router"), config.model.space)
        self.w_q = router.router.calibration.w_q
        self.rows = router.at(to_signed(self.video), [self.w_q] * len(self.video))
        self.lpips = LPIPS.from_pretrained(config.loss.lpips_net)
        self.i3d = I3D.from_pretrained()
        self.seen = self._features(self.video)

    def _features(self, video: Tensor) -> Tensor:
        parts = tqdm(video.split(_TOGETHER), desc="I3D", unit="batch", leave=False)
        return torch.cat([fvd_features(self.i3d, clips) for clips in parts])

    def reconstructed(self, tokenizer: VideoTokenizer) -> Tensor:
        """The clips out of a tokenizer, uint8."""
        parts = zip(self.video.split(_TOGETHER), self.rows.split(_TOGETHER), strict=True)
        return torch.cat([reconstruct(tokenizer, clips, Layout.of(rows.tolist())).video for clips, rows in parts])

    def scores(self, name: str, tokenizer: VideoTokenizer) -> Row:
        """What a tokenizer makes of them; the middle frames of some are kept in `pictures`."""
        found = self.reconstructed(tokenizer)
        self.pictures[name] = self._middle(found)
        scores = clip_scores(self.video, found, self.lpips)
        fvd = fvd_scores(self.seen, self._features(found), paired=True)
        return {
            "variant": name,
            "tokens": self.rows.sum(1).double().mean().item(),
            "PSNR": scores.psnr.mean().item(),
            "LPIPS": scores.lpips.mean().item(),
            "LPIPS moved": clip_scores(moved(self.video), moved(found), self.lpips).lpips.mean().item(),
            "sharpness": (_change(found) / _change(self.video)).mean().item(),
            "borders": patch_energy(found, tokenizer.config.patch).mean().item(),
            "FVD": fvd.fvd,
            "from": fvd.fvd_interval.low,
            "to": fvd.fvd_interval.high,
            "KVD": fvd.kvd,
        }

    def sheet(self) -> Tensor:
        """Middle frames of originals above those of every variant, `(3, H, W)` uint8."""
        return reconstruction_sheet(self._middle(self.video), self.pictures)

    def _middle(self, video: Tensor) -> Tensor:
        return video[self.shown, video.shape[1] // 2]


def moved(video: Tensor) -> Tensor:
    """Clips off the grid of patches and off AlexNet's strides of 4 pixels, float in [-1, 1]; borders are reflected."""
    height, width = video.shape[-2:]
    padded = F.pad(to_signed(video).flatten(0, 1), (_MOVED, 0, _MOVED, 0), mode="reflect")
    return padded[..., :height, :width].unflatten(0, video.shape[:2])


def _change(video: Tensor) -> Tensor:
    """Mean change of brightness from pixel to pixel in clips `(B, F, 3, H, W)`: `(B,)`."""
    grey = video.float().mean(2)
    down, right = grey[..., 1:, :-1] - grey[..., :-1, :-1], grey[..., :-1, 1:] - grey[..., :-1, :-1]
    return torch.hypot(down, right).mean((1, 2, 3))


def trained(config: FinalConfig, clips: Path, random: bool) -> Path:
    """Trains, or goes on with it, on prepared clips, under random lengths or the config's; the folder of the result."""
    folder = Path(config.folder)
    if (folder / "final" / WEIGHTS).exists():
        return folder / "final"
    torch.manual_seed(config.loop.seed)
    task = FinalTask(config)
    if random:
        task.assign = RandomLengths(config.model.space)
    task.batches = PreparedClips(clips, config.data.group, config.loop.seed, torch.device("cpu"))
    return train(task, config, resume=bool(checkpoints(folder / "checkpoints")))


def main() -> None:
    """Trains the variants one after the other, judges them, prints, writes."""
    parser = arguments(__doc__)
    configs = "of the training of a final tokenizer; later ones change earlier ones"
    parser.add_argument("--config", action="append", required=True, help=configs)
    parser.add_argument("--clips", type=Path, required=True, help="folder of prepared clips")
    parser.add_argument("--folder", type=Path, required=True, help="for the runs, a folder for each variant")
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS, RANDOM], required=True)
    parser.add_argument("--beside", nargs="*", default=[], help="trained tokenizers to judge beside them, above all")
    parser.add_argument("--sheet", type=Path, help="PNG file for some clips' middle frames, originals above variants")
    parser.add_argument("--held-out", type=int, default=24, help="clips of each source to judge by")
    given, words = parser.parse_known_args()
    config = with_model_of_start(read_config(FinalConfig, [*(f"--config={each}" for each in given.config), *words]))
    known = [*given.beside, *([] if config.init_from is None else [config.init_from])]
    tokenizers: dict[str, str | Path] = {name: name for name in known}
    for name in given.variants:
        change = VARIANTS["no semantic discriminator" if name == RANDOM else name]
        own = replace(change(config), folder=str(given.folder / name.replace(" ", "-")))
        tokenizers[name] = trained(own, given.clips, name == RANDOM)
    held, rows = Held(config, given.held_out), list[Row]()
    for name, where in tokenizers.items():
        rows.append(held.scores(name, VideoTokenizer.from_pretrained(where)))
        print(rows[-1], flush=True)
    if given.sheet:
        with replacing(given.sheet) as temporary:
            Image.fromarray(held.sheet().movedim(0, -1).numpy()).save(temporary, format="png")
    report(rows, given.out, config=asdict(config), held_out=len(held.video), w_q=held.w_q)


if __name__ == "__main__":
    main()
