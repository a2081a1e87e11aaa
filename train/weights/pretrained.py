"""Find a job's pretrained weight file and load it into the network.

train/weights/files.py reads the files; docs/pretrained.md is the user documentation.
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
_TIMEOUT = 30.0  # seconds without a response or data


@dataclass(frozen=True)
class LoadReport:
    """The result of `load_into`: tensors loaded, unused tensors in the file, and parameters that were not set."""

    file: Path
    network: str
    loaded: int
    unused: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        unused, fresh = (", ".join(names) or "nothing" for names in (self.unused, self.fresh))
        return f"{self.loaded} tensors of {self.network} from {self.file}; not used: {unused}; untrained: {fresh}"


@dataclass(frozen=True)
class Files:
    """The weight files of a framework.

    `standard_name` is the recommended file name, with `{}` for the network. `network_of` returns the network that a
    file is named after, or None, and `source` describes where to get a file for a network.
    """

    suffixes: tuple[str, ...]
    standard_name: str
    network_of: Callable[[Path], str | None]
    source: Callable[[str], str]


def _network_of(path: Path) -> str | None:
    """Return the network that a file is named after: resnet18 for resnet18-f37072fd.pth, None for model.safetensors."""
    match = re.match(r"resnet\d+[a-z]*|vgg\d+(_bn)?", path.name)
    return match[0] if match else None


TORCHVISION = Files((".safetensors", ".params"), "{}.safetensors", _network_of, source)


def find_if_requested(
    hp: CommonHyperparameters,
    channels: Mapping[str, Channel],
    network: str,
    environ: Mapping[str, str],
    files: Files = TORCHVISION,
) -> Path | None:
    """Return the weight file for `network` if `use_pretrained_model` is set. Raises UserError like `find`."""
    if not hp.use_pretrained_model:
        return None
    channel = channels.get("pretrained")
    return find(channel.path if channel else None, network, environ, files)


def find(channel_dir: Path | None, network: str, environ: Mapping[str, str], files: Files = TORCHVISION) -> Path:
    """Return the weight file for `network` from the first of three sources that the job has.

    The sources are: the channel `pretrained` (`channel_dir`, or None if the job does not have it); the folder
    VISION_PRETRAINED_DIR, by default the image's /opt/pretrained; and PRETRAINED_URL, whose file must have the SHA-256
    PRETRAINED_SHA256 and is cached in the temporary folder. If the job has the channel, it is the only source. Raises
    UserError if there are no pretrained weights for the network, or if no source has them.
    """
    if files is TORCHVISION:
        family_of(network)  # raises UserError for a network without weights
    standard_name = files.standard_name.format(network)
    if channel_dir is not None:
        file = _choose(channel_dir, network, files)
        if file is None:
            raise UserError(
                f"channel 'pretrained' ({channel_dir}) has no weights of {network}: it holds {listing(channel_dir)}; "
                f"put {standard_name} there, {files.source(network)}"
            )
        return file
    folder = Path(environ.get("VISION_PRETRAINED_DIR") or IMAGE_FOLDER)
    if environ.get("VISION_PRETRAINED_DIR") and not folder.is_dir():
        raise UserError(f"VISION_PRETRAINED_DIR={folder} is not a folder: set it to one that contains {standard_name}")
    file = _choose(folder, network, files) if folder.is_dir() else None
    if file is not None:
        return file
    if environ.get("PRETRAINED_URL"):
        return _from_url(environ["PRETRAINED_URL"], environ.get("PRETRAINED_SHA256", ""))
    raise UserError(
        f"pretrained weights of {network} were requested but not found: put {standard_name} into a "
        f"channel named 'pretrained', or into the image ({folder}; `make build PRETRAINED=DIR`), or set PRETRAINED_URL "
        f"and PRETRAINED_SHA256; or set use_pretrained_model=0. Provide a file {files.source(network)}"
    )


def _choose(folder: Path, network: str, files: Files) -> Path | None:
    """Return the folder's only weight file that is named after `network`, else the only one without a network name."""
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    usable = [path for path in paths if path.suffix in files.suffixes]
    for name in (network, None):
        candidates = [path for path in usable if files.network_of(path) == name]
        exact = [path for path in candidates if path.name == files.standard_name.format(network)]
        if len(exact or candidates) > 1:
            names = ", ".join(path.name for path in candidates)
            raise UserError(
                f"{folder} has {len(candidates)} files that may be weights of {network} ({names}): keep one of them"
            )
        if candidates:
            return (exact or candidates)[0]
    pickles = [
        path for path in paths if path.suffix in (".pth", ".pt", ".bin") and files.network_of(path) in (network, None)
    ]
    if pickles and files is TORCHVISION:
        raise UserError(pickle_refusal(pickles[0]))
    return None


