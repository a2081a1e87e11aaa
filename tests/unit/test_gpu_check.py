"""gpu-check's comparison and verdict, with functions in place of trainings."""

import pytest

from train.gpu_check import comparison
from train.gpu_check.comparison import Place, Run, Training, compare, places, table
from train.job.devices import CPU, Device

GPUS = [Device("gpu", 0), Device("gpu", 1)]
LOSSES = [2.0, 1.0, 0.5]


def training(factors: dict[str, float], has_half: bool = True) -> Training:
    """Return a training with the CPU's losses times a factor, by device."""

    def train(place: Place) -> Run:
        factor = factors.get(str(place), 1.0)
        return Run([loss * factor for loss in LOSSES], 100.0, None if place.devices == (CPU,) else 2048.0)

    return Training(train, has_half)


def verdicts(rows: list[comparison.Row]) -> dict[str, bool]:
    """Return whether the run on each device agrees with the CPU."""
    return {str(row.place): row.passed for row in rows}


def test_each_gpu_and_float16_and_all_gpus_together_are_compared_with_the_cpu() -> None:
    rows = compare({"a": training({}), "b": training({}, has_half=False)}, GPUS)
    assert [(row.algorithm, str(row.place)) for row in rows] == [
        *(("a", "cpu:0"), ("a", "gpu:0"), ("a", "gpu:1"), ("a", "gpu:0 float16"), ("a", "gpu:1 float16")),
        *(("a", "gpu:0,gpu:1"), ("b", "cpu:0"), ("b", "gpu:0"), ("b", "gpu:1"), ("b", "gpu:0,gpu:1")),
    ]
    assert all(row.passed for row in rows)


@pytest.mark.parametrize(
    ("devices", "expected"),
    [(GPUS[:1], ["gpu:0", "gpu:0 float16"]), ([CPU, Device("cpu", 1)], ["cpu:1", "cpu:0,cpu:1"]), ([CPU], [])],
    ids=["one-gpu", "contexts-of-the-cpu", "the-cpu"],
)
def test_a_single_device_is_compared_once_and_the_cpu_has_no_float16(
    devices: list[Device], expected: list[str]
) -> None:
    assert [str(place) for place in places(devices, half=True)] == expected


@pytest.mark.parametrize("factor", [1.0011, 0.9989, float("nan"), float("inf")])
def test_a_device_with_different_losses_fails(factor: float) -> None:
    rows = compare({"a": training({"gpu:1": factor, "gpu:0 float16": 1.0011})}, GPUS)
    assert [place for place, passed in verdicts(rows).items() if not passed] == ["gpu:1"]


def test_float16_has_a_separate_limit() -> None:
    rows = compare({"a": training({"gpu:0 float16": 1.049, "gpu:1 float16": 1.051})}, GPUS)
    assert [place for place, passed in verdicts(rows).items() if not passed] == ["gpu:1 float16"]


def test_a_device_with_an_error_fails_and_the_others_are_still_compared() -> None:
    def train(place: Place) -> Run:
        if place.devices[0] == GPUS[0]:
            raise RuntimeError("no kernel image is available for execution on the device\nat line 7")
        return Run(LOSSES, 100.0)

    rows = compare({"a": Training(train, has_half=False)}, GPUS)
    assert verdicts(rows) == {"cpu:0": True, "gpu:0": False, "gpu:1": True, "gpu:0,gpu:1": False}
    assert "| a | gpu:0 | - | - | - | - | - | - | **failed**: RuntimeError: no kernel image is available" in table(rows)


def test_the_table_has_losses_difference_speed_and_memory() -> None:
    rows = compare({"a": training({"gpu:0": 1.0005, "gpu:1": 1.5}, has_half=False)}, GPUS)
    assert table(rows).splitlines() == [
        "| algorithm | where | first loss | last loss | difference | allowed | images/s | MB |  |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| a | cpu:0 | 2.000000 | 0.500000 | 0.0e+00 | 1e-03 | 100.0 | - | the reference |",
        "| a | gpu:0 | 2.001000 | 0.500250 | 5.0e-04 | 1e-03 | 100.0 | 2048 | passed |",
        "| a | gpu:1 | 3.000000 | 0.750000 | 5.0e-01 | 1e-03 | 100.0 | 2048 | **failed** |",
        "| a | gpu:0,gpu:1 | 2.000000 | 0.500000 | 0.0e+00 | 1e-03 | 100.0 | 2048 | passed |",
    ]
