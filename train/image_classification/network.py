"""The networks: GluonCV's v1b ResNets for photos, and its CIFAR ResNets for images of about 28 x 28 pixels."""

import mxnet as mx
from gluoncv.model_zoo import cifarresnet
from mxnet import gluon

from train.gluon import resnet
from train.gluon.start import start


def name(num_layers: int) -> str:
    """Return the network's name: `resnet50` or, for small images, `cifar_resnet20`."""
    return f"resnet{num_layers}" if num_layers in resnet.UNITS else f"cifar_resnet{num_layers}"


def build(num_layers: int, classes: int, channels: int, seed: int) -> gluon.HybridBlock:
    """Return the initialised network: float32 (N, channels, H, W) in, logits float32 (N, classes) out."""
    if num_layers in resnet.UNITS:
        net = resnet.build(num_layers, classes)
        last = net.fc
    else:
        depth = (num_layers - 2) // 6  # three stages of two-convolution blocks: He et al. 2016, section 4.2
        net = cifarresnet.CIFARResNetV1(
            cifarresnet.CIFARBasicBlockV1, [depth] * 3, [16, 16, 32, 64], classes=classes, prefix="resnet_"
        )
        last = net.output
    last.weight.init = mx.init.Uniform(0.07)
    start(net, seed, channels, side=64)
    net.hybridize(static_alloc=True, static_shape=True)
    return net
