"""The layer names that `freeze_layer_pattern` matches: those of MXNet's public VGG-16 and ResNet-50 symbol files.

Users know them from the built-in: `conv1_1_weight`, `stage1_unit1_conv1_weight`. The layers of SSD itself are called
`extra1_conv1_weight`, `predictor1_classes_weight` and `predictor1_boxes_weight` here.
"""

import re

from mxnet import gluon

from train.errors import UserError
from train.log import LOG
from train.object_detection.hyperparameters import Hyperparameters

_VGG_STAGE = (2, 2, 3, 3, 3)
_RESNET = (
    (r"conv1\.(.+)", r"conv0_\1"),
    (r"bn1\.(.+)", r"bn0_\1"),
    (r"layer(\d)\.(\d+)\.downsample\.0\.(.+)", r"stage\1_unit{0}_sc_\3"),
    (r"layer(\d)\.(\d+)\.downsample\.1\.(.+)", r"stage\1_unit{0}_sc_bn_\3"),
    (r"layer(\d)\.(\d+)\.((?:conv|bn)\d)\.(.+)", r"stage\1_unit{0}_\3_\4"),
)


def public_name(name: str) -> str:
    """Return the public name of a parameter, given its name in the detector (`predictor.features.conv1.weight`)."""
    inner = name.removeprefix("predictor.").removeprefix("features.")
    for structural, public in _RESNET:
        if matched := re.fullmatch(structural, inner):
            text = matched.expand(public)
            return text.format(int(matched[2]) + 1) if "{0}" in text else text
    if matched := re.fullmatch(r"stages\.(\d)\.(\d+)\.(.+)", inner):
        stage, layer, part = int(matched[1]), int(matched[2]) // 2, matched[3]  # every second layer is an activation
        return f"conv{stage + 1}_{layer + 1}_{part}" if stage < len(_VGG_STAGE) else f"fc{6 + layer}_{part}"
    if matched := re.fullmatch(r"extras\.(\d+)\.(\d+)\.(.+)", inner):
        return _extra(int(matched[1]) + 1, int(matched[2]), matched[3])
    if matched := re.fullmatch(r"(classes|boxes)\.(\d+)\.predictor\.(.+)", inner):
        return f"predictor{int(matched[2]) + 1}_{matched[1]}_{matched[3]}"
    return {"norm4.scale": "relu4_3_scale"}.get(inner, inner)


def _extra(number: int, layer: int, part: str) -> str:
    """Return the name of a parameter in an extra map.

    Its two convolutions are layers 0 and 2 without BatchNorm, or layers 0 and 3, each followed by its BatchNorm.
    """
    kind = "conv" if part in ("weight", "bias") else "bn"
    return f"extra{number}_{kind}{1 if layer < 2 else 2}_{part}"


def freeze(net: gluon.HybridBlock, hp: Hyperparameters) -> None:
    """Freeze the layers that `freeze_layer_pattern` matches. Raises UserError if it matches no layer or all layers."""
    if not hp.freeze_layer_pattern:
        return
    named = {public_name(name): parameter for name, parameter in net._collect_params_with_prefix().items()}
    named = {name: parameter for name, parameter in named.items() if parameter.grad_req != "null"}
    frozen = [name for name in named if hp.freezes(name)]
    if not frozen:
        examples = list(named)[:: max(1, len(named) // 12)]
        raise UserError(
            f"hyperparameter freeze_layer_pattern={hp.freeze_layer_pattern!r} matches no layer of "
            f"{hp.base_network}: it must match the start of names such as {', '.join(examples)}"
        )
    if len(frozen) == len(named):
        raise UserError(
            f"hyperparameter freeze_layer_pattern={hp.freeze_layer_pattern!r} matches all {len(named)} parameters, "
            "so nothing is left to train: match only the first layers, for example with ^(conv0|stage1_)"
        )
    for name in frozen:
        named[name].grad_req = "null"
    LOG.info("freeze_layer_pattern freezes %d of %d parameters: %s", len(frozen), len(named), ", ".join(frozen))
