"""What a generator gains by lengths that adapt: one tokenizer, its tokens at four kinds of lengths, some seeds of each.

    python -m benchmarks.generator_lengths --folder runs/generator-lengths --out docs/results/generator-lengths.json

Of each kind the lengths are those that need the fewest tokens to reconstruct held-out clips as well as the uniform ones
do. All generators are of one size and see as many sequences in as many steps. They are trained seed by seed, a seed of
every kind before the next one, and each is measured as soon as it is there: the record grows. The same command again
goes on where it was stopped.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import Row, arguments, in_turn, read_config, table, write_record
from evatok.codec.token_parts import TokenizeConfig
from evatok.codec.tokenize import tokenize
from evatok.data.clips import held_out_clips
from evatok.data.sources import open_source
from evatok.data.toy.games import GamesConfig
from evatok.evaluation.metrics import clip_scores
from evatok.generator.model import VideoGenerator
from evatok.pretrained.lpips import LPIPS
from evatok.reports.generated import SamplingConfig
from evatok.reports.generation import RECORD, GenerationConfig, evaluate_generation
from evatok.reports.real_clips import RealClipsConfig
from evatok.reports.record import keys_digest
from evatok.stages.generator import GeneratorTrainingConfig, TokenSetsConfig, train_generator
from evatok.tokenizer.model import VideoTokenizer
from evatok.tokens.token_set import TokenSet
from evatok.utils.files import write_json

REFERENCE = "uniform"
# What `encode` is asked for; of every kind but the reference some lengths around those that are as good.
KINDS: dict[str, list[dict[str, Any]]] = {
    REFERENCE: [{"uniform": 32}],
    "router": [{"w_q": w_q} for w_q in (0.9, 1.0, 1.1, 1.2)],
    "beam 2": [{"w_q": w_q, "beam": 2} for w_q in (0.7, 0.8, 0.9, 1.0)],
    "fixed": [{"assignment": each} for each in ([32, 8, 8, 8], [32, 16, 16, 16], [64, 8, 8, 8], [64, 16, 8, 8])],
}
TRAINED, JUDGED, COMPARED = (0, 6), (100, 103), (102, 106)  # seeds of episodes
GUIDANCE = 1.5
BIASES = (-16.0, -8.0, -4.0, 0.0, 4.0, 8.0)
_TOGETHER = 40


@dataclass(frozen=True)
class Scale:
    """How much is done of everything.

    Args:
        games: so many, the first of the alphabet.
        judged: held-out clips that are reconstructed.
        epochs: of each generator's training.
        together: sequences of a step, on average.
        real: clips of training episodes that generated ones are compared with.
        held_out: of other episodes, for the classifier.
        samples: clips that each generator makes.
        timed: clips that are timed, of each kind's first generator: where they are few, the last ones are written in
            small batches, the more so the more their lengths differ.
    """

    games: int = 40
    judged: int = 120
    epochs: int = 3
    together: int = 32
    real: int = 200
    held_out: int = 160
    samples: int = 160
    timed: int = 160


class Comparison:
    """The steps, each of which leaves in the folder what it has found.

    Args:
        tokenizer: a shipped tokenizer's name or a folder, with a router.
        folder: of sets, generators and what is measured.
        scale: how much is done.
        kinds: of lengths that are compared.
    """

    def __init__(self, tokenizer: str, folder: Path, scale: Scale, kinds: Sequence[str]) -> None:
        self.tokenizer, self.folder, self.scale, self.kinds = tokenizer, folder, scale, kinds
        self.games = list(open_source(GamesConfig("all", (0, 1))).classes[: scale.games])
        self.training = read_config(GeneratorTrainingConfig, ["--config", "configs/tiny/generator.yaml"])
        self.evaluation = read_config(GenerationConfig, ["--config", "configs/tiny/evaluate-games-generation.yaml"])

    def reconstructions(self) -> list[Row]:
        """Tokens, LPIPS and PSNR of held-out clips at all lengths of all kinds."""
        path = self.folder / "reconstructions.json"
        if not path.exists():
            clips = held_out_clips([open_source(self._games(JUDGED))], self.scale.judged, (64, 64), 16)["games"]
            tokenizer, lpips = VideoTokenizer.from_pretrained(self.tokenizer), LPIPS.from_pretrained("alex")
            rows = [
                {"kind": kind, "asked for": way, **reconstructed(tokenizer, clips.video, lpips, way)}
                for kind in self.kinds
                for way in KINDS[kind]
            ]
            write_json(path, {"clips": len(clips), "keys_sha256": keys_digest(clips.keys), "rows": rows})
        return list(_read(path)["rows"])

    def tokens(self, kind: str, way: Mapping[str, Any]) -> TokenSet:
        """The token set of a kind."""
        base = read_config(TokenizeConfig, ["--config", "configs/tiny/tokenize-games.yaml"])
        base = replace(base, data=[self._games(TRAINED)], tokenizer=self.tokenizer)
        return tokenize(replace(base, **way), self._of("tokens", kind))

    def generator(self, kind: str, seed: int, tokens: TokenSet) -> Path:
        """The trained generator of a kind and seed."""
        folder, scale = self._of("generator", kind, seed), self.scale
        if (folder / "final").exists():
            return folder / "final"
        steps = max(1, len(tokens) // scale.together)
        predicted = len(tokens.ids) + len(tokens) * (tokens.format.clip_blocks + 1)
        loop = replace(self.training.loop, steps=scale.epochs * steps, seed=seed, checkpoint_every=50, tracker="none")
        config = replace(
            self.training,
            folder=str(folder),
            data=TokenSetsConfig([str(self._of("tokens", kind))]),
            tokenizer=self.tokenizer,
            batch=-(-predicted // steps),
            optimizer=replace(self.training.optimizer, warmup=50),
            loop=loop,
        )
        return train_generator(config, resume=any(folder.glob("checkpoints/*")))

    def measured(self, kind: str, seed: int, generator: Path) -> dict[str, Any]:
        """What `evatok evaluate generation` says of it."""
        folder, scale = self._of("generation", kind, seed), self.scale
        for clips in ("real", "held_out"):
            # All are compared with the same ones, which the first has measured.
            if not folder.exists() and (known := self._of("generation", REFERENCE, 0) / clips).exists():
                shutil.copytree(known, folder / clips)
        config = replace(
            self.evaluation,
            generator=str(generator),
            folder=str(folder),
            real=RealClipsConfig([self._games(TRAINED)], "training episodes", scale.real),
            held_out=RealClipsConfig([self._games(COMPARED)], "other episodes", scale.held_out),
            samples=scale.samples,
            sampling=SamplingConfig(guidance=GUIDANCE, seed=seed),
            lengths_of=str(self._of("tokens", kind)),
        )
        if not (folder / RECORD).exists():
            evaluate_generation(config)
        return _read(folder / RECORD)

    def timed(self) -> dict[str, dict[str, float]]:
        """Seconds a video of each kind's first generator, which take turns, and tokens of the router's by bias."""
        path = self.folder / "sampling.json"
        if not path.exists():
            known = {
                kind: VideoGenerator.from_pretrained(self._of("generator", kind, 0) / "final") for kind in self.kinds
            }
            draw: dict[str, Any] = {"guidance": GUIDANCE, "seed": 0, "progress": False}
            wanted = [self.games[number % len(self.games)] for number in range(self.scale.timed)]
            ways = {kind: partial(each.generate, wanted, **draw) for kind, each in known.items()}
            seconds = {kind: each / len(wanted) for kind, each in in_turn(ways, 3).items()}
            of_router = partial(known["router"].sample, self.games, **draw)
            biased = {str(bias): of_router(length_bias=bias).num_tokens / len(self.games) for bias in BIASES}
            write_json(path, {"seconds": seconds, "tokens by length_bias": biased})
        return _read(path)

    def _games(self, seeds: tuple[int, int]) -> GamesConfig:
        return GamesConfig(self.games, seeds)

    def _of(self, what: str, kind: str, seed: int | None = None) -> Path:
        name = kind.replace(" ", "-")
        return self.folder / (f"{what}-{name}" if seed is None else f"{what}-{name}-{seed}")


@torch.no_grad()
def reconstructed(tokenizer: VideoTokenizer, video: Tensor, lpips: LPIPS, way: Mapping[str, Any]) -> Row:
    """Mean tokens, LPIPS and PSNR of clips."""
    tokens, found = 0, []
    for part in video.split(_TOGETHER):
        coded = tokenizer.encode(part, fit="none", **way)
        scores = clip_scores(part, tokenizer.decode(coded), lpips)
        tokens += coded.num_tokens
        found.append(torch.stack([scores.lpips, scores.psnr]))
    quality, psnr = torch.cat(found, 1).double().mean(1).tolist()
    return {"tokens": tokens / len(video), "lpips": quality, "psnr": psnr}


def chosen(rows: Sequence[Row]) -> dict[str, Row]:
    """Of each kind the row with the fewest tokens that is as good as the reference; where none is, its best."""
    enough = next(row["lpips"] for row in rows if row["kind"] == REFERENCE)

    def order(row: Row) -> tuple[bool, float]:
        good = row["lpips"] <= enough
        return not good, row["tokens"] if good else row["lpips"]

    kinds = dict.fromkeys(row["kind"] for row in rows)
    return {kind: min((row for row in rows if row["kind"] == kind), key=order) for kind in kinds}


def run_row(kind: str, seed: int, found: Mapping[str, Any]) -> Row:
    """A generator's numbers, out of its evaluation."""
    card, agreement = found["card"], found["agreement"]
    names = ("fvd", "fvd_low", "fvd_high", "fvd_infinity", "kvd", "kvd_std")
    return {
        "lengths": kind,
        "seed": seed,
        "tokens a video": card["tokens"],
        **{name: card["numbers"][name] for name in names},
        "class found": agreement["generated"],
        "lengths apart": found["lengths_apart"],
        "generator": card["generator"][1],
    }


