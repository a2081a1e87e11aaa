"""The ResNets that all MXNet algorithms use: GluonCV's v1b, so that they all can use the same weight files."""

from typing import Any

import mxnet as mx
from gluoncv.model_zoo import resnetv1b

# Blocks per stage. 18 to 152: He et al. 2016, table 1. 200 (not in GluonCV): He et al., "Identity Mappings", 2016.
UNITS = {
    18: (resnetv1b.BasicBlockV1b, [2, 2, 2, 2]),
    34: (resnetv1b.BasicBlockV1b, [3, 4, 6, 3]),
    50: (resnetv1b.BottleneckV1b, [3, 4, 6, 3]),
    101: (resnetv1b.BottleneckV1b, [3, 4, 23, 3]),
    152: (resnetv1b.BottleneckV1b, [3, 8, 36, 3]),
    200: (resnetv1b.BottleneckV1b, [3, 24, 36, 3]),
}
LAYERS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
"""The children of a ResNet below its classifier, in order. The names in a weight file start with them."""


def build(num_layers: int, classes: int = 1, from_identity: bool = True, **kwargs: Any) -> resnetv1b.ResNetV1b:
    """Return an uninitialised ResNet of `num_layers` layers, one of UNITS; `kwargs` are those of GluonCV's ResNetV1b.

    With `from_identity`, every block starts as the identity: the scale of its last BatchNorm is initialised to zero
    (Goyal et al. 2017, section 5.1). Without it, a classifier learns 300 photos far more slowly.
    """
    block, layers = UNITS[num_layers]
    net = resnetv1b.ResNetV1b(block, layers, classes=classes, name_prefix="resnet_", **kwargs)
    if not from_identity:
        return net
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        for unit in stage:
            (unit.bn3 if hasattr(unit, "bn3") else unit.bn2).gamma.init = mx.init.Zero()
    return net
