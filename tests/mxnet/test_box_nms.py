"""Compares serve.tasks.detection with MXNet's box_nms, called as in GluonCV's SSD, on random proposals."""

import mxnet as mx
import numpy as np
import pytest

from serve.artifact import Nms
from serve.tasks import detection


def proposals(anchors: int, classes: int, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (anchors, classes) without ties above `floor`, and boxes (anchors, 4), both float32."""
    random = np.random.default_rng(0)
    scores = ((random.permutation(anchors * classes) + 1) / (anchors * classes)).astype(np.float32)
    scores = (scores**4).reshape(anchors, classes)  # mostly low, as in a network
    assert len(np.unique(scores[scores > floor])) == (scores > floor).sum()
    # The boxes surround a few objects, so many overlap. Some extend beyond the image.
    centres = random.random((8, 2))[random.integers(0, 8, anchors)] + random.normal(0, 0.03, (anchors, 2))
    sides = random.uniform(0.2, 0.5, (anchors, 2))
    return scores, np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32)


def by_mxnet(scores: np.ndarray, boxes: np.ndarray, nms: Nms) -> np.ndarray:
    """Return detections as serve.tasks.detection.select does, float32 (d, 6)."""
    rows = []
    for index in range(scores.shape[1]):
        kept = scores[:, index] > nms.score_floor
        identity, score = np.where(kept, index, -1), np.where(kept, scores[:, index], 0)
        rows.append(np.column_stack([identity, score, boxes]).astype(np.float32))
    suppressed = mx.nd.contrib.box_nms(
        mx.nd.array(np.concatenate(rows)),
        overlap_thresh=nms.threshold,
        topk=nms.top_k,
        valid_thresh=nms.score_floor,
        id_index=0,
        score_index=1,
        coord_start=2,
        force_suppress=False,
    ).asnumpy()
    suppressed = suppressed[suppressed[:, 0] >= 0]
    suppressed[:, 2:] = suppressed[:, 2:].clip(0, 1)
    return suppressed


@pytest.mark.parametrize(
    ("anchors", "classes", "nms"),
    [
        (60, 1, Nms(0.45, 400, 0.01)),
        (400, 3, Nms(0.45, 400, 0.01)),
        (3000, 20, Nms(0.45, 400, 0.01)),
        (3000, 2, Nms(0.3, 100, 0.2)),
        (500, 4, Nms(0.7, 50, 0.5)),
    ],
)
def test_detections_match_mxnets_box_nms(anchors: int, classes: int, nms: Nms) -> None:
    scores, boxes = proposals(anchors, classes, nms.score_floor)
    selected = detection.select(scores, boxes, nms)
    assert 0 < len(selected) < nms.top_k
    np.testing.assert_allclose(selected, by_mxnet(scores, boxes, nms), atol=1e-6)
