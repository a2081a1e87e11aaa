"""Bilinear enlargement as a product of matrices, for training.

MXNet's BilinearResize2D gives the same numbers, but its gradient does not: threads add to the same cell at once, so two
runs of a job with the same seed differ, and now and then a contribution is lost.
"""

from typing import Any


def enlarge(F: Any, x: Any, side: int, align_corners: bool) -> Any:
    """Return maps (N, K, H, W), float32, enlarged to (N, K, side, side) as BilinearResize2D enlarges them."""
    for axis in (3, 2):
        weights = F.BlockGrad(_weights(F, F.contrib.arange_like(x, axis=axis), side, align_corners))
        x = F.dot(x, weights) if axis == 3 else F.swapaxes(F.dot(F.swapaxes(x, 2, 3), weights), 2, 3)
    return x


def _weights(F: Any, cells: Any, side: int, align_corners: bool) -> Any:
    """Return (cells, side): how much of each old cell, numbered from 0 by `cells`, is in each of `side` new ones."""
    last = F.max(cells)
    if align_corners:
        place = F.broadcast_mul(F.arange(side) / max(side - 1, 1), last)
    else:  # the centres of both grids lie on each other
        place = F.broadcast_mul((F.arange(side) + 0.5) / side, last + 1) - 0.5
        place = F.maximum(F.broadcast_minimum(place, last), 0)
    distance = F.broadcast_sub(F.expand_dims(cells, 1), F.expand_dims(place, 0))
    return F.maximum(1 - F.abs(distance), 0)
