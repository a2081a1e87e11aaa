"""Choose the devices of a job: those in VISION_DEVICES, else all GPUs that the framework supports, else the CPU."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serve.words import plural
from train.errors import UserError
from train.job import cuda
from train.log import LOG

VARIABLE = "VISION_DEVICES"
_NAME = re.compile(r"(cpu|gpu):(\d{1,2})")
_FIX = "set it to cpu, gpu (all GPUs), or devices of one kind, such as gpu:0,gpu:1; or remove it"

# Instances whose GPUs have a compute capability from 5 to 8.
_SUPPORTED_INSTANCES = "ml.p3, ml.p4d, ml.g4dn, ml.g5 and ml.g6"


@dataclass(frozen=True)
class Device:
    """A device such as `cpu:0` or `gpu:1`. Several CPU devices share one processor; only tests use them."""

    kind: Literal["cpu", "gpu"]
    number: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"


CPU = Device("cpu", 0)


@dataclass(frozen=True)
class Build:
    """The installed framework: its name, whether it is built for CUDA, and how many GPUs it sees.

    `majors` are the major compute capabilities that it has machine code for, or None for any.
    """

    name: str
    cuda: bool
    count: int
    majors: Sequence[int] | None = None


def choose(environ: Mapping[str, str], build: Build, limit: int) -> tuple[Device, ...]:
    """Return at most `limit` devices for a job, all of one kind. Log them, unless the job uses the CPU by default.

    Raises UserError if VISION_DEVICES is invalid or names devices that are not available.
    """
    text = environ.get(VARIABLE, "").strip().lower()
    usable = [] if text.startswith("cpu") else _usable(build)
    chosen = _requested(text, usable) if text else tuple(usable) or (CPU,)
    if len(chosen) > limit:
        LOG.warning(
            "mini_batch_size=%d is less than the %d devices: using %s", limit, len(chosen), plural(limit, "device")
        )
        chosen = chosen[:limit]
    if text or usable:
        LOG.info("Training on %s%s", ", ".join(map(str, chosen)), f", as {VARIABLE} says" if text else "")
    return chosen


def _usable(build: Build) -> list[Device]:
    """Return the GPUs that the framework supports. If it does not support all of the machine's GPUs, log why."""
    if not build.cuda:
        if any(Path("/dev").glob("nvidia[0-9]*")):
            LOG.warning(
                "this image uses only the CPU, although this machine has a GPU; use the image whose tag ends in -gpu"
            )
        return []
    if not build.count:
        LOG.info("%s finds no GPU: training on the CPU", build.name)
        return []
    known = dict(enumerate(cuda.gpus()))
    unsupported = {
        number: known[number]
        for number in range(build.count)
        if build.majors is not None and number in known and known[number].capability[0] not in build.majors
    }
    supported = [Device("gpu", number) for number in range(build.count) if number not in unsupported]
    if unsupported and build.majors is not None:
        LOG.warning(
            "%d of %s cannot be used (%s): this build of %s supports compute capability %d.0 to %d.9, as in %s%s",
            len(unsupported),
            plural(build.count, "GPU"),
            next(iter(unsupported.values())),
            build.name,
            min(build.majors),
            max(build.majors),
            _SUPPORTED_INSTANCES,
            "" if supported else "; training on the CPU",
        )
    return supported


def _requested(text: str, usable: Sequence[Device]) -> tuple[Device, ...]:
    """Return the devices in VISION_DEVICES. Raises UserError if it is invalid or names devices that are not usable."""
    if text == "cpu":
        return (CPU,)
    if text == "gpu" and usable:
        return tuple(usable)
    matches = [_NAME.fullmatch(part.strip()) for part in text.split(",")]
    named = [Device("gpu" if match[1] == "gpu" else "cpu", int(match[2])) for match in matches if match]
    setting = f"{VARIABLE}={text!r}"
    if len(named) < len(matches) and text != "gpu":
        raise UserError(f"environment variable {setting} is not a list of devices: {_FIX}")
    if len({device.kind for device in named}) > 1 or len(set(named)) < len(named):
        raise UserError(f"environment variable {setting} must name different devices of one kind: {_FIX}")
    absent = [str(device) for device in named if device.kind == "gpu" and device not in usable]
    if absent or text == "gpu":
        available = ", ".join(map(str, usable)) or "no GPU"
        raise UserError(f"environment variable {setting} is not available: this job can use {available}; {_FIX}")
    return tuple(named)


def out_of_memory(mini_batch_size: int, devices: int, detail: str) -> UserError:
    """Return the error for batches that are too large for the memory of the GPUs."""
    shared = f", {-(-mini_batch_size // devices)} on each of {devices} GPUs" if devices > 1 else ""
    error = UserError(
        f"the GPU ran out of memory with mini_batch_size={mini_batch_size}{shared}: lower mini_batch_size "
        "(half is a good next try), or use an instance whose GPU has more memory"
    )
    error.detail = detail
    return error
