"""Bilinear enlargement as a matrix product, for training.

MXNet's BilinearResize2D computes the same values, but its gradient has a race: threads add to the same cell at once.
Two runs with the same seed therefore differ, and some contributions are lost.
"""

from typing import Any


def enlarge(F: Any, x: Any, side: int, align_corners: bool) -> Any:
    """Enlarge maps, float32 (N, K, H, W), to (N, K, side, side), like BilinearResize2D."""
    for axis in (3, 2):
        weights = F.BlockGrad(_weights(F, F.contrib.arange_like(x, axis=axis), side, align_corners))
        x = F.dot(x, weights) if axis == 3 else F.swapaxes(F.dot(F.swapaxes(x, 2, 3), weights), 2, 3)
    return x


def _weights(F: Any, cells: Any, side: int, align_corners: bool) -> Any:
    """Return the weights (cells, side) of each old cell in each new cell. `cells` are the indices of the old cells."""
    last = F.max(cells)
    if align_corners:
        place = F.broadcast_mul(F.arange(side) / max(side - 1, 1), last)
    else:  # the centres of both grids coincide
        place = F.broadcast_mul((F.arange(side) + 0.5) / side, last + 1) - 0.5
        place = F.maximum(F.broadcast_minimum(place, last), 0)
    distance = F.broadcast_sub(F.expand_dims(cells, 1), F.expand_dims(place, 0))
    return F.maximum(1 - F.abs(distance), 0)
