"""Draw cats and dogs in four poses. Lengths are in head radii, y grows downwards, and the origin is on the ground."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from local.datasets.drawn.breeds import Breed
from local.datasets.drawn.canvas import BODY, HEAD, Pen, Point, fuzzy, mirrored, mix, oval, shade, smooth

Generator = np.random.Generator


def sitting(pen: Pen, breed: Breed, generator: Generator) -> None:
    """Draw a sitting animal from the front. It extends from y = 0 (the ground) to about -4.4."""
    body = pen.on(BODY)
    _tail(body, breed, [(0.9, -0.35), (1.7, -0.25), (2.1, -0.8), (1.9, -1.5)])
    for side in (-1, 1):
        _fur(body, breed, oval(side * 0.72, -0.62, 0.62, 0.72), shade(breed.coat, 0.94), generator)
        body.ellipse(side * 0.95, -0.14, 0.42, 0.2, breed.limbs)
    trunk = smooth(mirrored([(0, -3.1), (0.62, -2.6), (0.92, -1.3), (0.74, -0.25), (0, -0.12)]))
    _coat(body, breed, trunk, generator)
    _fur(body, breed, oval(0, -1.75, 0.46, 0.9), breed.chest, generator)
    for side in (-1, 1):
        _leg(body, breed, (side * 0.34, -1.5), (side * (0.36 + generator.uniform(0, 0.1)), -0.12))
    head(pen.at(generator.uniform(-0.15, 0.15), -3.35, turn=generator.normal(0, 0.14)), breed, generator)


def standing(pen: Pen, breed: Breed, generator: Generator) -> None:
    """Draw a standing animal from the side, looking at the viewer. It extends from x = -3 (tail) to 2.4 (nose)."""
    body = pen.on(BODY)
    height = -1.0 - breed.legs
    _tail(body, breed, [(-1.75, height - 0.35), (-2.4, height - 0.7), (-2.7, height - 1.4), (-2.3, height - 1.9)])
    swing = generator.uniform(-0.3, 0.3)
    for x, drift in ((-1.35, swing), (1.15, -swing)):
        _leg(body, breed, (x, height), (x + drift, -0.1), shade(breed.coat, 0.8), shade(breed.limbs, 0.84))
    trunk = smooth(
        [
            (-1.9, height - 0.5),
            (-1.2, height - 0.95),
            (0.2, height - 0.8),
            (1.3, height - 0.95),
            (1.75, height - 0.3),
            (1.4, height + 0.5),
            (0.2, height + 0.42),
            (-1.3, height + 0.48),
            (-1.95, height + 0.1),
        ]
    )
    _coat(body, breed, trunk, generator)
    _fur(body, breed, oval(1.32, height - 0.05, 0.36, 0.6), breed.chest, generator)
    for x, drift in ((-1.5, -swing), (1.25, swing)):
        _leg(body, breed, (x, height + 0.1), (x + drift, -0.06))
    head(pen.at(1.55, height - 1.35 + generator.uniform(-0.2, 0.3), turn=generator.normal(0, 0.16)), breed, generator)


def lying(pen: Pen, breed: Breed, generator: Generator) -> None:
    """Draw a lying animal with its front paws stretched out to the right."""
    body = pen.on(BODY)
    _tail(body, breed, [(-1.9, -0.4), (-2.6, -0.25), (-3.1, -0.45), (-3.3, -0.95)])
    trunk = smooth(
        [
            (-2.1, -0.6),
            (-1.6, -1.35),
            (-0.4, -1.35),
            (0.7, -1.6),
            (1.5, -1.2),
            (1.6, -0.35),
            (0.4, -0.06),
            (-1.4, -0.06),
        ]
    )
    _coat(body, breed, trunk, generator)
    _fur(body, breed, oval(-1.25, -0.6, 0.72, 0.56), shade(breed.coat, 0.95), generator)
    body.ellipse(-0.8, -0.12, 0.5, 0.17, breed.limbs)
    _fur(body, breed, oval(1.1, -0.85, 0.4, 0.56), breed.chest, generator)
    for drop in (-0.28, -0.1):
        reach = generator.uniform(2.0, 2.6)
        body.stroke([(0.9, drop - 0.1), (1.6, drop), (reach - 0.3, drop)], 0.36, breed.coat)
        body.ellipse(reach - 0.15, drop, 0.32, 0.18, breed.limbs)
    head(pen.at(0.95, -1.75 + generator.uniform(-0.3, 0.3), turn=generator.normal(0, 0.2)), breed, generator)


def portrait(pen: Pen, breed: Breed, generator: Generator) -> None:
    """Draw head and shoulders. The origin is at the base of the neck. The shoulders extend beyond the picture."""
    body = pen.on(BODY)
    shoulders = smooth(mirrored([(0, -1.7), (0.8, -1.3), (1.25, -0.3), (1.45, 1.4), (0, 2.2)]))
    _coat(body, breed, shoulders, generator)
    _fur(body, breed, oval(0, 0.1, 0.6, 1.2), breed.chest, generator)
    head(pen.at(generator.uniform(-0.12, 0.12), -1.65, turn=generator.normal(0, 0.2)), breed, generator)


POSES: dict[str, Callable[[Pen, Breed, Generator], None]] = {
    "sitting": sitting,
    "standing": standing,
    "lying": lying,
    "portrait": portrait,
}


def head(pen: Pen, breed: Breed, generator: Generator) -> None:
    """Draw a head of radius 1 with ears, from the front or turned slightly to one side."""
    pen = pen.on(HEAD)
    look = generator.uniform(-0.26, 0.26)
    wide = breed.head_width
    if breed.ear == "pointed":
        _pointed_ears(pen, breed, look)
    if breed.species == "cat":
        half = [(0, -0.84), (0.6 * wide, -0.74), (0.98 * wide, -0.1), (0.9 * wide, 0.36), (0.42, 0.8)]
    else:
        half = [(0, -0.92), (0.62 * wide, -0.76), (0.88 * wide, -0.1), (0.74 * wide, 0.5), (0.36, 0.94)]
    skull = smooth(mirrored(half))
    _fur(pen, breed, skull, breed.face, generator)
    with pen.inside(skull):
        _face_markings(pen.on(None), breed, look)
    if breed.species == "cat":
        _cat_face(pen, breed, look, generator)
    else:
        _dog_face(pen, breed, look, generator)
    if breed.ear in ("floppy", "button"):
        _hanging_ears(pen, breed, look)


def _pointed_ears(pen: Pen, breed: Breed, look: float) -> None:
    height = 1.38 if breed.species == "cat" else 1.22
    for side in (-1, 1):
        foot = side * 0.52 * breed.head_width + look * 0.3
        tip = side * 0.82 * breed.head_width + look * 0.2
        outer = smooth(
            [
                (foot - side * 0.42, -0.62),
                (tip - side * 0.12, -height),
                (tip + side * 0.06, -height * 0.96),
                (foot + side * 0.44, -0.28),
            ]
        )
        pen.polygon(outer, breed.ears)
        inner = [(x * 0.62 + foot * 0.38 + side * 0.03, y * 0.7 - 0.2) for x, y in outer]
        pen.polygon(inner, mix(breed.ears, (226, 150, 140), 0.55))


def _hanging_ears(pen: Pen, breed: Breed, look: float) -> None:
    drop = 0.75 if breed.ear == "floppy" else -0.12
    for side in (-1, 1):
        root = side * 0.7 * breed.head_width + look * 0.35
        if breed.ear == "floppy":
            points = [
                (root - side * 0.2, -0.68),
                (root + side * 0.28, -0.52),
                (root + side * 0.5, 0.15),
                (root + side * 0.36, drop),
                (root + side * 0.08, drop * 0.7),
                (root - side * 0.02, -0.1),
            ]
        else:
            points = [
                (root - side * 0.34, -0.78),
                (root + side * 0.14, -0.74),
                (root + side * 0.36, -0.34),
                (root + side * 0.14, drop),
                (root - side * 0.06, -0.42),
            ]
        pen.blob(points, breed.ears)
        pen.on(None).blob([(x * 0.9 + root * 0.1, y * 0.9 - 0.02) for x, y in points], shade(breed.ears, 1.12))


def _cat_face(pen: Pen, breed: Breed, look: float, generator: Generator) -> None:
    ink = pen.on(None)
    muzzle = breed.muzzle or breed.marking
    for side in (-1, 1):
        ink.ellipse(look + side * 0.2, 0.42, 0.27, 0.22, muzzle)
    ink.ellipse(look, 0.6, 0.2, 0.16, muzzle)
    blink = 0.12 if generator.uniform() < 0.12 else generator.uniform(0.8, 1.1)
    slit = generator.uniform(0.06, 0.16)
    for side in (-1, 1):
        x, y = look * 0.8 + side * 0.4, -0.06
        ink.ellipse(
            x,
            y,
            0.27,
            0.25 * blink,
            shade(breed.marking if breed.markings == "mask" else breed.face, 0.55),
            turn=side * 0.25,
        )
        ink.ellipse(x, y, 0.23, 0.21 * blink, breed.eye, turn=side * 0.25)
        ink.ellipse(x + look * 0.1, y, slit, 0.2 * blink, (18, 16, 18))
        ink.ellipse(x - 0.07, y - 0.07 * blink, 0.055, 0.055 * blink, (255, 255, 255))
    nose = (96, 70, 74) if breed.markings == "mask" or breed.name == "Russian_Blue" else (206, 112, 108)
    ink.blob([(look - 0.13, 0.25), (look + 0.13, 0.25), (look + 0.02, 0.39), (look - 0.02, 0.39)], nose)
    dark = shade(muzzle, 0.5)
    ink.thread([(look, 0.38), (look - 0.04, 0.52), (look - 0.2, 0.54)], 1.0, dark)
    ink.thread([(look, 0.38), (look + 0.04, 0.52), (look + 0.2, 0.54)], 1.0, dark)
    for side in (-1, 1):
        for rise in (-0.12, 0.0, 0.12):
            ink.thread(
                [(look + side * 0.34, 0.42 + rise * 0.4), (look + side * 1.05, 0.36 + rise * 1.8)], 0.5, (240, 240, 236)
            )


def _dog_face(pen: Pen, breed: Breed, look: float, generator: Generator) -> None:
    ink = pen.on(None)
    muzzle = breed.muzzle or breed.face
    flat = breed.name == "pug"
    if generator.uniform() < 0.4:
        pen.blob(mirrored([(0.15, 0.66), (0.13, 1.05), (0, 1.14)], look * 1.3), (224, 104, 112))
    pen.ellipse(look * 1.3, 0.44, 0.52 if flat else 0.4, 0.4, muzzle)
    for side in (-1, 1):
        x, y = look * 0.8 + side * (0.46 if flat else 0.36), -0.1
        size = 0.24 if flat else 0.17
        ink.ellipse(x, y, size * 1.22, size * 1.16, shade(breed.face, 0.7))
        ink.ellipse(x, y, size, size, breed.eye)
        ink.ellipse(x + look * 0.1, y, size * 0.66, size * 0.66, (16, 12, 12))
        ink.ellipse(x - 0.06, y - 0.07, 0.055, 0.055, (255, 255, 255))
        ink.ellipse(x + side * 0.02, y - 0.34, 0.12, 0.05, shade(breed.face, 0.86), turn=side * 0.3)
    nose = (30, 26, 28)
    ink.ellipse(look * 1.4, 0.2 if flat else 0.26, 0.19, 0.14, nose)
    ink.ellipse(look * 1.4 - 0.05, (0.2 if flat else 0.26) - 0.05, 0.06, 0.03, (150, 146, 150))
    dark = shade(muzzle, 0.45)
    smile = -0.1 if breed.name == "samoyed" else 0.06
    ink.thread([(look * 1.4, 0.36), (look * 1.35, 0.6)], 1.2, dark)
    for side in (-1, 1):
        x = look * 1.32
        ink.thread([(x, 0.6), (x + side * 0.16, 0.66), (x + side * 0.34, 0.62 + smile)], 1.4, dark)


def _face_markings(ink: Pen, breed: Breed, look: float) -> None:
    if breed.markings == "mask":
        edge = mix(breed.face, breed.marking, 0.6)
        ink.blob(mirrored([(0, -0.5), (0.5, -0.2), (0.56, 0.4), (0, 0.86)], look), edge)
        ink.blob(mirrored([(0, -0.34), (0.4, 0.0), (0.4, 0.5), (0, 0.8)], look), breed.marking)
    elif breed.markings == "saddle":
        ink.blob(mirrored([(0, -1.1), (0.16, -0.5), (0.22, 0.3), (0, 0.9)], look), breed.chest)
    elif breed.markings == "spots":
        for side in (-1, 1):
            for index, x in enumerate((0.08, 0.26, 0.46)):
                ink.stroke(
                    [(look * 0.6 + side * x, -0.9), (look * 0.6 + side * (x + 0.04), -0.42 - 0.04 * index)],
                    0.09,
                    breed.marking,
                    taper=0.4,
                )
            ink.stroke([(look * 0.5 + side * 0.62, 0.04), (side * 1.0, 0.14)], 0.09, breed.marking, taper=0.5)
            ink.stroke([(look * 0.5 + side * 0.6, 0.28), (side * 0.95, 0.42)], 0.08, breed.marking, taper=0.5)
    elif breed.markings == "wrinkles":
        muzzle = mix(breed.face, breed.marking, 0.8)
        ink.blob(mirrored([(0, -0.2), (0.5, 0.1), (0.64, 0.6), (0, 1.0)], look), muzzle)
        for rise in (-0.66, -0.5, -0.36):
            ink.thread(mirrored([(-0.3, rise + 0.04), (0, rise - 0.06)], look), 1.4, shade(breed.face, 0.66))


def _coat(pen: Pen, breed: Breed, outline: Sequence[Point], generator: Generator) -> None:
    """Draw the trunk with the breed's pattern."""
    _fur(pen, breed, outline, breed.coat, generator)
    if breed.markings not in ("saddle", "spots"):
        return
    points = np.asarray(outline)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    with pen.inside(outline):
        ink = pen.on(None)
        if breed.markings == "saddle":
            ink.ellipse((left + right) / 2, top, (right - left) * 0.42, (bottom - top) * 0.52, breed.marking)
            return
        for _ in range(46):
            x, y = generator.uniform(left, right), generator.uniform(top, bottom)
            size, turn = generator.uniform(0.1, 0.19), generator.uniform(0, math.pi)
            ink.ellipse(x, y, size * 1.3, size, breed.marking, turn)
            ink.ellipse(x, y, size * 0.6, size * 0.4, mix(breed.coat, breed.marking, 0.35), turn)


