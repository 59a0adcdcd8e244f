"""Videos that a generator writes, shown one after the other as they are ready."""

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePath

from torch import Tensor

from evatok.app.showing import View
from evatok.app.visit import Visit
from evatok.app.words import told, wrong
from evatok.codec.generate import in_a_square
from evatok.figures.style import look_of
from evatok.generator.model import VideoGenerator
from evatok.tokens.tokens import Tokens
from evatok.utils.texts import shortened
from evatok.video.reading import write_video

NO_CLASS = "(any)"


@dataclass(frozen=True)
class Generating:
    """Generates videos.

    Args:
        generator: with a tokenizer.
    """

    generator: VideoGenerator

    def generate(self, visit: Visit, label: str, guidance: float, seed: int, count: int) -> Iterator[View]:
        """Generates videos of a class one by one; a video is the same however many there are."""
        yield View(told(f"Writing {count} videos …"), video="", tokens="", videos="")
        folder = visit.new_folder()
        made: list[tuple[Tensor, Tokens]] = []
        cells: list[str] = []
        for number in range(count):
            try:
                one = self.generator.generate(
                    [None if label == NO_CLASS else label], guidance=guidance, seed=seed, first=number, progress=False
                )
            except ValueError as error:
                yield View(wrong(f"Nothing can be generated so: {shortened(str(error), 300)}."))
                return
            made.append((one.videos[0], one.tokens))
            cells.append(self._cell(folder / f"{number + 1}.mp4", label, *made[-1]))
            yield View(told(f"{number + 1} of {count} …"), videos=_grid(cells, count))
        name = PurePath(self.generator.name).name
        video, tokens = folder / f"{name}.mp4", folder / f"{name}.tokens"
        write_video(video, in_a_square([each for each, _ in made], [label] * count), fps=self.generator.config.fps)
        whole = Tokens.cat([each for _, each in made])
        whole.save(tokens)
        mean = whole.num_tokens / whole.num_clips
        yield View(told(f"{count} videos, {mean:.0f} tokens each on average, written by {name}."), video, tokens)

    def _cell(self, path: Path, label: str, video: Tensor, tokens: Tokens) -> str:
        write_video(path, video, fps=self.generator.config.fps)
        data = base64.b64encode(path.read_bytes()).decode()
        lengths = tokens.lengths.flatten().tolist()
        bars = _bars(lengths, tokens.format.levels[-1])
        told_of = f"{escape(label)}, {tokens.num_tokens} tokens"
        player = f'<video src="data:video/mp4;base64,{data}" autoplay loop muted playsinline></video>'
        return f"<figure>{player}{bars}<figcaption>{told_of}</figcaption></figure>"


def _bars(lengths: Sequence[int], most: int) -> str:
    """Bars of a clip's blocks, on a logarithmic scale: most of its blocks are short."""
    color, width = look_of("router").color, 100 / len(lengths)
    bars = []
    for number, tokens in enumerate(lengths):
        tall = 20 * math.log2(1 + tokens) / math.log2(1 + most)
        box = f'x="{number * width + 1:.1f}" y="{20 - tall:.1f}" width="{width - 2:.1f}" height="{tall:.1f}"'
        bars.append(f'<rect {box} fill="{color}"><title>{tokens} tokens</title></rect>')
    return f'<svg class="bars" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">{"".join(bars)}</svg>'


def _grid(cells: Sequence[str], count: int) -> str:
    waiting = ['<figure class="waiting"></figure>'] * (count - len(cells))
    return f'<div class="made">{"".join([*cells, *waiting])}</div>'
