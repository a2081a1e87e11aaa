"""Weight files: which tensors a network has, what the formats call them, reading and checking them.

Tensors go by torchvision's names, which timm shares up to the last layers. The networks made of GluonCV's parts have
the same layers, so one file serves every algorithm; a `Family` holds the whole mapping.
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

BATCH_COUNT = "num_batches_tracked"  # how many batches PyTorch's normalisation has seen; no weight
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Family:
    """What the networks of one family call their tensors, in torchvision's files, in others' and in our networks.

    `layout` returns the shapes of a network's tensors below its head, by torchvision name, the first convolution's
    kernel first. `head` holds the layers above, which no job takes from a file, and what other libraries call each;
    `keeps_head` says whether a converted file takes them along. `gluoncv_name` returns the structural name, in a
    network made of GluonCV's parts, of the tensor that torchvision calls so, and `filled` matches the names there
    that a file must set. `scope` returns how MXNet's counted names begin for a layer: `layers1_conv`.
    """

    layout: Callable[[str], Shapes]
    head: Mapping[str, tuple[str, ...]]
    keeps_head: bool
    gluoncv_name: Callable[[str], str]
    filled: re.Pattern[str]
    scope: Callable[[str], str]


# --- ResNets: GluonCV's v1b, dilated or not ---

# Convolutions a block, blocks a stage: He et al. 2016, table 1; 200: He et al., "Identity Mappings", 2016.
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
    """Return the structural name, in a GluonCV v1b ResNet, of the tensor that torchvision calls `name`."""
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

# --- VGG-16: the five stages of GluonCV's VGGAtrousExtractor that the classifier also has ---

# Channels and convolutions of a stage: Simonyan and Zisserman 2015, table 1, column D.
_VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def _vgg_layers() -> dict[str, tuple[str, int]]:
    """Return the name in our network and the channels of each of torchvision's convolutions.

    Both sides count the activations as layers of their own; torchvision also counts the poolings, ours starts again in
    each stage.
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
    keeps_head=False,  # nine tenths of the file, and no network here has these layers
    gluoncv_name=_vgg_gluoncv_name,
    filled=re.compile(r"stages\.[0-4]\."),
    scope=lambda layer: "conv",
)

# --- Names ---

NETWORKS: dict[str, Family] = {**dict.fromkeys(_RESNETS, _RESNET), "vgg16": _VGG}


def source(network: str) -> str:
    """Return words that say of a weight file of `network` where one comes from; docs/pretrained.md says more."""
    if network == "resnet200":
        return "with the tensors of timm's resnet200 (none is known to be published)"
    return f"such as model.safetensors of huggingface.co/timm/{network}.tv_in1k"


def family_of(network: str) -> Family:
    """Return the family of `network`. Raises UserError for a network that has no pretrained weights."""
    if network not in NETWORKS:
        raise UserError(
            f"{network} has no pretrained weights: they exist for {', '.join(NETWORKS)}; ask for one of these, or set "
            "use_pretrained_model=0"
        )
    return NETWORKS[network]


def layout(network: str) -> Shapes:
    """Return the shape of every tensor of `network` below its head, by torchvision name, in torchvision's order.

    Convolutions are (out, in, height, width), biases and normalisation (channels,). Raises UserError for a network
    that has no pretrained weights.
    """
    return family_of(network).layout(network)


def head(network: str) -> tuple[str, ...]:
    """Return torchvision's names of the tensors above those of `layout`, in torchvision's order."""
    return tuple(f"{layer}.{part}" for layer in family_of(network).head for part in ("weight", "bias"))


def _body(names: Iterable[str], network: str) -> set[str]:
    """Return those of a file's torchvision names that are neither batch counts nor of the head of `network`."""
    above = head(network)
    return {name for name in names if name not in above and not name.endswith(BATCH_COUNT)}


def _holds(names: Iterable[str]) -> str | None:
    """Return the network whose tensors have these torchvision names, None if none has."""
    names = list(names)
    return next((network for network in NETWORKS if _body(names, network) == layout(network).keys()), None)


def _counted_names(network: str) -> dict[str, str]:
    """Return torchvision names by the names that MXNet counts: `layers1_conv0_weight`, as in exported .params files."""
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
    """Return the torchvision name of each of a file's `names`; one that says nothing to us stays as it is.

    They are read as the names of the network that they fit, and as those of `network` when they fit none.
    """
    names = list(names)
    for candidate in (network, *NETWORKS):
        found = _names_in(names, candidate)
        if _body(found.values(), candidate) == layout(candidate).keys():
            return found
    return _names_in(names, network)


def _names_in(names: list[str], network: str) -> dict[str, str]:
    """Return the torchvision name of each of `names`, read as those of a file of `network`."""
    bare = {name: name.removeprefix("arg:").removeprefix("aux:") for name in names}
    if any("." in name for name in bare.values()):
        return {name: _dotted_name(said, network) for name, said in bare.items()}
    stem = min((said for said in bare.values() if said.endswith("conv0_weight")), key=len, default="")
    prefix = stem.removesuffix("conv0_weight")  # the name of the network that was saved: `resnetv1b_`
    counted = _counted_names(network)
    return {name: counted.get(said.removeprefix(prefix), said) for name, said in bare.items()}


