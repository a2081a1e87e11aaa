"""Pretrained weights: where a job's weight file comes from, and how it gets into the network.

What such a file holds is in train/weights/files.py; docs/pretrained.md is the user's side.
"""

import hashlib
import http.client
import os
import re
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import url2pathname, urlopen

import numpy as np
from numpy.typing import NDArray

from train.data.channels import Channel, listing
from train.errors import UserError
from train.hyperparameter_types import CommonHyperparameters
from train.log import LOG, Progress
from train.weights.files import BATCH_COUNT, check, family_of, pickle_refusal, read, source

if TYPE_CHECKING:
    from mxnet.gluon import Block

IMAGE_FOLDER = "/opt/pretrained"
_TIMEOUT = 30.0  # seconds without an answer or a byte


@dataclass(frozen=True)
class LoadReport:
    """What `load_into` did: tensors set, tensors of the file not used, parameters of the network left as they were."""

    file: Path
    network: str
    loaded: int
    unused: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        unused, fresh = (", ".join(names) or "nothing" for names in (self.unused, self.fresh))
        return (
            f"{self.loaded} tensors of {self.network} from {self.file}; not used: {unused}; starts untrained: {fresh}"
        )


@dataclass(frozen=True)
class Files:
    """Weight files as one framework has them: the ends of their names, which network one is named for, and where one
    comes from, in words. `proper` is what such a file is best called, `{}` standing for the network."""

    suffixes: tuple[str, ...]
    proper: str
    named_for: Callable[[Path], str | None]
    source: Callable[[str], str]


def _named_for(path: Path) -> str | None:
    """Return the network that a file is named for: `resnet18` for resnet18-f37072fd.pth, None for model.safetensors."""
    named = re.match(r"resnet\d+[a-z]*|vgg\d+(_bn)?", path.name)
    return named[0] if named else None


TORCHVISION = Files((".safetensors", ".params"), "{}.safetensors", _named_for, source)


def find_if_requested(
    hp: CommonHyperparameters,
    channels: Mapping[str, Channel],
    network: str,
    environ: Mapping[str, str],
    files: Files = TORCHVISION,
) -> Path | None:
    """Return the weight file for `network` if `use_pretrained_model` asks for one; raises UserError as `find` does."""
    if not hp.use_pretrained_model:
        return None
    channel = channels.get("pretrained")
    return find(channel.path if channel else None, network, environ, files)


def find(channel_dir: Path | None, network: str, environ: Mapping[str, str], files: Files = TORCHVISION) -> Path:
    """Return the weight file for `network`, from the first of the three ways that the job was given.

    They are: the channel `pretrained` (`channel_dir`, None when the job has none); the image's /opt/pretrained, or the
    folder that VISION_PRETRAINED_DIR names; PRETRAINED_URL, whose file must have the SHA-256 PRETRAINED_SHA256 and is
    kept in the temporary folder. A channel is the user's word for this job: without weights in it, the others are not
    tried. Raises UserError for a network without such weights, and when no way has them, naming the ways.
    """
    if files is TORCHVISION:
        family_of(network)  # raises for a network without weights
    proper = files.proper.format(network)
    if channel_dir is not None:
        found = _choose(channel_dir, network, files)
        if found is None:
            raise UserError(
                f"channel 'pretrained' ({channel_dir}) has no weights of {network}: it holds {listing(channel_dir)}; "
                f"put {proper} there, {files.source(network)}"
            )
        return found
    folder = Path(environ.get("VISION_PRETRAINED_DIR") or IMAGE_FOLDER)
    if environ.get("VISION_PRETRAINED_DIR") and not folder.is_dir():
        raise UserError(f"VISION_PRETRAINED_DIR={folder} is not a folder: name one that holds {proper}")
    found = _choose(folder, network, files) if folder.is_dir() else None
    if found is not None:
        return found
    if environ.get("PRETRAINED_URL"):
        return _from_url(environ["PRETRAINED_URL"], environ.get("PRETRAINED_SHA256", ""))
    raise UserError(
        f"pretrained weights of {network} were asked for and none were found: put {proper} into a channel "
        f"named 'pretrained', or into the image ({folder}; `make build PRETRAINED=DIR`), or set PRETRAINED_URL and "
        f"PRETRAINED_SHA256; use_pretrained_model=0 needs none. Give a file {files.source(network)}"
    )


def _choose(folder: Path, network: str, files: Files) -> Path | None:
    """Return the folder's one weight file that is named for `network`, else the one that is named for no network."""
    there = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    usable = [path for path in there if path.suffix in files.suffixes]
    for named_for in (network, None):
        named = [path for path in usable if files.named_for(path) == named_for]
        exact = [path for path in named if path.name == files.proper.format(network)]
        if len(exact or named) > 1:
            names = ", ".join(path.name for path in named)
            raise UserError(
                f"{folder} holds {len(named)} files that may be weights of {network} ({names}): keep one of them"
            )
        if named:
            return (exact or named)[0]
    pickles = [
        path for path in there if path.suffix in (".pth", ".pt", ".bin") and files.named_for(path) in (network, None)
    ]
    if pickles and files is TORCHVISION:
        raise UserError(pickle_refusal(pickles[0]))
    return None


