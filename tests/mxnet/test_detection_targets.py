"""The targets of the anchors, compared with GluonCV's and with the network's decoding."""

import mxnet as mx
import numpy as np
import pytest
from gluoncv.model_zoo.ssd.target import SSDTargetGenerator

from tests.mxnet.detection import drawn_boxes
from train.object_detection import network
from train.object_detection.targets import VARIANCES, assign, encode

ANCHORS = network.anchors("resnet-18", 300)


def gluoncv_targets(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return GluonCV's targets for boxes (n, 5): classes (A,) and offsets (A, 4)."""
    generator = SSDTargetGenerator(iou_thresh=0.5, stds=VARIANCES, negative_mining_ratio=-1)
    predictions = mx.nd.zeros((1, len(ANCHORS), 21))
    classes, offsets, _ = generator(
        mx.nd.array(ANCHORS[None]), predictions, mx.nd.array(boxes[None, :, 1:]), mx.nd.array(boxes[None, :, :1])
    )
    return classes.asnumpy()[0], offsets.asnumpy()[0]


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param([[3, 0.2, 0.2, 0.6, 0.7]], id="one box"),
        pytest.param([[0, 0.2, 0.2, 0.6, 0.7], [1, 0.21, 0.2, 0.6, 0.7]], id="two boxes that match the same anchor"),
        pytest.param([[7, 0.4, 0.4, 0.6, 0.6], [7, 0.1, 0.4, 0.3, 0.6]], id="equal overlaps"),
        pytest.param([[1, 0.501, 0.501, 0.509, 0.509]], id="far smaller than any anchor"),
        pytest.param([[0, 0, 0, 1, 1], [19, 0.9, 0.9, 1, 1]], id="the whole picture"),
    ],
)
def test_targets_match_gluoncvs(boxes: list[list[float]]) -> None:
    assert_matches_gluoncv(np.array(boxes, np.float32))


def test_targets_of_random_boxes_match_gluoncvs() -> None:
    rng = np.random.default_rng(3)
    matched = sum(assert_matches_gluoncv(drawn_boxes(rng, int(rng.integers(1, 20)))) for _ in range(60))
    assert matched > 900


def assert_matches_gluoncv(boxes: np.ndarray) -> int:
    """Compare the targets of `boxes` (n, 5) and return the number of matched anchors."""
    (classes, offsets), (expected_classes, expected_offsets) = assign(ANCHORS, boxes), gluoncv_targets(boxes)
    np.testing.assert_array_equal(classes, expected_classes)
    np.testing.assert_allclose(offsets, expected_offsets, rtol=0, atol=1e-4)  # float32 logarithms divided by 0.2
    return int((classes > 0).sum())


def test_the_network_decodes_encoded_targets() -> None:
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 0.6, (len(ANCHORS), 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, (len(ANCHORS), 2))], axis=1).astype(np.float32)
    offsets = encode(ANCHORS, boxes)
    decoded = network.Detector._decoded(mx.nd, mx.nd.array(offsets[None]), mx.nd.array(ANCHORS[None])).asnumpy()[0]
    np.testing.assert_allclose(decoded, boxes, rtol=0, atol=1e-5)