def summary(runs: Sequence[Row], of_kind: Mapping[str, Row], seconds: Mapping[str, float]) -> list[Row]:
    """A row a kind: means over its seeds, and from the least to the most among them."""
    rows: list[Row] = []
    for kind, way in of_kind.items():
        if mine := [run for run in runs if run["lengths"] == kind]:
            row: dict[str, Any] = {
                "lengths": kind,
                "seeds": len(mine),
                "LPIPS of held-out clips": way["lpips"],
                "tokens a video": _mean(mine, "tokens a video"),
                "seconds a video": seconds.get(kind),
            }
            for name in ("fvd", "kvd", "class found"):
                values = [run[name] for run in mine]
                row |= {name: _mean(mine, name), f"{name}, seeds": f"{min(values):.3g} to {max(values):.3g}"}
            rows.append(row)
    return rows


def _mean(runs: Sequence[Row], name: str) -> float:
    return sum(run[name] for run in runs) / len(runs)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    """Takes every step that is left, prints, writes."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--tokenizer", default="evatok-tiny", help="with a router")
    parser.add_argument(
        "--kinds", nargs="+", choices=[*KINDS], default=[*KINDS], help="of lengths, uniform and router among them"
    )
    parser.add_argument("--seeds", type=int, default=2, help="generators of each kind")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    for name, default in vars(Scale()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help="see Scale")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.folder.mkdir(parents=True, exist_ok=True)
    scale = Scale(**{name: getattr(given, name) for name in vars(Scale())})
    comparison = Comparison(given.tokenizer, given.folder, scale, given.kinds)
    reconstructions = comparison.reconstructions()
    of_kind = chosen(reconstructions)
    sets = {kind: comparison.tokens(kind, row["asked for"]) for kind, row in of_kind.items()}
    made = sets[REFERENCE].how
    about = {
        "tokenizer": {name: made[name] for name in ("tokenizer", "checksum", "router")},
        "games": comparison.games,
        "scale": vars(scale),
        "reconstructions": reconstructions,
        "sets": {kind: {"asked for": of_kind[kind]["asked for"], "clips": len(each)} for kind, each in sets.items()},
    }
    runs: list[Row] = []
    for seed in range(given.seeds):
        for kind, tokens in sets.items():
            trained = comparison.generator(kind, seed, tokens)
            found = comparison.measured(kind, seed, trained)
            runs.append(run_row(kind, seed, found))
            timed = comparison.timed() if len(runs) >= len(given.kinds) else {}
            rows = summary(runs, of_kind, timed.get("seconds", {}))
            print(table(rows))
            others = {
                "fvd": found["fvd_held_out"],
                "clips": found["held_out_clips"],
                "class found": found["agreement"]["held_out"],
            }
            record = {**about, "real clips of other episodes": others, "sampling": timed, "runs": runs, "rows": rows}
            write_record(record, given.out)


if __name__ == "__main__":
    main()