def _dotted_name(said: str, network: str) -> str:
    layer, dot, part = said.rpartition(".")
    ours = next((ours for ours, others in family_of(network).head.items() if layer in others), layer)
    return ours + dot + {"gamma": "weight", "beta": "bias"}.get(part, part)


# --- Reading ---


def read(file: Path, network: str) -> dict[str, NDArray[Any]]:
    """Return the tensors of a .safetensors or .params file, by torchvision name, as the file stores them.

    The bytes say which format it is, whatever its name. `.params` needs MXNet in this interpreter. Raises UserError for
    a file that is neither, and, with the way out, for a PyTorch pickle, which is never opened.
    """
    with file.open("rb") as opened:
        head = opened.read(64)
    if head.startswith(b"\x12\x01" + bytes(6)):  # MXNet's kMXAPINDArrayListMagic, 0x112
        tensors = _read_params(file)
    elif head[8:9] == b"{":  # eight bytes of length, then JSON: the safetensors format
        tensors = _read_safetensors(file)
    else:
        raise UserError(_no_weight_file(file, head))
    names = _torchvision_names(tensors, network)
    return {names[name]: tensor for name, tensor in tensors.items()}


def _read_safetensors(file: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError, safe_open  # TensorFlow's environment has it not, and no such files

    tensors = {}
    try:
        with safe_open(file, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 (not a mapping: it has no __iter__)
                dtype = opened.get_slice(name).get_dtype()
                if dtype not in ("F16", "F32", "F64", "I64"):
                    raise UserError(f"{file} stores {name} as {dtype}: save it as float32 (PyTorch: `tensor.float()`)")
                tensors[name] = opened.get_tensor(name)
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
        raise UserError(f"{file} holds arrays without names: save it with Gluon's save_parameters or export")
    return {name: array.asnumpy() for name, array in loaded.items()}


def _no_weight_file(file: Path, head: bytes) -> str:
    """Return what a file is that is no weight file of ours, judged by its first bytes, and what to do instead."""
    if head.startswith(b"PK\x03\x04"):
        return _zip_refusal(file)
    if head.startswith(b"\x80"):
        return pickle_refusal(file)
    for start, what in (
        (b"\x1f\x8b", "a gzip archive: unpack it and give the weight file inside"),
        (b"\x89HDF", "a Keras file, and this network is MXNet's: give a .safetensors or .params file"),
        (b"version https://git-lfs", "a Git LFS pointer and not the weights: run `git lfs pull` where it came from"),
    ):
        if head.startswith(start):
            return f"{file} is {what}"
    return f"{file} is neither .safetensors nor .params (it starts with {head[:8]!r}): give one of these"


def _zip_refusal(file: Path) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            pickled = any(name.endswith("data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile as error:
        return f"{file} is a damaged or incomplete zip archive ({error}): copy or download it again"
    return pickle_refusal(file) if pickled else f"{file} is a zip archive: unpack it and give the .params file inside"


def pickle_refusal(file: Path) -> str:
    """Return why a PyTorch pickle is refused, and the two lines that make a file of it that is not."""
    return (
        f"{file} is a PyTorch pickle, which can run code when it is opened and so is never read here: where PyTorch is "
        "installed, these two lines make the .safetensors file to give instead:\n"
        "    import torch, safetensors.torch\n"
        f'    safetensors.torch.save_file(torch.load("{file.name}", weights_only=True), "{file.stem}.safetensors")'
    )


# --- Checking ---


def check(tensors: Mapping[str, NDArray[Any]], network: str, file: Path) -> dict[str, NDArray[np.float32]]:
    """Return the tensors below the head as float32, when they are those of `network`, finite and of its shapes.

    `tensors` go by torchvision name; `file` is what errors name. Raises UserError for a missing, unknown, misshapen or
    non-finite tensor.
    """
    shapes = layout(network)
    if _body(tensors, network) != shapes.keys():
        raise UserError(_another_network(tensors, network, file))
    checked = {}
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise UserError(
                f"{file} is not {network}: {name} has shape {tensors[name].shape}, and {network}'s is {shape}"
            )
        checked[name] = np.ascontiguousarray(tensors[name], np.float32)
        if not np.isfinite(checked[name]).all() or (name.endswith("running_var") and checked[name].min() < 0):
            raise UserError(
                f"{file} has values in {name} that are not finite or a negative variance: take another copy"
            )
    return checked


def _another_network(found: Iterable[str], network: str, file: Path) -> str:
    holds = _holds(found)
    if holds:
        return f"{file} holds {holds}, and {network} was asked for: give {network}'s file, or ask for {holds}"
    found, wanted = _body(found, network), layout(network)
    lists = [("it lacks", wanted.keys() - found), ("it also holds", found - wanted.keys())]
    told = "; ".join(f"{what} {', '.join(sorted(names)[:3])} ({len(names)} in all)" for what, names in lists if names)
    return f"{file} is not {network} as torchvision and timm name its tensors: {told}; give a file {source(network)}"
