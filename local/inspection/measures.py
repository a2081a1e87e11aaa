"""Statistics of a census for the charts."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from local.datasets.dataset import TRAIN
from local.inspection.census import Census
from local.inspection.charts import Point
from serve.words import plural

_MAX_POINTS = 400
_GRID = 28


def median_size(census: Census) -> tuple[int, int] | None:
    """Return the median width and height of all photos in pixels; None if there are no photos."""
    if not census.photos:
        return None
    width, height = np.median([photo.size for photo in census.photos], axis=0).round().astype(int).tolist()
    return width, height


def sizes(census: Census) -> list[Point]:
    """Return the most common photo sizes and their counts."""
    counts = Counter(photo.size for photo in census.photos)
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_POINTS]
    return [(*size, count, f"{size[0]} x {size[1]}: {plural(count, 'photo')}") for size, count in common]


def box_sizes(census: Census) -> list[Point]:
    """Return the most common box sizes, in whole percent of the photo's width and height, and their counts."""
    boxes = census.boxes()
    counts = Counter(map(tuple, np.rint(100 * (boxes[:, 3:] - boxes[:, 1:3])).astype(int).tolist()))
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_POINTS]
    return [(width, height, count, f"{width} x {height} %: {count}") for (width, height), count in common]


def coverage(census: Census) -> NDArray[np.float64]:
    """Return the fraction of boxes that cover each cell of a grid on the photo: float64 (n, n), rows from the top."""
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


def shown_classes(census: Census, limit: int) -> list[int]:
    """Return all labels, or `limit` of them, sorted: the most common and the rarest of the train channel."""
    if census.num_classes <= limit:
        return list(range(census.num_classes))
    amounts = census.amounts(TRAIN)
    order = sorted(range(census.num_classes), key=lambda label: (-amounts[label], label))
    return sorted([*order[: limit // 2], *order[-(limit - limit // 2) :]])
