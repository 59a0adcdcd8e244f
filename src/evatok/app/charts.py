"""Charts as SVG in the page: sharp at any size, legible on a phone, in the colours of all figures."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from evatok.app.clip_curve import Point
from evatok.figures.style import GRID, INK, QUIET, look_of

WIDTH = 420
_LEFT, _RIGHT = 46, 8
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


def token_bars(lengths: Sequence[int], edges: Sequence[float], levels: Sequence[int]) -> str:
    """The tokens of every block over time, and a line that follows the video that plays.

    Args:
        lengths: tokens of each block.
        edges: seconds at which the blocks begin, and the end of the last one.
        levels: tokens that a block may have; the longest one has the highest bar.
    """
    height, foot, top = 132, 30, 8
    span, most = edges[-1], levels[-1]

    def x(seconds: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * seconds / span

    def y(tokens: float) -> float:
        return height - foot - (height - foot - top) * tokens / most

    parts = [_rule(y(level), f"{level}") for level in (0, most // 2, most)]
    gap = 0.8 if len(lengths) <= 90 else 0.0
    for number, tokens in enumerate(lengths):
        start, end = edges[number], edges[number + 1]
        told = f"<title>{tokens} tokens, {start:.2f} to {end:.2f} s</title>"
        box = f'x="{x(start):.2f}" y="{y(tokens):.2f}" width="{max(0.3, x(end) - x(start) - gap):.2f}"'
        parts.append(f'<rect {box} height="{y(0) - y(tokens):.2f}" fill="{look_of("router").color}">{told}</rect>')
    step = next((tick for tick in _TICKS if span / tick <= 6), _TICKS[-1])
    for number in range(int(span / step + 1e-6) + 1):
        parts.append(_text(x(number * step), height - foot + 13, f"{number * step:g}"))
    parts.append(_text((WIDTH + _LEFT) / 2, height - 4, "seconds"))
    parts.append(_upright(top + (height - foot - top) / 2, "tokens a block"))
    place = f'data-left="{_LEFT}" data-right="{WIDTH - _RIGHT}" data-seconds="{span:.4f}"'
    line = f'x1="{_LEFT}" x2="{_LEFT}" y1="{top}" y2="{height - foot}"'
    parts.append(f'<line class="playhead" {place} {line} stroke="{look_of("best fixed").color}" stroke-width="1.5"/>')
    return _svg(height, f"Tokens of each of {len(lengths)} blocks over time", parts)


def curve_chart(every: Sequence[Point], uniform: Sequence[Point], chosen: Mapping[str, Point]) -> str:
    """A clip's LPIPS over its tokens: all assignments as dots, uniform lengths as a line, and what strategies chose.

    Args:
        every: assignments that have been measured.
        uniform: the uniform ones; none as long as they are not known.
        chosen: assignments by the strategy's name, likewise.
    """
    if not every:
        return ""
    height, foot, top = 300, 34, 10
    low, high = (math.log2(pick(point.tokens for point in every)) for pick in (min, max))
    worst = max(point.lpips for point in every) or 1.0

    def x(tokens: float) -> float:
        return _LEFT + 6 + (WIDTH - _LEFT - _RIGHT - 12) * (math.log2(tokens) - low) / max(high - low, 1e-9)

    def y(lpips: float) -> float:
        return height - foot - (height - foot - top) * lpips / (1.05 * worst)

    step = next((tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2) if worst / tick <= 6), 0.5)
    parts = [_rule(y(number * step), f"{number * step:.2g}") for number in range(int(1.05 * worst / step) + 1)]
    for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1):
        parts.append(_text(x(2**power), height - foot + 14, f"{2**power}"))
    dots = "".join(f'<circle cx="{x(each.tokens):.1f}" cy="{y(each.lpips):.1f}" r="1.7"/>' for each in every)
    parts.append(f'<g class="every" fill="{QUIET}" fill-opacity="0.38">{dots}</g>')
    if uniform:
        look = look_of("uniform")
        path = " ".join(f"{x(each.tokens):.1f},{y(each.lpips):.1f}" for each in uniform)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{look.color}" stroke-dasharray="5 3"/>')
        parts += [_mark("uniform", x(each.tokens), y(each.lpips)) for each in uniform]
    parts += [_mark(name, x(point.tokens), y(point.lpips)) for name, point in chosen.items()]
    parts.append(_text((WIDTH + _LEFT) / 2, height - 5, "tokens of the clip"))
    parts.append(_upright(top + (height - foot - top) / 2, "LPIPS (lower is better)"))
    return _svg(height, f"LPIPS of the first clip over its tokens under {len(every)} assignments", parts)


def mark_of(strategy: str) -> str:
    """A strategy's mark alone, to stand in a line of text."""
    return f'<svg class="mark" viewBox="-7 -7 14 14" aria-hidden="true">{_mark(strategy, 0, 0)}</svg>'


def _mark(strategy: str, x: float, y: float) -> str:
    look = look_of(strategy)
    shapes = {
        "o": '<circle r="5"/>',
        "s": '<rect x="-4.5" y="-4.5" width="9" height="9"/>',
        "^": '<path d="M0-6 5.5 4.5h-11z"/>',
        "D": '<path d="M0-6.5 6.5 0 0 6.5-6.5 0z"/>',
        "x": f'<path d="M-4-4 4 4M-4 4 4-4" stroke="{look.color}" stroke-width="2"/>',
    }
    shape = shapes[look.marker]
    where, outline = f'transform="translate({x:.1f} {y:.1f})"', 'stroke="#fff" stroke-width="1"'
    return f'<g {where} fill="{look.color}" {outline} data-strategy="{escape(strategy)}">{shape}</g>'


def _svg(height: int, about: str, parts: Iterable[str]) -> str:
    frame = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(about)}"'
    return f'<svg class="chart" {frame} fill="{INK}" font-size="11">{"".join(parts)}</svg>'


def _rule(y: float, label: str) -> str:
    line = f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
    return f'{line}<text x="{_LEFT - 4}" y="{y + 4:.1f}" text-anchor="end" fill="{QUIET}">{label}</text>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{QUIET}">{text}</text>'


def _upright(y: float, text: str) -> str:
    return f'<text transform="translate(10 {y:.1f}) rotate(-90)" text-anchor="middle" fill="{QUIET}">{text}</text>'
