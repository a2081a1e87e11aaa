"""GPU images on a machine without a GPU: their contents, and jobs with the same results as in the CPU images."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from local.images import IMAGES, TRAINING
from tests.environments import REPOSITORY
from tests.images.conftest import CASES, CLASSIFIER, TENSORFLOW, Case, Channels, Job
from tests.images.container import RESTRICTED, Container, inspect, output

MXNET = [name for name in TRAINING if IMAGES[name].stack == "mxnet"]
STAND_IN = "/opt/train/lib/no-driver/libcuda.so.1"
DRIVER = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"
"""The path where the NVIDIA container toolkit mounts the driver's library on Debian."""
ADDRESS = re.compile(rb"(Constant_ssd_anchors_)\d+")
EACH = pytest.mark.parametrize("name", TRAINING)

Image = Callable[[str], str]


@EACH
def test_every_shared_library_except_the_drivers_is_found(gpu_image: Image, name: str) -> None:
    # Libraries in NAME.libs have no search path. Their extension module has one, and is checked.
    script = (
        "find /opt /usr/local -name '*.so*' ! -path '*.libs/*' | while read -r file; do "
        "ldd $file 2>/dev/null | sed -n 's/ => not found//p'; done | sort -u"
    )
    count = output(gpu_image(name), "bash", "-c", "find /opt -path '*/nvidia/*/lib/*.so*' | wc -l")
    assert int(count) >= 15
    missing = output(gpu_image(name), "bash", "-c", script).split()
    assert missing == (["libcuda.so.1"] if name in MXNET else [])


@EACH
def test_the_driver_is_not_included_but_requested_from_the_container_toolkit(gpu_image: Image, name: str) -> None:
    driver = ["(", "-name", "libcuda.so*", "-o", "-name", "libnvidia-*", "-o", "-name", "nvidia-smi", ")"]
    libraries = output(gpu_image(name), "find", "/", "-xdev", *driver).split()
    assert libraries == ([STAND_IN] if name in MXNET else [])
    variables = set(inspect(gpu_image(name))["Config"]["Env"])
    assert {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"} <= variables
    assert not [variable for variable in variables if variable.startswith(("LD_LIBRARY_PATH=", "LD_PRELOAD="))]


def test_the_mxnet_images_share_all_layers(gpu_image: Image) -> None:
    layers = [inspect(gpu_image(name))["RootFS"]["Layers"] for name in MXNET]
    assert all(image == layers[0] for image in layers)


LOADED = (
    "from train import entry; entry.algorithm('image-classification'); "
    "import mxnet; print(mxnet.context.num_gpus()); "
    "print({line.split()[-1] for line in open('/proc/self/maps') if 'libcuda.so' in line})"
)


def loaded(image: str, *options: str) -> list[str]:
    """Return the number of GPUs that MXNet finds in a container, and the driver library that it loads."""
    options = ("--network=none", "--env=PYTHONPATH=/opt/program", *options)
    return output(image, "/opt/train/bin/python", "-B", "-c", LOADED, options=options).splitlines()


def test_without_a_driver_mxnet_loads_the_stand_in(gpu_image: Image) -> None:
    assert loaded(gpu_image(CLASSIFIER.name)) == ["0", f"{{'{STAND_IN}'}}"]


def test_a_driver_from_the_container_toolkit_is_loaded(gpu_image: Image, driver: Path) -> None:
    assert loaded(gpu_image(CLASSIFIER.name), f"--volume={driver}:{DRIVER}:ro") == ["0", f"{{'{DRIVER}'}}"]


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A library with the name and functions of a driver, and no device."""
    library = tmp_path / "libcuda.so.1"
    source = REPOSITORY / "containers" / "mxnet" / "gpu" / "libcuda.c"
    command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library, source]
    subprocess.run(command, check=True, timeout=60)
    library.chmod(0o755)
    return library


COMPILED = """
import ctypes, sys
sys.path.insert(0, "/opt/program")
from train.job import cuda
cuda.load_stand_in()
import mxnet
print(mxnet.rtc.CudaModule("extern \\"C\\" __global__ void f(float *x) { x[0] = 1; }") is not None)
libraries = {name: ctypes.CDLL(name) for name in ("libcudnn.so.8", "libnccl.so.2")}
nccl = ctypes.c_int()
libraries["libnccl.so.2"].ncclGetVersion(ctypes.byref(nccl))
print(libraries["libcudnn.so.8"].cudnnGetVersion(), nccl.value)
"""


def test_cudas_libraries_work_within_mxnet(gpu_image: Image) -> None:
    # The kernel compiler opens another library at run time, which ldd does not show.
    lines = output(gpu_image(CLASSIFIER.name), "/opt/train/bin/python", "-c", COMPILED).splitlines()
    assert lines == ["True", "8700 22105"]


@pytest.mark.parametrize("name", MXNET)
def test_a_job_without_a_gpu_writes_the_same_bytes_as_in_the_cpu_image(
    cpu_image: Image, gpu_image: Image, job: Job, drawn_channels: Callable[[Case], Channels], name: str
) -> None:
    case = CASES[name]
    channels, sizes = drawn_channels(case)
    models = []
    for reference in (gpu_image(name), cpu_image(name)):
        base, mounts = job(case, channels, {**sizes, "seed": 1})
        with Container(reference, "train", mounts=mounts, options=RESTRICTED) as container:
            assert container.wait(180) == 0, container.log()
            assert "cuda driver" not in container.log()
        # MXNet names the detector's anchors after a memory address.
        files = {path.name: ADDRESS.sub(rb"\1", path.read_bytes()) for path in (base / "model").iterdir()}
        models.append(files)
    described = [json.loads(model.pop("model.json")) for model in models]
    for description in described:
        description["metrics"].pop("train:throughput")
    assert models[0] == models[1]
    assert described[0] == described[1]
    assert "model.onnx" in models[0]


@EACH
def test_gpu_check_reports_a_missing_gpu(gpu_image: Image, name: str) -> None:
    with Container(gpu_image(name), "gpu-check", options=RESTRICTED) as container:
        assert container.wait(60) == 3, container.log()
        assert "gpu-check: there is no GPU that this image can use" in container.log()


@pytest.mark.parametrize(("name", "runs"), [(CLASSIFIER.name, 9), (TENSORFLOW.name, 3)])
def test_gpu_check_compares_devices_inside_the_image(gpu_image: Image, name: str, runs: int) -> None:
    two = [*RESTRICTED, "--env=VISION_DEVICES=cpu:0,cpu:1"]
    with Container(gpu_image(name), "gpu-check", options=two) as container:
        assert container.wait(300) == 0, container.log()
        assert f"gpu-check: passed: {runs} of {runs} runs agree" in container.log()
