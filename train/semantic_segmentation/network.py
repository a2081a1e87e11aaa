"""FCN, PSP and DeepLabV3 on a dilated ResNet v1b, built from those parts of GluonCV that accept any backbone.

FCN on ResNet-18, which the built-in does not have, is for CPUs. Its ResNet is not dilated, which is faster, and its
head reads all stages (docs/semantic-segmentation.md has the numbers). Its logits have half the side of the picture;
those of the other networks have an eighth.

At construction, GluonCV fixes the size of the maps that PSP pools and enlarges. Here it is set when a graph is traced,
so that the same weights can train on crops and predict whole photos.
"""

from typing import Any

from gluoncv.model_zoo.deeplabv3 import _ASPP
from gluoncv.model_zoo.fcn import _FCNHead
from mxnet import gluon
from mxnet.gluon import nn

from train.gluon import resnet
from train.gluon.start import start
from train.semantic_segmentation.enlarge import enlarge

_LAYERS = {"resnet-18": 18, "resnet-50": 50, "resnet-101": 101}
# Channels of stages three and four.
_WIDTHS = {"resnet-18": (256, 512), "resnet-50": (1024, 2048), "resnet-101": (1024, 2048)}
PRETRAINED = {"resnet-18": "resnet18", "resnet-50": "resnet50", "resnet-101": "resnet101"}
"""Names of the weight files (train/weights/files.py)."""

_STRIDE = 8  # of a dilated ResNet, in pixels
# Channels of the maps that Skips adds, from a 16th of the side to a half, and of the convolution of each sum.
_SUMS = ((64, 64), (64, 64), (64, 32), (32, 32))
_BINS = (1, 2, 3, 6)  # PSP's pyramid: Zhao et al. 2017, figure 3
_RATES = (12, 24, 36)  # DeepLabV3's, for a stride of 8: Chen et al. 2017, section 3.3
_HEAD_RATE = 10  # times the learning rate of a pretrained backbone, as in GluonCV's segmentation models


