"""Charts as inline SVG. The page's CSS classes give the colours; all text is escaped here."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 460, 300
_LEFT, _BOTTOM, _TOP, _RIGHT = 52, 44, 14, 14
Point = tuple[float, float, int, str]
"""x, y, count, and tooltip."""


def bubbles(
    points: Sequence[Point],
    axes: tuple[str, str],
    extent: tuple[float, float],
    mark: tuple[float, float, str] | None = None,
) -> str:
    """Draw a circle for each point, larger for higher counts, on axes that extend at least to `extent`.

    `mark` (x, y and a name) draws a dashed frame from the origin to that point.
    """
    max_count = max((count for *_, count, _ in points), default=1)
    right, top = max(extent[0], *(point[0] for point in points)), max(extent[1], *(point[1] for point in points))
    x, y = _Axis(right, _LEFT, _WIDTH - _RIGHT), _Axis(top, _HEIGHT - _BOTTOM, _TOP)
    parts = [_axes(x, y, axes)]
    for horizontal, vertical, count, tooltip in sorted(points, key=lambda point: -point[2]):
        radius = 1.5 + 8 * math.sqrt(count / max(max_count, 20))
        parts.append(
            f'<circle class="dot" cx="{x.at(horizontal):.1f}" cy="{y.at(vertical):.1f}" r="{radius:.1f}">'
            f"<title>{escape(tooltip)}</title></circle>"
        )
    if mark:
        mark_x, mark_y, name = mark
        width, height = x.at(mark_x) - x.at(0), y.at(0) - y.at(mark_y)
        parts.append(
            f'<rect class="frame" x="{x.at(0):.1f}" y="{y.at(mark_y):.1f}" width="{width:.1f}" height="{height:.1f}"/>'
            f'<text class="note" x="{x.at(0) + 5:.1f}" y="{y.at(mark_y) + 14:.1f}">{escape(name)}</text>'
        )
    return _svg(parts, f"{axes[1]} by {axes[0]}")


def columns(counts: Sequence[int], labels: Sequence[str], axes: tuple[str, str]) -> str:
    """Draw a histogram: a column for each count, with its label below and the count above."""
    y = _Axis(max([*counts, 1]), _HEIGHT - _BOTTOM, _TOP + 8)
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(counts), 1)
    parts = [_axes(None, y, axes)]
    label_interval = -(-(7 * max(map(len, labels), default=1) + 8) // max(round(step), 1))
    for index, (count, label) in enumerate(zip(counts, labels, strict=True)):
        left, top = _LEFT + index * step, y.at(count)
        middle = left + step / 2
        parts.append(
            f'<rect class="bar" x="{left + step * 0.08:.1f}" y="{top:.1f}" width="{step * 0.84:.1f}" '
            f'height="{y.at(0) - top:.1f}"><title>{escape(label)}: {count}</title></rect>'
        )
        if count and len(counts) <= 16:
            parts.append(f'<text class="tick" x="{middle:.1f}" y="{top - 4:.1f}" text-anchor="middle">{count}</text>')
        if index % label_interval == 0:
            parts.append(
                f'<text class="tick" x="{middle:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">'
                f"{escape(label)}</text>"
            )
    return _svg(parts, f"{axes[1]} by {axes[0]}")


def heatmap(grid: NDArray[np.float64], title: str) -> str:
    """Draw a square heatmap of fractions from 0 to 1, float64 (n, n), rows from the top."""
    count = len(grid)
    cell, top = 280 / count, max(float(grid.max(initial=0)), 1e-9)
    parts = ['<rect class="ground" x="0" y="0" width="280" height="280"/>']
    for row, column in np.argwhere(grid > 0):
        fraction = float(grid[row, column])
        parts.append(
            f'<rect class="heat" x="{column * cell:.2f}" y="{row * cell:.2f}" width="{cell:.2f}" '
            f'height="{cell:.2f}" fill-opacity="{0.04 + 0.96 * fraction / top:.2f}"><title>{100 * fraction:.0f} %'
            "</title></rect>"
        )
    parts.append('<rect class="edge" x="0.5" y="0.5" width="279" height="279"/>')
    head = f'<svg class="chart square" viewBox="0 0 280 280" role="img" aria-label="{escape(title)}">'
    return f"{head}{''.join(parts)}</svg>"


def bins(values: Sequence[int], max_bins: int = 12) -> tuple[list[int], list[str]]:
    """Count whole numbers from 0 in bins of equal width; return the counts and the labels of the bins: `0`, `5-9`."""
    top = max(values, default=0)
    width = max(1, -(-(top + 1) // max_bins))
    counts = np.bincount(np.asarray(values, int) // width, minlength=top // width + 1).tolist()
    starts = [index * width for index in range(len(counts))]
    return counts, [f"{start}" if width == 1 else f"{start}–{start + width - 1}" for start in starts]  # noqa: RUF001


class _Axis:
    """Maps values from 0 to slightly more than `top` to pixels from `begin` to `end`."""

    def __init__(self, top: float, begin: float, end: float) -> None:
        step = _tick_step(max(top, 1e-9) / 4)
        self.ticks = [step * index for index in range(math.floor(top * 1.04 / step) + 1)]
        self._top, self._begin, self._end = top * 1.04, begin, end

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        return self._begin + (self._end - self._begin) * value / self._top


def _tick_step(minimum: float) -> float:
    """Return 1, 2 or 5 times a power of ten that is not below `minimum`."""
    power = 10.0 ** math.floor(math.log10(minimum))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= minimum * 0.999)


def _axes(x: _Axis | None, y: _Axis, titles: tuple[str, str]) -> str:
    """Draw grid lines, tick labels and the titles of the axes."""
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for value in y.ticks:
        at = y.at(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    if x is not None:
        parts += [
            f'<text class="tick" x="{x.at(value):.1f}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>'
            for value in x.ticks
        ]
    middle = (_LEFT + right) / 2
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(
        f'<text class="name" x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(titles[0])}</text>'
        f'<text class="name" transform="translate(12 {(_TOP + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(titles[1])}</text>"
    )
    return "".join(parts)


def _svg(parts: Sequence[str], title: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
