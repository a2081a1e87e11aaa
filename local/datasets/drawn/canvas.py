"""Draw shapes in colour, and record what each pixel shows."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

SCENE, BODY, HEAD = 0, 1, 2
OVERSAMPLING = 2


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours. `share` is the weight of `second`, 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """Multiply a colour by `factor` and clip it."""
    red, green, blue = (min(255, max(0, round(value * factor))) for value in colour)
    return red, green, blue


class Canvas:
    """A picture of `width` x `height` pixels, drawn at twice the size to get smooth edges.

    `colour` is RGB. `labels` holds what was drawn last at each pixel: the scene (0), a pet's body (1) or its head (2).
    Objects that hide the pet therefore also remove it from `labels`. Both are OVERSAMPLING times the picture's size.
    """

    def __init__(self, width: int, height: int) -> None:
        size = (width * OVERSAMPLING, height * OVERSAMPLING)
        self.width, self.height = width, height
        self.colour = Image.new("RGB", size)
        self.labels = Image.new("L", size, SCENE)

    def fill(self, points: Sequence[Point], colour: Colour, label: int | None) -> None:
        """Fill a polygon, given in picture pixels, and set its label. With None, keep the existing labels."""
        scaled = [(x * OVERSAMPLING, y * OVERSAMPLING) for x, y in points]
        ImageDraw.Draw(self.colour).polygon(scaled, fill=colour)
        if label is not None:
            ImageDraw.Draw(self.labels).polygon(scaled, fill=label)

    def line(self, points: Sequence[Point], width: float, colour: Colour, label: int | None) -> None:
        """Draw a line, `width` picture pixels thick, with round joints."""
        scaled = [(x * OVERSAMPLING, y * OVERSAMPLING) for x, y in points]
        thickness = max(1, round(width * OVERSAMPLING))
        ImageDraw.Draw(self.colour).line(scaled, fill=colour, width=thickness, joint="curve")
        if label is not None:
            ImageDraw.Draw(self.labels).line(scaled, fill=label, width=thickness, joint="curve")

    @contextmanager
    def inside(self, points: Sequence[Point]) -> Iterator[None]:
        """Restrict colour drawn in the block to a polygon, to keep a pattern on the coat."""
        before = self.colour.copy()
        yield
        mask = Image.new("L", self.colour.size, 0)
        ImageDraw.Draw(mask).polygon([(x * OVERSAMPLING, y * OVERSAMPLING) for x, y in points], fill=255)
        self.colour = Image.composite(self.colour, before, mask)


@dataclass(frozen=True)
class Pen:
    """A drawing coordinate system: origin and unit in picture pixels, rotation in radians, and optional mirroring."""

    canvas: Canvas
    x: float
    y: float
    unit: float
    turn: float = 0.0
    mirrored: bool = False
    label: int | None = SCENE

    def at(self, x: float, y: float, scale: float = 1.0, turn: float = 0.0) -> "Pen":
        """Return a pen with its origin at (x, y), its unit scaled by `scale` and rotated by another `turn` radians."""
        ((px, py),) = self.place([(x, y)])
        sign = -1 if self.mirrored else 1
        return replace(self, x=px, y=py, unit=self.unit * scale, turn=self.turn + sign * turn)

    def on(self, label: int | None) -> "Pen":
        """Return a pen that sets the label of what it draws to `label`."""
        return replace(self, label=label)

    def place(self, points: Sequence[Point]) -> list[Point]:
        """Convert points from this pen's coordinates to picture pixels."""
        cosine, sine = math.cos(self.turn) * self.unit, math.sin(self.turn) * self.unit
        sign = -1 if self.mirrored else 1
        return [(self.x + cosine * sign * x - sine * y, self.y + sine * sign * x + cosine * y) for x, y in points]

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Draw a filled polygon."""
        self.canvas.fill(self.place(points), colour, self.label)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Draw a filled rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, turn: float = 0.0) -> None:
        """Draw a filled ellipse around (x, y) with radii `rx` and `ry`, rotated by `turn` radians."""
        self.polygon(oval(x, y, rx, ry, turn), colour)

    def blob(self, points: Sequence[Point], colour: Colour) -> None:
        """Draw a filled shape with a smooth outline through the points."""
        self.polygon(smooth(points), colour)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour, taper: float = 1.0) -> None:
        """Draw a smooth line with round ends, `width` thick at the start and `width` * `taper` at the end."""
        path = np.asarray(smooth(points, closed=False))
        radius = width / 2 * np.linspace(1, taper, len(path))[:, None]
        along = np.gradient(path, axis=0)
        along /= np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-9)
        side = np.column_stack([-along[:, 1], along[:, 0]]) * radius
        self.polygon([tuple(point) for point in np.vstack([path + side, (path - side)[::-1]])], colour)
        for (x, y), r in ((path[0], radius[0, 0]), (path[-1], radius[-1, 0])):
            self.polygon(oval(x, y, r, r, corners=16), colour)

    def thread(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a thin smooth line, `width` picture pixels thick."""
        self.canvas.line(self.place(smooth(points, closed=False)), width, colour, self.label)

    @contextmanager
    def inside(self, points: Sequence[Point]) -> Iterator[None]:
        """Restrict colour drawn in the block to a polygon, as Canvas.inside does."""
        with self.canvas.inside(self.place(points)):
            yield


def oval(x: float, y: float, rx: float, ry: float, turn: float = 0.0, corners: int = 40) -> list[Point]:
    """Return points on an ellipse."""
    angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    across, down = rx * np.cos(angles), ry * np.sin(angles)
    cosine, sine = math.cos(turn), math.sin(turn)
    return list(zip(x + cosine * across - sine * down, y + sine * across + cosine * down, strict=True))


def smooth(points: Sequence[Point], closed: bool = True, steps: int = 8) -> list[Point]:
    """Return a Catmull-Rom curve through the points, with `steps` segments between neighbours."""
    through = np.asarray(points, dtype=float)
    if closed:
        padded = np.vstack([through[-1:], through, through[:2]])
    else:
        padded = np.vstack([through[:1], through, through[-1:]])
    start, first, second, end = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.arange(steps)[:, None, None] / steps
    curve = 0.5 * (
        2 * first
        + (second - start) * t
        + (2 * start - 5 * first + 4 * second - end) * t**2
        + (3 * first - start - 3 * second + end) * t**3
    )
    path = curve.transpose(1, 0, 2).reshape(-1, 2)
    return [tuple(point) for point in (path if closed else np.vstack([path, through[-1:]]))]


def mirrored(half: Sequence[Point], axis: float = 0.0) -> list[Point]:
    """Return a symmetric outline from one half. Its x is relative to `axis`, and points on the axis occur once."""
    return [(axis + x, y) for x, y in (*half, *((-x, y) for x, y in reversed(half) if x))]


def fuzzy(points: Sequence[Point], depth: float, tufts: int, generator: np.random.Generator) -> list[Point]:
    """Return the outline with `tufts` tufts of fur around it, `depth` long on average."""
    outline = np.asarray(points, dtype=float)
    centre = outline.mean(axis=0)
    spots = np.linspace(0, len(outline), 2 * tufts, endpoint=False).astype(int) % len(outline)
    reach = np.where(np.arange(2 * tufts) % 2 == 0, 1.0, 0.0) * depth * generator.uniform(0.4, 1.6, 2 * tufts)
    chosen = outline[spots]
    away = chosen - centre
    length = np.maximum(np.hypot(away[:, 0], away[:, 1]), 1e-6)
    return [tuple(point) for point in chosen + away / length[:, None] * reach[:, None]]
