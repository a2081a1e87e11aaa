"""Single-shot detectors (SSD, Liu et al. 2016) on ResNet v1b or VGG-16, built from parts of GluonCV.

The ResNet detectors follow the layout of MXNet's SSD example, which the built-in is based on: predictions from stages
three and four and from four more maps, each half the size of the previous one, with anchors from a tenth of the picture
to the whole picture. For pictures below 256 pixels, they begin at stage two, so that the maps are about as fine as at
300 pixels. The VGG detector is GluonCV's `ssd_300_vgg16_atrous_voc`, with seven maps from 448 pixels on.
"""

import math
from dataclasses import dataclass
from typing import Any

import mxnet as mx
import numpy as np
from gluoncv.model_zoo.ssd.vgg_atrous import VGGAtrousExtractor
from gluoncv.nn.predictor import ConvPredictor
from mxnet import gluon
from mxnet.gluon import nn
from numpy.typing import NDArray

from train.gluon import resnet
from train.gluon.start import start
from train.object_detection.targets import VARIANCES

_RESNETS = {"resnet-18": 18, "resnet-50": 50}
PRETRAINED = {"resnet-18": "resnet18", "resnet-50": "resnet50", "vgg-16": "vgg16"}
"""Names of the weight files (train/weights/files.py)."""

_VGG_STAGES = ([2, 2, 3, 3, 3], [64, 128, 256, 512, 512])
_SIZES_300, _SIZES_512 = [0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05], [0.1, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05]
_SMALL = 256  # below this, stage two of a ResNet is about as fine as stage three at 300 pixels
_LARGE_VGG = 448  # from this side on, VGG has a seventh map, as in the paper's SSD512
# The maximum logarithm of a box's side divided by its anchor's. Anchors are at least a tenth of the picture, so no box
# needs a factor of 20. Larger values are overflows of an untrained network.
_MAX_LOG_SIZE = 3.0
_FEW, _MANY = (1.0, 2.0, 0.5), (1.0, 2.0, 0.5, 3.0, 1 / 3)


@dataclass(frozen=True)
class Map:
    """One map of predictions: its side in cells, the sides of its square anchors in fractions, and aspect ratios."""

    cells: int
    size: float
    next_size: float
    ratios: tuple[float, ...]

    @property
    def anchors(self) -> int:
        """The number of anchors in each cell."""
        return 1 + len(self.ratios)


