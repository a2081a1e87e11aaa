"""Weight files: the tensors of each network, their names in different formats, and how to read and check files.

This module uses torchvision's tensor names, which are also timm's except for the last layers. The networks built from
GluonCV's parts have the same layers, so all algorithms can use the same file. A `Family` defines the mapping of names.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.errors import UserError

BATCH_COUNT = "num_batches_tracked"  # a counter in PyTorch's BatchNorm, which is not a weight
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Family:
    """The tensor names of a family of networks, in torchvision's files, in other files and in our networks.

    `layout` returns the shapes of a network's tensors below its head, by torchvision name, starting with the kernel of
    the first convolution. `head` has the layers above, which jobs do not load, and their names in other libraries;
    `keeps_head` says whether converted files include them. `gluoncv_name` maps a torchvision name to the structural
    name in a network built from GluonCV's parts, and `filled` matches the structural names that a file must set.
    `scope` returns the prefix of a layer in MXNet's numbered names, such as `layers1_conv`.
    """

    layout: Callable[[str], Shapes]
    head: Mapping[str, tuple[str, ...]]
    keeps_head: bool
    gluoncv_name: Callable[[str], str]
    filled: re.Pattern[str]
    scope: Callable[[str], str]


# --- ResNets: GluonCV's v1b, dilated or not ---

# Convolutions per block, blocks per stage: He et al. 2016, table 1; 200: He et al., "Identity Mappings", 2016.
_RESNETS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "resnet18": (2, (2, 2, 2, 2)),
    "resnet34": (2, (3, 4, 6, 3)),
    "resnet50": (3, (3, 4, 6, 3)),
    "resnet101": (3, (3, 4, 23, 3)),
    "resnet152": (3, (3, 8, 36, 3)),
    "resnet200": (3, (3, 24, 36, 3)),
}
_NORM = re.compile(r"(^|\.)(bn\d|downsample\.1)$")


def _resnet_layout(network: str) -> Shapes:
    convolutions, stages = _RESNETS[network]
    shapes = _normalised("conv1", "bn1", 64, 3, 7)
    channels = 64
    for stage, blocks in enumerate(stages):
        width = 64 << stage
        out = width * (4 if convolutions == 3 else 1)
        for block in range(blocks):
            at = f"layer{stage + 1}.{block}."
            sizes = [(width, 1), (width, 3), (out, 1)] if convolutions == 3 else [(width, 3), (out, 3)]
            into = channels
            for number, (count, kernel) in enumerate(sizes, 1):
                shapes |= _normalised(f"{at}conv{number}", f"{at}bn{number}", count, into, kernel)
                into = count
            if block == 0 and (stage > 0 or channels != out):
                shapes |= _normalised(f"{at}downsample.0", f"{at}downsample.1", out, channels, 1)
            channels = out
    return shapes


def _normalised(conv: str, norm: str, out: int, into: int, kernel: int) -> Shapes:
    """Return the tensors of a convolution without bias and of the normalisation after it."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{conv}.weight": (out, into, kernel, kernel)} | {f"{norm}.{part}": (out,) for part in parts}


def gluoncv_name(name: str) -> str:
    """Return the structural name in a GluonCV v1b ResNet for a tensor's torchvision `name`."""
    layer, _, part = name.rpartition(".")
    if _NORM.search(layer):
        part = {"weight": "gamma", "bias": "beta"}.get(part, part)
    return f"{layer}.{part}"


def _resnet_scope(layer: str) -> str:
    stage = ("down" if ".downsample." in layer else "layers") + layer[5] + "_" if layer[:5] == "layer" else ""
    return stage + ("batchnorm" if _NORM.search(layer) else "conv")


_RESNET = Family(
    layout=_resnet_layout,
    head={"fc": ()},
    keeps_head=True,
    gluoncv_name=gluoncv_name,
    filled=re.compile(r"(conv|bn|layer)\d"),
    scope=_resnet_scope,
)

# --- VGG-16: the five stages that GluonCV's VGGAtrousExtractor shares with the classifier ---

# Channels and convolutions per stage: Simonyan and Zisserman 2015, table 1, column D.
_VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def _vgg_layers() -> dict[str, tuple[str, int]]:
    """Return the name in our network and the number of channels of each of torchvision's convolutions.

    Both count activations as layers. torchvision also counts pooling layers; our count restarts in each stage.
    """
    layers = {}
    index = 0
    for stage, (channels, count) in enumerate(_VGG16):
        for number in range(count):
            layers[f"features.{index}"] = (f"stages.{stage}.{2 * number}", channels)
            index += 2
        index += 1
    return layers


def _vgg_layout(network: str) -> Shapes:
    shapes: Shapes = {}
    into = 3
    for layer, (_, out) in _vgg_layers().items():
        shapes |= {f"{layer}.weight": (out, into, 3, 3), f"{layer}.bias": (out,)}
        into = out
    return shapes


