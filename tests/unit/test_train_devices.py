"""The devices that a job uses, and the log line about them, with a stand-in for NVIDIA's driver."""

import ctypes
import re
from pathlib import Path
from typing import Any

import pytest

from train.errors import UserError
from train.job import cuda, devices
from train.job.cuda import Gpu
from train.job.devices import Build, choose

T4, A10G, H100 = Gpu("Tesla T4", (7, 5)), Gpu("NVIDIA A10G", (8, 6)), Gpu("NVIDIA H100 80GB HBM3", (9, 0))
ANY = range(5, 9)


class Driver:
    """The functions of libcuda that the code calls, for these GPUs. `status` is the result of cuInit."""

    def __init__(self, gpus: list[Gpu], status: int = 0) -> None:
        self._gpus, self._status = gpus, status

    def cuInit(self, flags: int) -> int:
        return self._status

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self._gpus)
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = number + 100  # a handle, which may differ from the number
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: ctypes.c_int) -> int:
        name.value = self._gpus[device.value - 100].name.encode()[: size - 1]
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: int, device: ctypes.c_int) -> int:
        value._obj.value = self._gpus[device.value - 100].capability[{75: 0, 76: 1}[which]]
        return 0


def test_names_and_compute_capabilities_come_from_the_driver() -> None:
    assert cuda.list_gpus(Driver([T4, H100])) == [T4, H100]


def test_a_driver_that_does_not_start_has_no_gpu() -> None:
    assert cuda.list_gpus(Driver([T4], status=100)) == []  # CUDA_ERROR_NO_DEVICE


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "DRIVER", "libthere-is-none.so.1")
    assert cuda.gpus() == []


def choose_devices(
    gpus: list[Gpu], variable: str = "", max_devices: int = 32, build: Build | None = None, *, patch: pytest.MonkeyPatch
) -> str:
    """Return the devices of a job on a machine with these GPUs, as a string."""
    patch.setattr(cuda, "gpus", lambda: gpus)
    patch.setattr(Path, "glob", lambda path, pattern: iter(gpus))
    build = build or Build("MXNet", True, len(gpus), ANY)
    return ",".join(map(str, choose({"VISION_DEVICES": variable}, build, max_devices)))


@pytest.mark.parametrize(
    ("gpus", "variable", "devices"),
    [
        ([], "", "cpu:0"),
        ([T4], "", "gpu:0"),
        ([A10G] * 4, "", "gpu:0,gpu:1,gpu:2,gpu:3"),
        ([A10G] * 4, "gpu", "gpu:0,gpu:1,gpu:2,gpu:3"),
        ([A10G] * 4, " GPU:3, gpu:1", "gpu:3,gpu:1"),
        ([A10G] * 4, "cpu", "cpu:0"),
        ([], "cpu:0,cpu:1", "cpu:0,cpu:1"),
        ([H100, A10G], "", "gpu:1"),
        ([H100] * 8, "", "cpu:0"),
    ],
)
def test_all_gpus_that_the_build_supports_are_used_unless_the_user_sets_others(
    gpus: list[Gpu], variable: str, devices: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_devices(gpus, variable, patch=monkeypatch) == devices


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("2", "is not a list of devices"),
        ("gpu:0;gpu:1", "is not a list of devices"),
        ("tpu:0", "is not a list of devices"),
        ("gpu:0,cpu:0", "must name different devices of one kind"),
        ("gpu:0,gpu:0", "must name different devices of one kind"),
        ("gpu:2", "this job can use gpu:0, gpu:1"),
    ],
)
def test_invalid_and_missing_devices_are_rejected(variable: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match=f"^environment variable VISION_DEVICES={variable!r} .*{re.escape(reason)}.*set it"
    ):
        choose_devices([T4, T4], variable, patch=monkeypatch)


@pytest.mark.parametrize("variable", ["gpu", "gpu:0"])
def test_gpus_that_the_user_sets_but_that_cannot_be_used_are_rejected(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for gpus in ([], [H100]):
        with pytest.raises(UserError, match="this job can use no GPU"):
            choose_devices(gpus, variable, patch=monkeypatch)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged since the last call."""
    messages = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return messages


def test_the_log_has_one_line_about_the_devices(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "train")
    monkeypatch.setattr(devices.LOG, "propagate", True)
    cpu_build = Build("MXNet", False, 0, ANY)
    choose_devices([], build=cpu_build, patch=monkeypatch)
    assert lines(caplog) == []
    choose_devices([T4], build=cpu_build, patch=monkeypatch)
    (line,) = lines(caplog)
    assert line.startswith("this image uses only the CPU, although this machine has a GPU; ")
    choose_devices([], patch=monkeypatch)
    assert lines(caplog) == ["MXNet finds no GPU: training on the CPU"]
    choose_devices([T4, T4], patch=monkeypatch)
    assert lines(caplog) == ["Training on gpu:0, gpu:1"]
    for gpus, build in (([T4, T4], None), ([H100], None), ([], None), ([T4], cpu_build)):
        choose_devices(gpus, "cpu", build=build, patch=monkeypatch)
        assert lines(caplog) == ["Training on cpu:0, as VISION_DEVICES says"]
    choose_devices([H100] * 8, patch=monkeypatch)
    assert lines(caplog) == [
        "8 of 8 GPUs cannot be used (NVIDIA H100 80GB HBM3, compute capability 9.0): this build of MXNet supports "
        "compute capability 5.0 to 8.9, as in ml.p3, ml.p4d, ml.g4dn, ml.g5 and ml.g6; training on the CPU"
    ]


def test_a_batch_with_fewer_pictures_than_devices_uses_a_device_per_picture(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "train")
    monkeypatch.setattr(devices.LOG, "propagate", True)
    assert choose_devices([T4] * 4, max_devices=2, patch=monkeypatch) == "gpu:0,gpu:1"
    assert lines(caplog)[0] == "mini_batch_size=2 is less than the 4 devices: using 2 devices"
