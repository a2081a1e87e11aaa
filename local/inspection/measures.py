"""Numbers of a census that its charts show."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from local.datasets.dataset import TRAIN
from local.inspection.census import Census
from local.inspection.charts import Point
from serve.words import plural

_POINTS = 400
_GRID = 28


def median_size(census: Census) -> tuple[int, int] | None:
    """Median width and height in pixels of all photos; None without any."""
    if not census.photos:
        return None
    width, height = np.median([photo.size for photo in census.photos], axis=0).round().astype(int).tolist()
    return width, height


def sizes(census: Census) -> list[Point]:
    """The sizes of the photos with how many have each, the commonest."""
    counts = Counter(photo.size for photo in census.photos)
    common = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:_POINTS]
    return [(*size, count, f"{size[0]} x {size[1]}: {plural(count, 'photo')}") for size, count in common]


def box_sizes(census: Census) -> list[Point]:
    """Widths and heights of boxes in whole percents of their photo, with how many have each, the commonest."""
    boxes = census.boxes()
    counts = Counter(map(tuple, np.rint(100 * (boxes[:, 3:] - boxes[:, 1:3])).astype(int).tolist()))
    common = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:_POINTS]
    return [(wide, high, count, f"{wide} x {high} %: {count}") for (wide, high), count in common]


def coverage(census: Census) -> NDArray[np.float64]:
    """Which share of all boxes covers each cell of a photo: float64 (n, n), rows from the top."""
    edges = np.arange(_GRID + 1) / _GRID
    total = np.zeros((_GRID, _GRID))
    boxes = census.boxes().astype(np.float64)
    for part in np.array_split(boxes, max(1, len(boxes) // 1000)):
        across, down = (
            np.clip(np.minimum(edges[1:], part[:, [high]]) - np.maximum(edges[:-1], part[:, [low]]), 0, None) * _GRID
            for low, high in ((1, 3), (2, 4))
        )
        total += down.T @ across
    return total / max(len(boxes), 1)


def chosen_classes(census: Census, most: int) -> list[int]:
    """All labels, or `most` of them: the commonest in training and the rarest, in the order of the labels."""
    if census.classes <= most:
        return list(range(census.classes))
    amounts = census.amounts(TRAIN)
    order = sorted(range(census.classes), key=lambda label: (-amounts[label], label))
    return sorted([*order[: most // 2], *order[-(most - most // 2) :]])
