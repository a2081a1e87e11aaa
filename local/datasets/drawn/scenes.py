"""Draw four kinds of scenes with clutter, objects in front of the animals, and lighting."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from local.datasets.drawn.canvas import OVERSAMPLING, Canvas, Colour, Pen, mirrored, mix, shade

if TYPE_CHECKING:
    from collections.abc import Callable

Generator = np.random.Generator

FABRICS: tuple[Colour, ...] = (
    (176, 84, 78),
    (84, 120, 160),
    (110, 148, 116),
    (214, 176, 96),
    (150, 112, 158),
    (228, 220, 206),
    (92, 88, 98),
    (200, 140, 110),
    (70, 134, 138),
    (136, 98, 70),
)


def paint(canvas: Canvas, generator: Generator) -> float:
    """Fill the canvas with a random scene and its clutter. Return the y in pixels at which an animal can stand."""
    place = (_meadow, _room, _sofa, _snow)[int(generator.integers(4))]
    return place(canvas, generator)


def add_foreground(canvas: Canvas, generator: Generator, x: float, y: float, unit: float) -> None:
    """Draw a plant, ball, cushion or tufts of grass in front of an animal at (x, y)."""
    objects: tuple[Callable[[Pen, Generator], None], ...] = (_ball, _plant, _cushion, _grass)
    draw = objects[int(generator.integers(len(objects)))]
    across = generator.choice([-1, 1]) * generator.uniform(0.5, 1.5)
    draw(Pen(canvas, x + across * unit, y + 0.15 * unit, unit), generator)


def render(canvas: Canvas, generator: Generator) -> Image.Image:
    """Return the final RGB picture in the size of the canvas, with depth, lighting, colour cast, blur and noise."""
    size = (canvas.width, canvas.height)
    colour = canvas.colour.resize(size, Image.Resampling.BOX)
    pet = canvas.labels.point([0] + [255] * 255).resize(size, Image.Resampling.BOX)
    if generator.uniform() < 0.4:
        soft = colour.filter(ImageFilter.GaussianBlur(generator.uniform(0.8, 2.2)))
        colour = Image.composite(colour, soft, pet.filter(ImageFilter.MaxFilter(3)))
    pixels = np.array(colour, dtype=np.float32)
    roundness = np.asarray(pet.filter(ImageFilter.GaussianBlur(min(size) / 28)), dtype=np.float32) / 255
    inside = np.asarray(pet, dtype=np.float32) / 255
    pixels *= (1 - inside * 0.3 * (1 - roundness) * 1.6)[..., None]
    pixels *= _lamp(canvas.width, canvas.height, generator)[..., None]
    pixels = (pixels - 128) * generator.uniform(0.85, 1.12) + 128
    pixels = pixels * generator.normal(1.0, 0.035, 3).astype(np.float32)
    pixels += generator.normal(0, generator.uniform(1.5, 6.0), pixels.shape[:2]).astype(np.float32)[..., None]
    pixels += generator.normal(0, 1.5, pixels.shape).astype(np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")


def _lamp(width: int, height: int, generator: Generator) -> NDArray[np.float32]:
    """Return the brightness of each pixel as float32 (height, width), about 0.65 to 1.2, brighter on one side."""
    angle, strength = generator.uniform(0, 2 * math.pi), generator.uniform(0.0, 0.22)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * math.cos(angle)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * math.sin(angle)
    return (generator.uniform(0.78, 1.1) + strength * (across + down)).astype(np.float32)


def _gradient(canvas: Canvas, top: float, bottom: float, first: Colour, last: Colour) -> None:
    """Fill the full width between two heights, in pixels, with a gradient from `first` to `last`."""
    start, end = round(top * OVERSAMPLING), round(bottom * OVERSAMPLING)
    share = np.linspace(0, 1, max(end - start, 1), dtype=np.float32)[:, None]
    column = (np.asarray(first) * (1 - share) + np.asarray(last) * share).astype(np.uint8)[:, None, :]
    strip = np.broadcast_to(column, (column.shape[0], canvas.colour.width, 3))
    canvas.colour.paste(Image.fromarray(np.ascontiguousarray(strip), "RGB"), (0, start))


def _pick(generator: Generator) -> Colour:
    """Return a random fabric colour with slightly varied brightness."""
    return shade(FABRICS[int(generator.integers(len(FABRICS)))], generator.uniform(0.8, 1.2))


def _meadow(canvas: Canvas, generator: Generator) -> float:
    width, height = canvas.width, canvas.height
    horizon = height * generator.uniform(0.25, 0.55)
    sky = mix((150, 200, 240), (240, 206, 170), generator.uniform(0, 0.8))
    _gradient(canvas, 0, horizon, sky, mix(sky, (255, 255, 255), 0.6))
    green = mix((96, 150, 62), (150, 152, 70), generator.uniform())
    _gradient(canvas, horizon, height, shade(green, 1.12), shade(green, 0.72))
    pen = Pen(canvas, 0, 0, 1)
    for _ in range(int(generator.integers(1, 5))):
        x, size = generator.uniform(0, width), generator.uniform(0.1, 0.26) * height
        pen.polygon(mirrored([(size * 0.08, horizon), (size * 0.06, horizon - size)], x), (104, 76, 54))
        leaf = shade(green, generator.uniform(0.55, 0.8))
        for _ in range(4):
            pen.ellipse(
                x + generator.normal(0, size * 0.24),
                horizon - size + generator.normal(0, size * 0.18),
                size * 0.42,
                size * 0.38,
                shade(leaf, generator.uniform(0.9, 1.15)),
            )
    for _ in range(int(generator.integers(60, 130))):
        x, y = generator.uniform(0, width), generator.uniform(horizon, height)
        near = (y - horizon) / (height - horizon)
        pen.thread(
            [(x, y), (x + generator.normal(0, 2), y - 3 - 8 * near)], 1.0, shade(green, generator.uniform(0.6, 1.3))
        )
    for _ in range(int(generator.integers(0, 16))):
        x, y = generator.uniform(0, width), generator.uniform(horizon, height)
        pen.ellipse(x, y, 2.2, 2.2, ((250, 250, 250), (246, 214, 84), (232, 120, 140))[int(generator.integers(3))])
    return height * generator.uniform(0.84, 0.97)


def _room(canvas: Canvas, generator: Generator) -> float:
    width, height = canvas.width, canvas.height
    floor = height * generator.uniform(0.55, 0.75)
    wall = mix(_pick(generator), (255, 252, 244), generator.uniform(0.3, 0.75))
    _gradient(canvas, 0, floor, wall, shade(wall, 0.9))
    wood = mix((176, 126, 82), (214, 196, 172), generator.uniform())
    _gradient(canvas, floor, height, shade(wood, 0.85), wood)
    pen = Pen(canvas, 0, 0, 1)
    pen.rectangle(0, floor - height * 0.03, width, floor, mix(wall, (255, 255, 255), 0.5))
    for index in range(1, 9):
        x = width * (index / 4 - 0.6)
        pen.thread([(width / 2 + (x - width / 2) * 0.5, floor), (x, height)], 0.8, shade(wood, 0.76))
    for _ in range(int(generator.integers(1, 4))):
        x, y = generator.uniform(0, width), generator.uniform(0.02, 0.3) * height
        w, h = generator.uniform(0.1, 0.22) * width, generator.uniform(0.12, 0.26) * height
        pen.rectangle(x, y, x + w, y + h, shade(wood, 0.6))
        pen.rectangle(x + 3, y + 3, x + w - 3, y + h - 3, _pick(generator))
        pen.ellipse(x + w / 2, y + h / 2, w * 0.25, h * 0.22, _pick(generator))
    if generator.uniform() < 0.6:
        rug = _pick(generator)
        pen.ellipse(width * generator.uniform(0.3, 0.7), height * 0.94, width * 0.5, height * 0.13, rug)
        pen.ellipse(width * 0.5, height * 0.94, width * 0.36, height * 0.08, shade(rug, 1.2))
    _clutter(canvas, generator, floor)
    return height * generator.uniform(0.86, 0.97)


def _sofa(canvas: Canvas, generator: Generator) -> float:
    width, height = canvas.width, canvas.height
    wall = mix(_pick(generator), (250, 248, 240), generator.uniform(0.2, 0.7))
    _gradient(canvas, 0, height, wall, shade(wall, 0.88))
    pen = Pen(canvas, 0, 0, 1)
    cloth = _pick(generator)
    back, seat = height * generator.uniform(0.22, 0.42), height * generator.uniform(0.66, 0.78)
    seats = int(generator.integers(2, 4))
    for index in range(seats):
        left, right = width * index / seats, width * (index + 1) / seats
        middle = (left + right) / 2
        outline = [(left, seat), (left + 2, back + 8), (middle, back), (right - 2, back + 8), (right, seat)]
        pen.blob([*outline, (middle, seat + 8)], shade(cloth, generator.uniform(0.84, 0.96)))
    _gradient(canvas, seat, height, shade(cloth, 1.1), shade(cloth, 0.8))
    stripes = generator.uniform() < 0.5
    for index in range(int(generator.integers(5, 12)) if stripes else 0):
        x = width * (index + generator.uniform(0.2, 0.6)) / 9
        pen.thread([(x, seat), (x + generator.normal(0, 4), height)], 2.5, shade(cloth, generator.uniform(0.7, 1.3)))
    for _ in range(int(generator.integers(0, 3))):
        _cushion(Pen(canvas, generator.uniform(0, width), seat + 6, height * 0.13), generator)
    return height * generator.uniform(0.84, 0.96)


def _snow(canvas: Canvas, generator: Generator) -> float:
    width, height = canvas.width, canvas.height
    horizon = height * generator.uniform(0.3, 0.55)
    sky = mix((168, 190, 214), (236, 214, 210), generator.uniform())
    _gradient(canvas, 0, horizon, sky, mix(sky, (250, 250, 252), 0.6))
    ground = mix((216, 222, 232), (226, 208, 172), float(generator.integers(2)))
    _gradient(canvas, horizon, height, shade(ground, 1.06), shade(ground, 0.86))
    pen = Pen(canvas, 0, 0, 1)
    for _ in range(int(generator.integers(2, 6))):
        x, size = generator.uniform(0, width), generator.uniform(0.15, 0.4) * height
        tone = mix((52, 84, 70), (110, 130, 140), generator.uniform(0, 0.7))
        for level in range(3):
            y = horizon - size * 0.3 * level
            pen.polygon(mirrored([(-size * (0.34 - 0.08 * level), y), (0, y - size * 0.45)], x), tone)
    for _ in range(int(generator.integers(4, 12))):
        x, y = generator.uniform(0, width), generator.uniform(horizon, height)
        pen.ellipse(
            x, y, generator.uniform(6, 26), generator.uniform(1, 4), shade(ground, generator.uniform(0.84, 1.1))
        )
    return height * generator.uniform(0.84, 0.97)


def _clutter(canvas: Canvas, generator: Generator, floor: float) -> None:
    """Draw balls, plants and cushions along the wall."""
    for _ in range(int(generator.integers(0, 4))):
        draw = (_ball, _plant, _cushion)[int(generator.integers(3))]
        foot = floor + generator.uniform(0.02, 0.3) * (canvas.height - floor)
        draw(
            Pen(canvas, generator.uniform(0, canvas.width), foot, canvas.height * generator.uniform(0.07, 0.12)),
            generator,
        )


def _ball(pen: Pen, generator: Generator) -> None:
    colour = _pick(generator)
    size = generator.uniform(0.4, 0.7)
    pen.ellipse(0, -size, size, size, colour)
    pen.stroke(
        [(-size * 0.8, -size * 1.3), (0, -size * 0.8), (size * 0.8, -size * 1.3)],
        size * 0.2,
        mix(colour, (255, 255, 255), 0.5),
    )


def _plant(pen: Pen, generator: Generator) -> None:
    pot, leaf = _pick(generator), mix((64, 120, 62), (124, 160, 84), generator.uniform())
    for _ in range(7):
        x, y = generator.normal(0, 0.5), generator.uniform(-2.6, -1.2)
        pen.stroke([(0, -0.7), (x * 0.5, y * 0.7), (x, y)], 0.2, shade(leaf, generator.uniform(0.7, 1.2)), taper=0.5)
    pen.polygon([(-0.5, -0.8), (0.5, -0.8), (0.36, 0), (-0.36, 0)], pot)


def _cushion(pen: Pen, generator: Generator) -> None:
    colour = _pick(generator)
    size = generator.uniform(0.6, 0.9)
    half = [(-size, 0), (-size * 0.9, -size * 0.7), (-size, -size * 1.4), (0, -size * 1.25)]
    pen.blob([*mirrored(half), (0, -size * 0.12)], colour)
    pen.ellipse(0, -size * 0.7, size * 0.14, size * 0.14, shade(colour, 0.7))


def _grass(pen: Pen, generator: Generator) -> None:
    green = mix((88, 140, 60), (170, 160, 90), generator.uniform())
    for _ in range(16):
        x = generator.normal(0, 0.6)
        pen.stroke(
            [(x, 0.1), (x + generator.normal(0, 0.2), -generator.uniform(0.5, 1.3))],
            0.13,
            shade(green, generator.uniform(0.7, 1.3)),
            taper=0.2,
        )
