"""Weight files of ResNets: which tensors a network has, what the formats call them, reading and checking them.

Tensors go by torchvision's names, which timm shares. GluonCV's v1b ResNets, dilated or not, have the same layers, so
one file serves every algorithm; `gluoncv_name` is the whole mapping.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from train.errors import UserError

# Convolutions a block, blocks a stage: He et al. 2016, table 1; 200: He et al., "Identity Mappings", 2016.
NETWORKS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "resnet18": (2, (2, 2, 2, 2)),
    "resnet34": (2, (3, 4, 6, 3)),
    "resnet50": (3, (3, 4, 6, 3)),
    "resnet101": (3, (3, 4, 23, 3)),
    "resnet152": (3, (3, 8, 36, 3)),
    "resnet200": (3, (3, 24, 36, 3)),
}
HEAD = ("fc.weight", "fc.bias")
_NORM = re.compile(r"(^|\.)(bn\d|downsample\.1)$")
BATCH_COUNT = "num_batches_tracked"  # how many batches PyTorch's normalisation has seen; no weight


def source(network: str) -> str:
    """Return words that say of a weight file of `network` where one comes from; docs/pretrained.md says more."""
    if network == "resnet200":
        return "with the tensors of timm's resnet200 (none is known to be published)"
    return f"such as model.safetensors of huggingface.co/timm/{network}.tv_in1k"


def layout(network: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of `network` below its last layer, by torchvision name, in torchvision's order.

    Convolutions are (out, in, height, width), normalisation (channels,). Raises UserError for a network that has no
    pretrained weights.
    """
    if network not in NETWORKS:
        raise UserError(
            f"{network} has no pretrained weights: they exist for {', '.join(NETWORKS)}; ask for one of these, or set "
            "use_pretrained_model=0"
        )
    convolutions, stages = NETWORKS[network]
    shapes = _convolution("conv1", "bn1", 64, 3, 7)
    channels = 64
    for stage, blocks in enumerate(stages):
        width = 64 << stage
        out = width * (4 if convolutions == 3 else 1)
        for block in range(blocks):
            at = f"layer{stage + 1}.{block}."
            sizes = [(width, 1), (width, 3), (out, 1)] if convolutions == 3 else [(width, 3), (out, 3)]
            into = channels
            for number, (count, kernel) in enumerate(sizes, 1):
                shapes |= _convolution(f"{at}conv{number}", f"{at}bn{number}", count, into, kernel)
                into = count
            if block == 0 and (stage > 0 or channels != out):
                shapes |= _convolution(f"{at}downsample.0", f"{at}downsample.1", out, channels, 1)
            channels = out
    return shapes


def _convolution(conv: str, norm: str, out: int, into: int, kernel: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{conv}.weight": (out, into, kernel, kernel)} | {f"{norm}.{part}": (out,) for part in parts}


def gluoncv_name(name: str) -> str:
    """Return the structural name, in a GluonCV v1b ResNet, of the tensor that torchvision calls `name`."""
    layer, _, part = name.rpartition(".")
    if _NORM.search(layer):
        part = {"weight": "gamma", "bias": "beta"}.get(part, part)
    return f"{layer}.{part}"


def _counted_names(network: str) -> dict[str, str]:
    """Return torchvision names by the names that MXNet counts: `layers1_conv0_weight`, as in exported .params files."""
    counts: Counter[str] = Counter()
    scopes: dict[str, str] = {"fc": "dense0"}
    names = {}
    for name in (*layout(network), *HEAD):
        layer = name.rpartition(".")[0]
        if layer not in scopes:
            stage = ("down" if ".downsample." in layer else "layers") + layer[5] + "_" if layer[:5] == "layer" else ""
            kind = stage + ("batchnorm" if _NORM.search(layer) else "conv")
            scopes[layer] = f"{kind}{counts[kind]}"
            counts[kind] += 1
        names[f"{scopes[layer]}_{gluoncv_name(name).rpartition('.')[2]}"] = name
    return names


def _torchvision_names(names: Iterable[str], network: str) -> dict[str, str]:
    """Return the torchvision name of each of a file's `names`; one that says nothing to us stays as it is."""
    bare = {name: name.removeprefix("arg:").removeprefix("aux:") for name in names}
    if any("." in name for name in bare.values()):
        return {name: re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", said)) for name, said in bare.items()}
    stem = min((said for said in bare.values() if said.endswith("conv0_weight")), key=len, default="")
    prefix = stem.removesuffix("conv0_weight")  # the name of the network that was saved: `resnetv1b_`
    counted = _counted_names(network)
    return {name: counted.get(said.removeprefix(prefix), said) for name, said in bare.items()}


# --- Reading ---


def read(file: Path, network: str) -> dict[str, np.ndarray]:
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


def _read_safetensors(file: Path) -> dict[str, np.ndarray]:
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


def _read_params(file: Path) -> dict[str, np.ndarray]:
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


def check(tensors: Mapping[str, np.ndarray], network: str, file: Path) -> dict[str, np.ndarray]:
    """Return the tensors below the last layer as float32, when they are those of `network`, finite and of its shapes.

    `tensors` go by torchvision name; `file` is what errors name. Raises UserError for a missing, unknown, misshapen or
    non-finite tensor.
    """
    shapes = layout(network)
    body = {name: value for name, value in tensors.items() if name not in HEAD and not name.endswith(BATCH_COUNT)}
    if body.keys() != shapes.keys():
        raise UserError(_another_network(body.keys(), network, file))
    checked = {}
    for name, shape in shapes.items():
        if body[name].shape != shape:
            raise UserError(f"{file} is not {network}: {name} has shape {body[name].shape}, and {network}'s is {shape}")
        checked[name] = np.ascontiguousarray(body[name], np.float32)
        if not np.isfinite(checked[name]).all() or (name.endswith("running_var") and checked[name].min() < 0):
            raise UserError(
                f"{file} has values in {name} that are not finite or a negative variance: take another copy"
            )
    return checked


def _another_network(found: Iterable[str], network: str, file: Path) -> str:
    found, wanted = set(found), layout(network)
    holds = next((name for name in NETWORKS if layout(name).keys() == found), None)
    if holds:
        return f"{file} holds {holds}, and {network} was asked for: give {network}'s file, or ask for {holds}"
    lists = [("it lacks", wanted.keys() - found), ("it also holds", found - wanted.keys())]
    told = "; ".join(f"{what} {', '.join(sorted(names)[:3])} ({len(names)} in all)" for what, names in lists if names)
    return f"{file} is not {network} as torchvision and timm name its tensors: {told}; give a file {source(network)}"