class Segmenter(gluon.HybridBlock):
    """All weights: the layers of a ResNet, with the names in its weight files, a main head and an auxiliary head.

    For training, it maps pictures (N, 3, S, S) to the logits of both heads, float32 (N, K, S / 8, S / 8) each. If the
    ResNet is not dilated, they are (N, K, S / 2, S / 2) from the main head and (N, K, S / 16, S / 16) from the
    auxiliary head.

    `auxiliary` is the weight of the auxiliary loss: 0.5, as in GluonCV's segmentation script, or 0.1 if the main head
    reads every stage and so needs less help.
    """

    def __init__(self, algorithm: str, backbone: str, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        third, fourth = _WIDTHS[backbone]
        fine = (algorithm, backbone) == ("fcn", "resnet-18")
        with self.name_scope():
            whole = resnet.build(_LAYERS[backbone], from_identity=not fine, dilated=not fine)
            for name in resnet.LAYERS:
                setattr(self, name, getattr(whole, name))
            self.head = Skips(classes) if fine else _HEADS[algorithm](fourth, classes)
            self.auxlayer = _FCNHead(third, classes)
        self.auxiliary = 0.1 if fine else 0.5

    def hybrid_forward(self, F: Any, x: Any) -> tuple[Any, Any]:
        stages = self.stages(x)
        return self.main(stages), self.auxlayer(stages[-2])

    def main(self, stages: tuple[Any, ...]) -> Any:
        """Return the main head's logits, given the output of `stages`."""
        return self.head(*stages) if isinstance(self.head, Skips) else self.head(stages[-1])

    def stages(self, x: Any) -> tuple[Any, ...]:
        """Return the output of the first convolution and of stages one to four for pictures (N, 3, S, S).

        Their sides are S / 2, S / 4 and S / 8, then S / 16 and S / 32, or S / 8 twice if the ResNet is dilated, all
        rounded up.
        """
        outputs = [self.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(outputs[0])
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            outputs.append(x)
        return tuple(outputs)


class InferenceNet(gluon.HybridBlock):
    """A Segmenter without its auxiliary head, for pictures of `side` pixels: maps (N, 3, S, S) to logits.

    If `plain`, pooling is built from operators that ONNX has.
    """

    def __init__(self, net: Segmenter, side: int, plain: bool = False) -> None:
        super().__init__(prefix=net.prefix)
        self.net, self._side, self._plain = net, side, plain

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        set_map(self.net, self._side, self._plain)
        return self.net.main(self.net.stages(x))


def speed_up_heads(net: Segmenter) -> None:
    """Raise the learning rate of the heads, which start from random weights, above that of a pretrained backbone.

    If the backbone also starts from random weights, the same rate for all is better (mIOU 0.63 instead of 0.61).
    """
    for head in (net.head, net.auxlayer):
        head.collect_params().setattr("lr_mult", _HEAD_RATE)


def set_map(net: Segmenter, side: int, plain: bool = False) -> None:
    """Prepare the head of `net` for tracing a graph for pictures of `side` pixels; see InferenceNet for `plain`."""
    if isinstance(net.head, Psp):
        net.head.set_map(side // _STRIDE, plain)


class Skips(gluon.HybridBlock):
    """A head that reads all stages of a ResNet that is not dilated: it enlarges coarse maps and adds finer ones.

    These are the skips of FCN-8s (Long et al. 2015, section 4.2), continued up to half the picture's side. As in
    feature pyramid networks (Lin et al. 2017, section 3), it adds features, not logits, and each sum goes through a
    convolution. Maps are enlarged by repeating their cells, which is cheap. Only the last step, to the photo's size, is
    bilinear.
    """

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.coarsest = _convolution(_SUMS[0][0], 1)
            self.finer, self.merge = nn.HybridSequential(prefix="finer_"), nn.HybridSequential(prefix="merge_")
            for width, merged in _SUMS:
                self.finer.add(_convolution(width, 1))
                self.merge.add(_convolution(merged, 3))
            self.scores = nn.Conv2D(classes, 1)

    def hybrid_forward(self, F: Any, *stages: Any) -> Any:
        x = self.coarsest(stages[-1])
        for stage, finer, merge in zip(stages[-2::-1], self.finer, self.merge, strict=True):
            added = finer(stage)
            # If the finer map has an odd number of cells, the coarser one has half, rounded up.
            enlarged = F.slice_like(F.UpSampling(x, scale=2, sample_type="nearest"), added, axes=(2, 3))
            x = merge(enlarged + added)
        return self.scores(x)


class Psp(gluon.HybridBlock):
    """Pyramid pooling (Zhao et al. 2017, section 3.2), like GluonCV's _PSPHead, for a backbone of any width."""

    def __init__(self, width: int, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._cells, self._plain = 0, False
        with self.name_scope():
            self.levels = nn.HybridSequential(prefix="levels_")
            for _ in _BINS:
                self.levels.add(_convolution(width // len(_BINS), 1))
            self.block = _last_layers(512, classes)

    def set_map(self, cells: int, plain: bool) -> None:
        """Set the side of the map, in cells; see the function of the same name."""
        self._cells, self._plain = cells, plain

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        maps = [x]
        for bins, level in zip(_BINS, self.levels, strict=True):
            small = level(self._pool(F, x, bins))
            maps.append(self._enlarged(F, small))
        return self.block(F.concat(*maps, dim=1))

    def _enlarged(self, F: Any, x: Any) -> Any:
        if not self._plain:
            return enlarge(F, x, self._cells, align_corners=True)
        return F.contrib.BilinearResize2D(x, height=self._cells, width=self._cells)

    def _pool(self, F: Any, x: Any, bins: int) -> Any:
        """Average the map over `bins` x `bins` windows, which overlap unless its side is a multiple of `bins`."""
        if not self._plain:
            return F.contrib.AdaptiveAvgPooling2D(x, output_size=bins)
        ends = [(number * self._cells // bins, -(-(number + 1) * self._cells // bins)) for number in range(bins)]
        for axis in (2, 3):  # rows, then columns: the mean over a window is separable
            parts = []
            for begin, end in ends:
                part = F.slice_axis(x, axis=axis, begin=begin, end=end)
                kernel = (end - begin, 1) if axis == 2 else (1, end - begin)
                parts.append(F.Pooling(part, kernel=kernel, pool_type="avg"))
            x = F.concat(*parts, dim=axis)
        return x


class DeepLab(gluon.HybridBlock):
    """Atrous spatial pyramid pooling (Chen et al. 2017), like GluonCV's _DeepLabHead, for a backbone of any width."""

    def __init__(self, width: int, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.aspp = _ASPP(width, _RATES, norm_layer=nn.BatchNorm, norm_kwargs=None)
            self.block = _last_layers(256, classes)
        pooling = self.aspp.concurent[-1]
        # Replaces BilinearResize2D, whose gradient is not deterministic; see train/semantic_segmentation/enlarge.py.
        pooling.hybrid_forward = lambda F, x: F.broadcast_like(pooling.gap(x), x, lhs_axes=(2, 3), rhs_axes=(2, 3))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.block(self.aspp(x))


_HEADS = {"fcn": _FCNHead, "psp": Psp, "deeplab": DeepLab}


def _convolution(filters: int, kernel: int) -> nn.HybridSequential:
    block = nn.HybridSequential()
    block.add(nn.Conv2D(filters, kernel, padding=kernel // 2, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
    return block


def _last_layers(filters: int, classes: int) -> nn.HybridSequential:
    block = nn.HybridSequential()
    block.add(_convolution(filters, 3), nn.Dropout(0.1), nn.Conv2D(classes, 1))
    return block


def build(algorithm: str, backbone: str, classes: int, seed: int) -> Segmenter:
    """Return the initialised network."""
    net = Segmenter(algorithm, backbone, classes, prefix="segmenter_")
    side = 8 * _STRIDE  # any value: the shapes of the weights do not depend on it
    set_map(net, side)
    start(net, seed, channels=3, side=side)
    return net