def maps(base_network: str, side: int) -> list[Map]:
    """Return the prediction maps of a detector for pictures of `side` pixels.

    Anchor sizes are those of MXNet's SSD example (ResNet) and of Liu et al. 2016, as in GluonCV's 300 and 512 (VGG).
    """
    if base_network in _RESNETS:
        cells = [_ceil_div(side, 8 if side < _SMALL else 16)]
        for _ in range(5):
            cells.append(_ceil_div(cells[-1], 2))
        sizes = [0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 0.961]
    else:
        cells = [_ceil_div(side, 8), _ceil_div(side, 16)]
        for block in _vgg_extras(side):
            _, kernel, stride, padding = block[1]
            cells.append((cells[-1] + 2 * padding - kernel) // stride + 1)
        sizes = _SIZES_512 if side >= _LARGE_VGG else _SIZES_300
    last = len(cells) - 2
    ratios = [_MANY if 0 < number < last else _FEW for number in range(len(cells))]
    return [Map(*row) for row in zip(cells, sizes[:-1], sizes[1:], ratios, strict=True)]


def _ceil_div(cells: int, factor: int) -> int:
    """Return ceil(cells / factor): the side of a map after padded layers with this stride."""
    return -(-cells // factor)


def _vgg_extras(side: int) -> list[tuple[tuple[int, int, int, int], tuple[int, int, int, int]]]:
    """Return the layers after VGG-16: for each map, (filters, kernel, stride, padding) of its two convolutions.

    They halve the map while it is even or large, and then shrink it to one cell. At 300 and 512 pixels they are
    GluonCV's.
    """
    cells, count = _ceil_div(side, 16), 5 if side >= _LARGE_VGG else 4
    extras = []
    for number in range(count):
        squeeze, filters = (256, 512) if number == 0 else (128, 256)
        if cells == 1:
            shape = (filters, 1, 1, 0)
        elif cells == 2 or (cells == 4 and number == count - 1):
            shape = (filters, 4, 1, 1) if cells == 2 else (filters, 4, 1, 0)
        elif cells > 5 or cells % 2 == 0:
            shape = (filters, 3, 2, 1)
        else:
            shape = (filters, 3, 1, 0)
        cells = (cells + 2 * shape[3] - shape[1]) // shape[2] + 1
        extras.append(((squeeze, 1, 1, 0), shape))
    return extras


def anchors(base_network: str, side: int) -> NDArray[np.float32]:
    """Return all anchors, float32 (A, 4): centre x, centre y, width, height in fractions of the picture.

    Each cell has a square of the map's size, a square of the geometric mean with the next map's size, and the other
    ratios (width / height) at the map's size. The order is map, row, column, anchor, like the flattened predictions.
    """
    by_map = []
    for level in maps(base_network, side):
        shapes = [(level.size, level.size), (math.sqrt(level.size * level.next_size),) * 2]
        shapes += [(level.size * math.sqrt(r), level.size / math.sqrt(r)) for r in level.ratios[1:]]
        centres = (np.arange(level.cells) + 0.5) * _step(level.cells, side)
        y, x, shape = np.meshgrid(centres, centres, np.arange(len(shapes)), indexing="ij")
        sizes = np.array(shapes)[shape]
        by_map.append(np.stack([x, y, sizes[..., 0], sizes[..., 1]], axis=-1).reshape(-1, 4))
    return np.concatenate(by_map).astype(np.float32)


def _step(cells: int, side: int) -> float:
    """Return the distance between two cells as a fraction of the picture; if possible, a power of two in pixels."""
    power = 2 ** round(math.log2(side / cells))
    return power / side if side <= power * cells < 1.1 * side else 1 / cells


class ResNetFeatures(gluon.HybridBlock):
    """The stages of a ResNet, with the names in its weight files, and smaller maps after them."""

    def __init__(self, base_network: str, side: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._small = side < _SMALL
        with self.name_scope():
            whole = resnet.build(_RESNETS[base_network])
            for name in resnet.LAYERS:
                setattr(self, name, getattr(whole, name))
            self.extras = nn.HybridSequential(prefix="extras_")
            with self.extras.name_scope():
                for filters in (512, 256, 256) if self._small else (512, 256, 256, 128):
                    self.extras.add(_extra(max(128, filters // 2), filters))

    def hybrid_forward(self, F: Any, x: Any) -> list[Any]:
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        outputs = []
        for stage in (self.layer2, self.layer3, self.layer4, *self.extras):
            x = stage(x)
            outputs.append(x)
        return outputs if self._small else outputs[1:]


def _extra(squeeze: int, filters: int) -> nn.HybridSequential:
    """Return the layers of a map with half the side: a 1 x 1 convolution, then 3 x 3 with stride 2."""
    block = nn.HybridSequential()
    for channels, kernel, stride, padding in ((squeeze, 1, 1, 0), (filters, 3, 2, 1)):
        block.add(nn.Conv2D(channels, kernel, stride, padding, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
    return block


class Predictor(gluon.HybridBlock):
    """Maps pictures, float32 (N, 3, S, S), to logits (N, A, K + 1), background first, and box offsets (N, A, 4)."""

    def __init__(self, base_network: str, classes: int, side: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            if base_network in _RESNETS:
                self.features = ResNetFeatures(base_network, side, prefix="features_")
            else:
                self.features = VGGAtrousExtractor(*_VGG_STAGES, _vgg_extras(side), prefix="features_")
                # GluonCV multiplies the input by 57 for weights from Caffe. With our initial weights, or torchvision's,
                # the kernels after it would learn 57 x 57 times as fast as the others.
                self.features.init_scale.value[:] = 1
            self.classes = nn.HybridSequential(prefix="classes_")
            self.boxes = nn.HybridSequential(prefix="boxes_")
            for heads, outputs in ((self.classes, classes + 1), (self.boxes, 4)):
                with heads.name_scope():
                    for level in maps(base_network, side):
                        heads.add(ConvPredictor(level.anchors * outputs, kernel=(3, 3), pad=(1, 1)))
                        # Small initial weights, so that no prediction is confident at the start.
                        heads[-1].predictor.weight.init = mx.init.Normal(0.01)
        self._outputs = classes + 1

    def hybrid_forward(self, F: Any, x: Any) -> tuple[Any, Any]:
        features = self.features(x)
        return self._flat(F, features, self.classes, self._outputs), self._flat(F, features, self.boxes, 4)

    @staticmethod
    def _flat(F: Any, features: list[Any], heads: nn.HybridSequential, width: int) -> Any:
        """Return the predictions of all maps as (N, A, width)."""
        flat = [
            F.flatten(F.transpose(head(feature), (0, 2, 3, 1))) for feature, head in zip(features, heads, strict=True)
        ]
        return F.reshape(F.concat(*flat, dim=1), (0, -1, width))


class Detector(gluon.HybridBlock):
    """The served network: maps pictures, float32 (N, 3, S, S), to scores (N, A, K) and boxes (N, A, 4).

    Scores are the softmax without the background. Boxes are corners in fractions of the picture (xmin, ymin, xmax,
    ymax), not clipped. Training uses `predictor`. Non-maximum suppression is not part of the graph.
    """

    def __init__(self, base_network: str, classes: int, side: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.predictor = Predictor(base_network, classes, side, prefix="")
            self.anchors = self.params.get_constant("anchors", anchors(base_network, side)[None])

    def hybrid_forward(self, F: Any, x: Any, anchors: Any) -> tuple[Any, Any]:
        logits, offsets = self.predictor(x)
        scores = F.slice_axis(F.softmax(logits, axis=-1), axis=-1, begin=1, end=None)
        return scores, self._decoded(F, offsets, anchors)

    @staticmethod
    def _decoded(F: Any, offsets: Any, anchors: Any) -> Any:
        """Return corners (N, A, 4) from offsets and anchors (1, A, 4), the inverse of targets.encode.

        GluonCV's decoder is equivalent, but one of its operators is fused, and another, split, exports to invalid ONNX.
        """
        anchor, anchor_size = (F.slice_axis(anchors, axis=-1, begin=begin, end=begin + 2) for begin in (0, 2))
        shift, stretch = (F.slice_axis(offsets, axis=-1, begin=begin, end=begin + 2) for begin in (0, 2))
        centre = F.broadcast_add(F.broadcast_mul(shift * VARIANCES[0], anchor_size), anchor)
        size = F.exp(F.clip(stretch * VARIANCES[2], -_MAX_LOG_SIZE, _MAX_LOG_SIZE))
        half = F.broadcast_mul(size, anchor_size) * 0.5
        return F.concat(centre - half, centre + half, dim=-1)


def build(base_network: str, classes: int, side: int, seed: int) -> Detector:
    """Return an initialised detector for pictures of `side` pixels."""
    net = Detector(base_network, classes, side, prefix="ssd_")
    start(net, seed, channels=3, side=side)
    net.hybridize(static_alloc=True, static_shape=True)
    return net
