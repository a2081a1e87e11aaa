"""The lock files of the images for GPUs, which CI does not build: what they hold, and what the documentation names."""

import re
from pathlib import Path

import pytest

from local.images import IMAGES, TRAINING
from tests.environments import REPOSITORY

STACKS = {IMAGES[name].stack: name for name in TRAINING}
FRAMEWORKS = {"mxnet": ("mxnet", "mxnet-cu112"), "tensorflow": ("tensorflow-cpu", "tensorflow")}
"""By stack: the framework's package for CPUs, and the one for GPUs."""
PIN = re.compile(r"^([a-z0-9-]+)==([0-9][^ ]*) \\$", re.MULTILINE)
EACH = pytest.mark.parametrize("stack", STACKS)


def pins(lock: Path) -> dict[str, str]:
    """Versions by package."""
    return dict(PIN.findall(lock.read_text(encoding="utf-8")))


@EACH
def test_images_for_gpus_have_cuda_and_all_that_those_for_cpus_have_in_the_same_versions(stack: str) -> None:
    image = IMAGES[STACKS[stack]]
    cpu, gpu = pins(image.lock("cpu")), pins(image.lock("gpu"))
    framework, with_cuda = FRAMEWORKS[stack]
    assert gpu.pop(with_cuda) == cpu.pop(framework)
    cuda = {name for name in gpu if name.startswith("nvidia-")}
    assert len(cuda) > 8
    assert {name: version for name, version in gpu.items() if name not in cuda} == cpu


@EACH
def test_the_quantiser_is_of_the_onnx_runtime_that_serves(stack: str) -> None:
    assert pins(IMAGES[STACKS[stack]].lock())["onnxruntime"] == pins(IMAGES["inference"].lock())["onnxruntime"]


@EACH
def test_a_lock_file_has_one_version_of_cuda_and_names_no_index(stack: str) -> None:
    lock = IMAGES[STACKS[stack]].lock("gpu")
    assert len({name[-4:] for name in pins(lock) if name.startswith("nvidia-")}) == 1
    assert "http" not in lock.read_text(encoding="utf-8")


@EACH
def test_the_versions_that_the_documentation_names_are_the_locked_ones(stack: str) -> None:
    text = (REPOSITORY / "docs" / "instances.md").read_text(encoding="utf-8").partition("## What is inside")[2]
    named = dict(re.findall(r"(nvidia-[a-z0-9-]+|mxnet-cu112|tensorflow) ([0-9][0-9.]+)(?= \||,)", text))
    locked = pins(IMAGES[STACKS[stack]].lock("gpu"))
    suffix = {name[-5:] for name in locked if name.startswith("nvidia-")}.pop()
    wanted = {FRAMEWORKS[stack][1], *(name for name in locked if name.startswith("nvidia-"))}
    assert {name: named[name] for name in wanted} == {name: locked[name] for name in wanted}
    assert {name for name in named if name.endswith(suffix)} <= wanted


def test_cudnn_still_computes_on_a_v100() -> None:
    version = pins(IMAGES["image-classification-tensorflow"].lock("gpu"))["nvidia-cudnn-cu12"]
    assert tuple(map(int, version.split(".")[:2])) < (9, 11)