def _from_url(url: str, sha256: str) -> Path:
    """Return the file at `url`, downloaded if it is remote, after checking its SHA-256."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    shown = f"PRETRAINED_URL={parts.scheme}://{host}{parts.path}"  # without passwords and signed queries
    if user:
        raise UserError(f"{shown} has a user name, but logging in is not supported: use a signed URL")
    expected = sha256.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise UserError(
            f"PRETRAINED_SHA256={sha256!r} is not 64 hexadecimal digits: set it to the output of `sha256sum FILE` for "
            f"{shown}"
        )
    if parts.scheme == "file":
        file = Path(url2pathname(parts.path))
        if not file.is_file():
            raise UserError(
                f"{shown} is not a file in this container: use the channel 'pretrained', or an https:// URL"
            )
        _require_sum(_sha256(file), expected, shown)
        return file
    if parts.scheme not in ("https", "http"):
        raise UserError(
            f"{shown} is neither https://, http:// nor file://: use one of these, or the channel 'pretrained'"
        )
    name = re.sub(r"[^\w.-]", "_", parts.path.rpartition("/")[2])[-60:]
    file = Path(tempfile.gettempdir()) / f"pretrained-{expected[:16]}-{name}"
    if file.is_file() and _sha256(file) == expected:
        LOG.info("Pretrained weights: %s is already in %s", shown, file)
        return file
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with partial.open("xb") as out:
            _download(url, shown, out)
        _require_sum(_sha256(partial), expected, shown)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def _download(url: str, shown: str, out: BinaryIO) -> None:
    """Download `url` to `out`. Raises UserError if that fails; the message shows the URL as `shown`."""
    alternative = "if the job has no network access, use the channel 'pretrained'"
    try:
        with urlopen(url, timeout=_TIMEOUT) as response:
            total = int(response.headers.get("Content-Length") or 0)
            LOG.info("Pretrained weights: downloading %s, %.1f MB", shown, total / 1e6)
            progress = Progress("Pretrained weights, MB", round(total / 1e6))
            while chunk := response.read(1 << 20):
                out.write(chunk)
                progress.done(round(out.tell() / 1e6))
    except HTTPError as error:
        raise UserError(f"{shown} returned {error.code} {error.reason}: check the URL; {alternative}") from None
    except (URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        raise UserError(f"{shown} cannot be read ({getattr(error, 'reason', error)}): {alternative}") from None
    if out.tell() < total:
        raise UserError(f"{shown} ended after {out.tell()} of {total} bytes: start the job again; {alternative}")


def _require_sum(actual: str, expected: str, shown: str) -> None:
    if actual != expected:
        raise UserError(
            f"{shown} has SHA-256 {actual}, but PRETRAINED_SHA256 is {expected}: the file has changed, or the checksum "
            "belongs to another file; correct the one that is wrong"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_into(net: "Block", file: Path, network: str) -> LoadReport:
    """Load the layers of `net` that `file` contains; log and return a report.

    `net` is an initialised network that has the layers of `network` below its head, with GluonCV's names: a v1b ResNet,
    a segmenter or a detector's features based on one, or a VGGAtrousExtractor. Its other layers do not change. The
    kernel of the first convolution is adapted to the input; see `_first_kernel`. Raises UserError if the file is not
    for `network`, and ValueError if `net` does not have its layers.
    """
    import mxnet as mx

    tensors = read(file, network)
    weights = check(tensors, network, file)
    all_parameters = net._collect_params_with_prefix()  # the names that Gluon's load_parameters uses
    parameters = {
        name: parameter for name, parameter in all_parameters.items() if not isinstance(parameter, mx.gluon.Constant)
    }
    family = family_of(network)
    names = {family.gluoncv_name(name): name for name in weights}
    fresh = tuple(name for name in parameters if name not in names)
    extra = [name for name in fresh if family.filled.match(name)]
    if extra or not names.keys() <= parameters.keys():
        missing = sorted(names.keys() - parameters.keys())
        raise ValueError(f"the network to load is not {network}: it also has {extra}, it lacks {missing}")
    first = next(iter(weights))
    channels = parameters[family.gluoncv_name(first)].shape[1]
    scale = all_parameters["init_scale"].value.asnumpy() if "init_scale" in all_parameters else None
    fitted = weights | {first: _first_kernel(weights[first], channels, scale)}
    for gluon_name, name in names.items():
        parameters[gluon_name].set_data(mx.nd.array(fitted[name]))
    unused = tuple(name for name in tensors if name not in weights and not name.endswith(BATCH_COUNT))
    report = LoadReport(file, network, len(weights), unused, fresh)
    LOG.info("Pretrained weights: %s", report)
    return report


def _first_kernel(kernel: NDArray[np.float32], channels: int, scale: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Adapt a file's first kernel, float32 (out, 3, height, width), to the network's input.

    For one channel, the kernel is summed over its three channels, so that the output is the same as for three equal
    channels. `scale` (1, 3, 1, 1) is the factor that the network applies to its input, or None: GluonCV's VGG detectors
    scale the input to Caffe's 0..255, but files have weights for the normalised input, so the kernel is divided by it.
    """
    if scale is not None:
        kernel = kernel / scale
    return kernel.sum(axis=1, keepdims=True) if channels == 1 else kernel
