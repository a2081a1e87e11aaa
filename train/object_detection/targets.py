"""Compute each anchor's training target: SSD's matching and box encoding (Liu et al. 2016, section 2.2). NumPy only."""

import numpy as np
from numpy.typing import NDArray

from train.object_detection.boxes import overlaps

VARIANCES = (0.1, 0.1, 0.2, 0.2)
"""Divisors of the offsets of the centre (two, in anchor sizes) and of the logarithm of the size (two)."""

MATCHED = 0.5
"""The minimum IoU at which an anchor is matched with a box."""


def assign(anchors: NDArray[np.float32], boxes: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the target of each anchor: classes float32 (A,) and offsets float32 (A, 4).

    `anchors` are float32 (A, 4): centre x, centre y, width, height. `boxes` are float32 (n, 5): class, xmin, ymin,
    xmax, ymax, with a positive area. Both are in fractions. A target class is 0 for background and k + 1 for class k;
    the offsets of background are 0.

    First, the anchor and box with the largest overlap are matched, then the best remaining pair, and so on until each
    box has an anchor. Other anchors are matched with their best box if they overlap it exactly as much as its best
    anchor does, or by at least MATCHED.
    """
    classes, offsets = np.zeros(len(anchors), np.float32), np.zeros((len(anchors), 4), np.float32)
    if not len(boxes):
        return classes, offsets
    half = anchors[:, 2:] / 2
    corners = np.concatenate([anchors[:, :2] - half, anchors[:, :2] + half], axis=1)
    match = _match(overlaps(boxes[:, 1:], corners))
    positive = np.flatnonzero(match >= 0)
    matched = boxes[match[positive]]
    classes[positive] = matched[:, 0] + 1
    offsets[positive] = encode(anchors[positive], matched[:, 1:])
    return classes, offsets


def encode(anchors: NDArray[np.float32], corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the offsets, float32 (n, 4), from anchors (n, 4) to corners (n, 4) with a positive area."""
    size = corners[:, 2:] - corners[:, :2]
    centre = corners[:, :2] + size / 2
    shift, stretch = (centre - anchors[:, :2]) / anchors[:, 2:], np.log(size / anchors[:, 2:])
    offsets, variances = np.concatenate([shift, stretch], axis=1, dtype=np.float32), np.array(VARIANCES, np.float32)
    return offsets / variances


def _match(overlap: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the index of each anchor's box, or -1, int (A,), from overlaps (n, A)."""
    count, anchors = overlap.shape
    best_box = overlap.argmax(axis=0)
    best = overlap[best_box, np.arange(anchors)]
    best_of_box = overlap.max(axis=1)
    match = np.where((best >= MATCHED) | ((best > 0) & (best >= best_of_box[best_box])), best_box, -1)
    # Bipartite matching: repeatedly take the best free pair. A box needs another anchor only if its best was taken.
    free = overlap.copy() if count > 1 else overlap
    choice, value = free.argmax(axis=1), best_of_box.copy()
    for _ in range(count):
        box = int(value.argmax())
        if value[box] <= 0:
            break
        anchor = choice[box]
        match[anchor] = box
        value[box] = -1
        free[:, anchor] = -1
        for other in np.flatnonzero((choice == anchor) & (value > 0)):
            choice[other] = free[other].argmax()
            value[other] = free[other, choice[other]]
    return match
