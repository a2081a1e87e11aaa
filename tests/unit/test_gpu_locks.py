"""The lock files of the GPU images, which CI does not build, and the versions in the documentation."""

import re
from pathlib import Path

import pytest

from local.images import IMAGES, TRAINING
from tests.environments import REPOSITORY

STACKS = {IMAGES[name].stack: name for name in TRAINING}
FRAMEWORKS = {"mxnet": ("mxnet", "mxnet-cu112"), "tensorflow": ("tensorflow-cpu", "tensorflow")}
"""The framework's packages for CPUs and for GPUs, by stack."""
PIN = re.compile(r"^([a-z0-9-]+)==([0-9][^ ]*) \\$", re.MULTILINE)
EACH = pytest.mark.parametrize("stack", STACKS)


def pins(lock: Path) -> dict[str, str]:
    """Return the versions by package."""
    return dict(PIN.findall(lock.read_text(encoding="utf-8")))


@EACH
def test_gpu_images_have_the_cpu_images_packages_and_versions_plus_cuda(stack: str) -> None:
    image = IMAGES[STACKS[stack]]
    cpu, gpu = pins(image.lock("cpu")), pins(image.lock("gpu"))
    framework, with_cuda = FRAMEWORKS[stack]
    assert gpu.pop(with_cuda) == cpu.pop(framework)
    cuda = {name for name in gpu if name.startswith("nvidia-")}
    assert len(cuda) > 8
    assert {name: version for name, version in gpu.items() if name not in cuda} == cpu


@EACH
def test_training_and_serving_use_the_same_onnx_runtime(stack: str) -> None:
    assert pins(IMAGES[STACKS[stack]].lock())["onnxruntime"] == pins(IMAGES["inference"].lock())["onnxruntime"]


@EACH
def test_a_lock_file_has_one_cuda_version_and_no_index_url(stack: str) -> None:
    lock = IMAGES[STACKS[stack]].lock("gpu")
    assert len({name[-4:] for name in pins(lock) if name.startswith("nvidia-")}) == 1
    assert "http" not in lock.read_text(encoding="utf-8")


@EACH
def test_the_documented_versions_match_the_lock_files(stack: str) -> None:
    text = (REPOSITORY / "docs" / "instances.md").read_text(encoding="utf-8").partition("## What is inside")[2]
    named = dict(re.findall(r"(nvidia-[a-z0-9-]+|mxnet-cu112|tensorflow) ([0-9][0-9.]+)(?= \||,)", text))
    locked = pins(IMAGES[STACKS[stack]].lock("gpu"))
    suffix = {name[-5:] for name in locked if name.startswith("nvidia-")}.pop()
    expected = {FRAMEWORKS[stack][1], *(name for name in locked if name.startswith("nvidia-"))}
    assert {name: named[name] for name in expected} == {name: locked[name] for name in expected}
    assert {name for name in named if name.endswith(suffix)} <= expected


def test_the_cudnn_version_supports_the_v100() -> None:
    version = pins(IMAGES["image-classification-tensorflow"].lock("gpu"))["nvidia-cudnn-cu12"]
    assert tuple(map(int, version.split(".")[:2])) < (9, 11)