def _from_url(url: str, sha256: str) -> Path:
    """Return the file that `url` names, downloaded if it is remote, when its SHA-256 is the one given."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    shown = f"PRETRAINED_URL={parts.scheme}://{host}{parts.path}"  # passwords and signed queries stay out of the log
    if user:
        raise UserError(f"{shown} comes with a user name, and logging in is not supported: give a signed address")
    wanted = sha256.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise UserError(
            f"PRETRAINED_SHA256={sha256!r} is not 64 hexadecimal digits: `sha256sum FILE` prints what {shown} needs"
        )
    if parts.scheme == "file":
        file = Path(url2pathname(parts.path))
        if not file.is_file():
            raise UserError(
                f"{shown} is not a file in this container: use the channel 'pretrained', or an https:// address"
            )
        _require_sum(_sha256(file), wanted, shown)
        return file
    if parts.scheme not in ("https", "http"):
        raise UserError(
            f"{shown} is neither https://, http:// nor file://: give one of these, or use the channel 'pretrained'"
        )
    name = re.sub(r"[^\w.-]", "_", parts.path.rpartition("/")[2])[-60:]
    file = Path(tempfile.gettempdir()) / f"pretrained-{wanted[:16]}-{name}"
    if file.is_file() and _sha256(file) == wanted:
        LOG.info("Pretrained weights: %s is already in %s", shown, file)
        return file
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with partial.open("xb") as out:
            _download(url, shown, out)
        _require_sum(_sha256(partial), wanted, shown)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def _download(url: str, shown: str, out: BinaryIO) -> None:
    """Copy what `url` answers to `out`. Raises UserError, naming `shown`, when it cannot be had in full."""
    instead = "where the job has no network, use the channel 'pretrained'"
    try:
        with urlopen(url, timeout=_TIMEOUT) as response:
            total = int(response.headers.get("Content-Length") or 0)
            LOG.info("Pretrained weights: downloading %s, %.1f MB", shown, total / 1e6)
            progress = Progress("Pretrained weights, MB", round(total / 1e6))
            while chunk := response.read(1 << 20):
                out.write(chunk)
                progress.done(round(out.tell() / 1e6))
    except HTTPError as error:
        raise UserError(f"{shown} answered {error.code} {error.reason}: check the address; {instead}") from None
    except (URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        raise UserError(f"{shown} cannot be read ({getattr(error, 'reason', error)}): {instead}") from None
    if out.tell() < total:
        raise UserError(f"{shown} ended after {out.tell()} of {total} bytes: start the job again; {instead}")


def _require_sum(found: str, wanted: str, shown: str) -> None:
    if found != wanted:
        raise UserError(
            f"{shown} has SHA-256 {found}, and PRETRAINED_SHA256 is {wanted}: the file has changed or the sum is "
            "another file's; correct whichever is wrong"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def load_into(net: "Block", file: Path, network: str) -> LoadReport:
    """Set all of `net` that `file` has layers for; log and return what was set and what was not.

    `net` is an initialised network that has the layers of `network` below its head under GluonCV's names: a v1b
    ResNet, a segmenter or a detector's features on one, a VGGAtrousExtractor; whatever else it has stays as it was
    initialised. Its first convolution is fitted to its input: see `_first_kernel`. Raises UserError for a file that is
    not `network`'s, ValueError when `net` is not.
    """
    import mxnet as mx

    tensors = read(file, network)
    weights = check(tensors, network, file)
    everything = net._collect_params_with_prefix()  # what Gluon's own load_parameters goes by
    parameters = {name: each for name, each in everything.items() if not isinstance(each, mx.gluon.Constant)}
    family = family_of(network)
    names = {family.gluoncv_name(name): name for name in weights}
    fresh = tuple(name for name in parameters if name not in names)
    foreign = [name for name in fresh if family.filled.match(name)]
    if foreign or not names.keys() <= parameters.keys():
        lacking = sorted(names.keys() - parameters.keys())
        raise ValueError(f"the network to load is not {network}: it also has {foreign}, it lacks {lacking}")
    first = next(iter(weights))
    channels = parameters[family.gluoncv_name(first)].shape[1]
    scale = everything["init_scale"].value.asnumpy() if "init_scale" in everything else None
    fitted = weights | {first: _first_kernel(weights[first], channels, scale)}
    for gluon_name, name in names.items():
        parameters[gluon_name].set_data(mx.nd.array(fitted[name]))
    unused = tuple(name for name in tensors if name not in weights and not name.endswith(BATCH_COUNT))
    report = LoadReport(file, network, len(weights), unused, fresh)
    LOG.info("Pretrained weights: %s", report)
    return report


def _first_kernel(kernel: NDArray[np.float32], channels: int, scale: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return a file's first kernel, float32 (out, 3, height, width), for a network of another input.

    One channel gets the sum over the three, and so answers as the file's network does to three equal channels. `scale`
    (1, 3, 1, 1) is what the network multiplies its input with, None for nothing: GluonCV's VGG detectors turn it back
    to Caffe's 0..255, and files hold weights for the normalised input, so each channel's weights are divided by it.
    """
    if scale is not None:
        kernel = kernel / scale
    return kernel.sum(axis=1, keepdims=True) if channels == 1 else kernel
