"""The networks: GluonCV's v1b ResNets for photos, its CIFAR ResNets for images of about 28 x 28 pixels."""

import mxnet as mx
from gluoncv.model_zoo import cifarresnet, resnetv1b
from mxnet import gluon

# Blocks a stage. 18 to 152: He et al. 2016, table 1. 200 is not in GluonCV's zoo: He et al., "Identity Mappings", 2016.
_PHOTO = {
    18: (resnetv1b.BasicBlockV1b, [2, 2, 2, 2]),
    34: (resnetv1b.BasicBlockV1b, [3, 4, 6, 3]),
    50: (resnetv1b.BottleneckV1b, [3, 4, 6, 3]),
    101: (resnetv1b.BottleneckV1b, [3, 4, 23, 3]),
    152: (resnetv1b.BottleneckV1b, [3, 8, 36, 3]),
    200: (resnetv1b.BottleneckV1b, [3, 24, 36, 3]),
}


def name(num_layers: int) -> str:
    """Return the network's name: `resnet50` or, for small images, `cifar_resnet20`."""
    return f"resnet{num_layers}" if num_layers in _PHOTO else f"cifar_resnet{num_layers}"


def build(num_layers: int, classes: int, channels: int, seed: int) -> gluon.HybridBlock:
    """Return the initialised network: float32 (N, channels, H, W) in, logits float32 (N, classes) out.

    Convolutions start as He et al. 2015 advise for ReLU networks. In the ResNets for photos every block starts as the
    identity: the scale of its last BatchNorm is zero (Goyal et al. 2017, section 5.1), without which 300 photos are
    learnt far more slowly.
    """
    mx.random.seed(seed)
    if num_layers in _PHOTO:
        block, layers = _PHOTO[num_layers]
        net = resnetv1b.ResNetV1b(block, layers, classes=classes, name_prefix="resnet_")
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            for unit in stage:
                (unit.bn3 if hasattr(unit, "bn3") else unit.bn2).gamma.init = mx.init.Zero()
        last = net.fc
    else:
        depth = (num_layers - 2) // 6  # three stages of two-convolution blocks: He et al. 2016, section 4.2
        net = cifarresnet.CIFARResNetV1(
            cifarresnet.CIFARBasicBlockV1, [depth] * 3, [16, 16, 32, 64], classes=classes, prefix="resnet_"
        )
        last = net.output
    last.weight.init = mx.init.Uniform(0.07)
    net.initialize(mx.init.MSRAPrelu(slope=0.0))
    net(mx.nd.zeros((1, channels, 64, 64)))  # shapes of the first layer depend on the number of channels
    net.hybridize(static_alloc=True, static_shape=True)
    return net