def _vgg_gluoncv_name(name: str) -> str:
    layer, _, part = name.rpartition(".")
    return f"{_vgg_layers()[layer][0]}.{part}"


_VGG = Family(
    layout=_vgg_layout,
    head={
        "classifier.0": ("pre_logits.fc1", "features.31"),  # timm's name, Gluon's name
        "classifier.3": ("pre_logits.fc2", "features.33"),
        "classifier.6": ("head.fc", "output"),
    },
    keeps_head=False,  # the head is nine tenths of the file, and no network here has these layers
    gluoncv_name=_vgg_gluoncv_name,
    filled=re.compile(r"stages\.[0-4]\."),
    scope=lambda layer: "conv",
)

# --- Names ---

NETWORKS: dict[str, Family] = {**dict.fromkeys(_RESNETS, _RESNET), "vgg16": _VGG}


def source(network: str) -> str:
    """Describe where to get a weight file of `network`, for messages. See also docs/pretrained.md."""
    if network == "resnet200":
        return "with the tensors of timm's resnet200 (no published file is known)"
    return f"such as model.safetensors of huggingface.co/timm/{network}.tv_in1k"


def family_of(network: str) -> Family:
    """Return the family of `network`. Raises UserError if there are no pretrained weights for it."""
    if network not in NETWORKS:
        raise UserError(
            f"{network} has no pretrained weights: they exist for {', '.join(NETWORKS)}; use one of these, or set "
            "use_pretrained_model=0"
        )
    return NETWORKS[network]


def layout(network: str) -> Shapes:
    """Return the shape of every tensor of `network` below its head, by torchvision name, in torchvision's order.

    Convolutions are (out, in, height, width), biases and normalisation (channels,). Raises UserError if there are no
    pretrained weights for `network`.
    """
    return family_of(network).layout(network)


def head(network: str) -> tuple[str, ...]:
    """Return the torchvision names of the head's tensors, in torchvision's order."""
    return tuple(f"{layer}.{part}" for layer in family_of(network).head for part in ("weight", "bias"))


def _body(names: Iterable[str], network: str) -> set[str]:
    """Return the torchvision names in a file, except batch counts and the head of `network`."""
    above = head(network)
    return {name for name in names if name not in above and not name.endswith(BATCH_COUNT)}


def _identify(names: Iterable[str]) -> str | None:
    """Return the network whose tensors have these torchvision names, or None."""
    names = list(names)
    return next((network for network in NETWORKS if _body(names, network) == layout(network).keys()), None)


def _counted_names(network: str) -> dict[str, str]:
    """Map MXNet's numbered names, such as `layers1_conv0_weight` in exported .params files, to torchvision's names."""
    family = family_of(network)
    counts: Counter[str] = Counter()
    scopes: dict[str, str] = {}
    names = {}
    for name in (*layout(network), *head(network)):
        layer, _, part = name.rpartition(".")
        if layer not in scopes:
            kind = "dense" if layer in family.head else family.scope(layer)
            scopes[layer] = f"{kind}{counts[kind]}"
            counts[kind] += 1
        counted_part = part if layer in family.head else family.gluoncv_name(name).rpartition(".")[2]
        names[f"{scopes[layer]}_{counted_part}"] = name
    return names


def _torchvision_names(names: Iterable[str], network: str) -> dict[str, str]:
    """Map a file's `names` to torchvision names; unknown names are unchanged.

    The names are interpreted as those of the network that they match, or of `network` if they match none.
    """
    names = list(names)
    for candidate in (network, *NETWORKS):
        mapping = _names_in(names, candidate)
        if _body(mapping.values(), candidate) == layout(candidate).keys():
            return mapping
    return _names_in(names, network)


def _names_in(names: list[str], network: str) -> dict[str, str]:
    """Map `names` to torchvision names, assuming that the file is for `network`."""
    bare_names = {name: name.removeprefix("arg:").removeprefix("aux:") for name in names}
    if any("." in bare for bare in bare_names.values()):
        return {name: _dotted_name(bare, network) for name, bare in bare_names.items()}
    stem = min((bare for bare in bare_names.values() if bare.endswith("conv0_weight")), key=len, default="")
    prefix = stem.removesuffix("conv0_weight")  # the prefix of the saved network, such as `resnetv1b_`
    counted = _counted_names(network)
    return {name: counted.get(bare.removeprefix(prefix), bare) for name, bare in bare_names.items()}


def _dotted_name(name: str, network: str) -> str:
    layer, dot, part = name.rpartition(".")
    ours = next((ours for ours, others in family_of(network).head.items() if layer in others), layer)
    return ours + dot + {"gamma": "weight", "beta": "bias"}.get(part, part)


# --- Reading ---


