"""Which devices a job computes on: all GPUs that its framework can use, the CPU without any, or what the user says."""

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
_INSTEAD = "set it to cpu, gpu (all of them), or some of one kind, such as gpu:0,gpu:1; or remove it"

# Instances whose GPUs run what compute capability 5 to 8 runs on.
_FITTING = "ml.p3, ml.p4d, ml.g4dn, ml.g5 and ml.g6"


@dataclass(frozen=True)
class Device:
    """One device: `cpu:0`, `gpu:1`. Several of the CPU are one processor, for tests."""

    kind: Literal["cpu", "gpu"]
    number: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"


CPU = Device("cpu", 0)


@dataclass(frozen=True)
class Build:
    """What an installed framework can do: whether it is built for CUDA, and how many GPUs it sees.

    `majors` are the first digits of the compute capabilities that it has machine code for; None for any.
    """

    name: str
    cuda: bool
    count: int
    majors: Sequence[int] | None = None


def choose(environ: Mapping[str, str], build: Build, most: int) -> tuple[Device, ...]:
    """Return the devices of a job, at most `most`, all of one kind; log what differs from a CPU alone.

    Raises UserError for VISION_DEVICES that cannot be had.
    """
    text = environ.get(VARIABLE, "").strip().lower()
    usable = [] if text.startswith("cpu") else _usable(build)
    chosen = _asked(text, usable) if text else tuple(usable) or (CPU,)
    if len(chosen) > most:
        verb = "is" if most == 1 else "are"
        LOG.warning(
            "mini_batch_size=%d is fewer than %d devices: %s %s used",
            *(most, len(chosen), plural(most, "device"), verb),
        )
        chosen = chosen[:most]
    if text or usable:
        LOG.info("Training on %s%s", ", ".join(map(str, chosen)), f", as {VARIABLE} says" if text else "")
    return chosen


def _usable(build: Build) -> list[Device]:
    """Return the GPUs that the framework can compute on; log why there are none, or fewer than the machine has."""
    if not build.cuda:
        if any(Path("/dev").glob("nvidia[0-9]*")):
            LOG.warning(
                "this image computes on the CPU: the GPU of this machine is not used; the image whose tag ends in -gpu "
                "uses it"
            )
        return []
    if not build.count:
        LOG.info("%s finds no GPU: training on the CPU", build.name)
        return []
    known = dict(enumerate(cuda.gpus()))
    strange = {
        number: known[number]
        for number in range(build.count)
        if build.majors is not None and number in known and known[number].capability[0] not in build.majors
    }
    found = [Device("gpu", number) for number in range(build.count) if number not in strange]
    if strange and build.majors is not None:
        LOG.warning(
            "%s of %d: %s, cannot be used: this build of %s has machine code for %d.0 to %d.9, which %s have%s",
            *(plural(len(strange), "GPU"), build.count, next(iter(strange.values())), build.name),
            *(min(build.majors), max(build.majors), _FITTING, "" if found else "; training on the CPU"),
        )
    return found


def _asked(text: str, usable: Sequence[Device]) -> tuple[Device, ...]:
    """Return what VISION_DEVICES names. Raises UserError for what is not a device, or not here."""
    if text == "cpu":
        return (CPU,)
    if text == "gpu" and usable:
        return tuple(usable)
    matches = [_NAME.fullmatch(part.strip()) for part in text.split(",")]
    found = [Device("gpu" if match[1] == "gpu" else "cpu", int(match[2])) for match in matches if match]
    here = f"{VARIABLE}={text!r}"
    if len(found) < len(matches) and text != "gpu":
        raise UserError(f"environment variable {here} is not a list of devices: {_INSTEAD}")
    if len({device.kind for device in found}) > 1 or len(set(found)) < len(found):
        raise UserError(f"environment variable {here} must name different devices of one kind: {_INSTEAD}")
    absent = [str(device) for device in found if device.kind == "gpu" and device not in usable]
    if absent or text == "gpu":
        others = ", ".join(map(str, usable)) or "no GPU"
        raise UserError(f"environment variable {here}: this job can use {others}: {_INSTEAD}")
    return tuple(found)


def out_of_memory(mini_batch_size: int, devices: int, detail: str) -> UserError:
    """Return the error of a job whose batches are too large for its GPUs."""
    shared = f", {-(-mini_batch_size // devices)} on each of {devices} GPUs" if devices > 1 else ""
    error = UserError(
        f"the memory of the GPU is too small for mini_batch_size={mini_batch_size}{shared}: lower mini_batch_size "
        "(half is a good next try), or take an instance whose GPU has more memory"
    )
    error.detail = detail
    return error