def _fur(pen: Pen, breed: Breed, outline: Sequence[Point], colour: tuple[int, int, int], generator: Generator) -> None:
    """Draw a part with the breed's fur along its outline."""
    pen.polygon(fuzzy(outline, breed.fur, 26, generator), colour)
    pen.polygon(outline, colour)


def _leg(
    pen: Pen,
    breed: Breed,
    top: Point,
    foot: Point,
    coat: tuple[int, int, int] | None = None,
    paw: tuple[int, int, int] | None = None,
) -> None:
    """Draw a leg from `top` to the middle of the paw. The lower half blends into the paw's colour."""
    coat, paw = coat or breed.coat, paw or breed.limbs
    knee = ((top[0] + foot[0]) / 2, (top[1] + foot[1]) / 2)
    thick = 0.46 + breed.fur
    pen.stroke([top, knee], thick, coat, taper=0.9)
    pen.stroke([knee, foot], thick * 0.9, mix(coat, paw, 0.7), taper=0.85)
    pen.ellipse(foot[0] + 0.06, foot[1], 0.32, 0.19, paw)


def _tail(pen: Pen, breed: Breed, path: Sequence[Point]) -> None:
    """Draw the tail in the breed's style along `path`."""
    (x, y), (x2, _) = path[0], path[1]
    if breed.tail == "curl":
        side = 1 if x2 > x else -1
        pen.stroke(
            [(x, y - 0.3), (x + side * 0.4, y - 0.6), (x + side * 0.1, y - 0.9), (x - side * 0.1, y - 0.55)],
            0.3,
            shade(breed.coat, 0.92),
        )
    elif breed.tail == "plume":
        pen.stroke(path, 0.62, breed.coat)
        pen.stroke(path[1:], 0.8, shade(breed.coat, 0.97), taper=0.7)
    elif breed.tail == "up":
        side = 1 if x2 > x else -1
        rise = [(x, y), (x + side * 0.3, y - 0.7), (x + side * 0.36, y - 1.5)]
        pen.stroke(rise, 0.32, breed.marking, taper=0.7)
        pen.stroke([rise[2], (x + side * 0.3, y - 1.75)], 0.24, breed.limbs, taper=0.6)
    else:
        pen.stroke(path, 0.32, breed.coat, taper=0.8)
        pen.stroke(path[2:], 0.27, breed.limbs, taper=0.8)