def read(file: Path, network: str) -> dict[str, NDArray[Any]]:
    """Return the tensors of a .safetensors or .params file, by torchvision name, as the file stores them.

    The format is detected from the content, not from the file's name. Reading .params files requires MXNet. Raises
    UserError for any other format. PyTorch pickles are never opened; the error says how to convert one.
    """
    with file.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"\x12\x01" + bytes(6)):  # MXNet's kMXAPINDArrayListMagic, 0x112
        tensors = _read_params(file)
    elif start[8:9] == b"{":  # the safetensors format: a length of eight bytes, then JSON
        tensors = _read_safetensors(file)
    else:
        raise UserError(_refusal(file, start))
    names = _torchvision_names(tensors, network)
    return {names[name]: tensor for name, tensor in tensors.items()}


def _read_safetensors(file: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError, safe_open  # not installed, and not needed, in TensorFlow's environment

    tensors = {}
    try:
        with safe_open(file, framework="numpy") as content:
            for name in content.keys():  # noqa: SIM118 (not a mapping: it has no __iter__)
                dtype = content.get_slice(name).get_dtype()
                if dtype not in ("F16", "F32", "F64", "I64"):
                    raise UserError(f"{file} stores {name} as {dtype}: save it as float32 (PyTorch: `tensor.float()`)")
                tensors[name] = content.get_tensor(name)
    except SafetensorError as error:
        raise UserError(f"{file} is damaged or incomplete ({error}): copy or download it again") from None
    return tensors


def _read_params(file: Path) -> dict[str, NDArray[Any]]:
    import mxnet as mx

    try:
        loaded = mx.nd.load(str(file))
    except mx.base.MXNetError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{file} is damaged or incomplete ({reason}): copy or download it again") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{file} contains arrays without names: save it with Gluon's save_parameters or export")
    return {name: array.asnumpy() for name, array in loaded.items()}


def _refusal(file: Path, start: bytes) -> str:
    """Return the message for an unsupported file: its format, from its first bytes, and the fix."""
    if start.startswith(b"PK\x03\x04"):
        return _zip_refusal(file)
    if start.startswith(b"\x80"):
        return pickle_refusal(file)
    for signature, what in (
        (b"\x1f\x8b", "a gzip archive: unpack it and provide the weight file inside"),
        (b"\x89HDF", "a Keras file, but this is an MXNet network: provide a .safetensors or .params file"),
        (b"version https://git-lfs", "a Git LFS pointer, not the weights: run `git lfs pull` where it came from"),
    ):
        if start.startswith(signature):
            return f"{file} is {what}"
    return f"{file} is neither .safetensors nor .params (it starts with {start[:8]!r}): provide one of these"


def _zip_refusal(file: Path) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            pickled = any(name.endswith("data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile as error:
        return f"{file} is a damaged or incomplete zip archive ({error}): copy or download it again"
    return (
        pickle_refusal(file) if pickled else f"{file} is a zip archive: unpack it and provide the .params file inside"
    )


def pickle_refusal(file: Path) -> str:
    """Return the message for a PyTorch pickle, with two lines of code to convert it."""
    return (
        f"{file} is a PyTorch pickle, which is not supported because it can run code when it is opened: use these two "
        "lines, where PyTorch is installed, to convert it to .safetensors:\n"
        "    import torch, safetensors.torch\n"
        f'    safetensors.torch.save_file(torch.load("{file.name}", weights_only=True), "{file.stem}.safetensors")'
    )


# --- Checking ---


def check(tensors: Mapping[str, NDArray[Any]], network: str, file: Path) -> dict[str, NDArray[np.float32]]:
    """Return the tensors below the head as float32, after checking their names, shapes and values.

    `tensors` are by torchvision name; `file` is for messages. Raises UserError if a tensor of `network` is missing or
    has the wrong shape, if there is an unknown tensor, or if a value is not finite.
    """
    shapes = layout(network)
    if _body(tensors, network) != shapes.keys():
        raise UserError(_mismatch(tensors, network, file))
    checked = {}
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise UserError(f"{file} is not {network}: {name} has shape {tensors[name].shape} instead of {shape}")
        checked[name] = np.ascontiguousarray(tensors[name], np.float32)
        if not np.isfinite(checked[name]).all() or (name.endswith("running_var") and checked[name].min() < 0):
            raise UserError(f"{file} has values in {name} that are not finite or a negative variance: use another copy")
    return checked


def _mismatch(names: Iterable[str], network: str, file: Path) -> str:
    actual_network = _identify(names)
    if actual_network:
        return (
            f"{file} contains {actual_network}, but the job needs {network}: provide {network}'s file, or train "
            f"{actual_network}"
        )
    actual, expected = _body(names, network), layout(network).keys()
    lists = [("it lacks", expected - actual), ("it also has", actual - expected)]
    difference = "; ".join(
        f"{what} {', '.join(sorted(tensors)[:3])} ({len(tensors)} in all)" for what, tensors in lists if tensors
    )
    return (
        f"{file} is not {network} with torchvision's or timm's tensor names: {difference}; provide a file "
        f"{source(network)}"
    )
