"""The server's settings and the machine they are taken from."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve import machine
from serve.settings import Settings, SettingsError

INTEGERS = {  # variable: (field, low, high, bytes of one unit)
    "SAGEMAKER_BIND_TO_PORT": ("port", 1, 65535, 1),
    "SAGEMAKER_MODEL_SERVER_TIMEOUT": ("timeout", 1, 86400, 1),
    "SAGEMAKER_MODEL_SERVER_WORKERS": ("workers", 1, 64, 1),
    "VISION_CONCURRENT_PREDICTIONS": ("admitted", 1, 256, 1),
    "VISION_QUEUE_SIZE": ("queue", 0, 1000, 1),
    "VISION_MODEL_THREADS": ("model_threads", 1, 256, 1),
    "VISION_MAX_BODY_MB": ("max_body", 1, 1024, 1024 * 1024),
    "VISION_MAX_PIXELS": ("max_pixels", 1, 10_000_000_000, 1),
}


def test_defaults_are_the_platforms() -> None:
    settings = Settings.from_environment({})
    assert settings.model_dir == Path("/opt/ml/model")
    assert (settings.port, settings.batch, settings.timeout, settings.workers) == (8080, False, 60, 1)
    assert settings.max_body == 100 * 1024 * 1024
    assert settings.admitted == settings.model_threads == machine.cpu_count()


def test_threads_leave_32_free_when_all_others_predict_or_wait() -> None:
    settings = Settings.from_environment({"VISION_CONCURRENT_PREDICTIONS": "3", "VISION_QUEUE_SIZE": "5"})
    assert settings.threads == 3 + 5 + 32


def test_many_models_have_one_worker_a_longer_line_and_few_threads_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_count", lambda: 96)
    many = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "4"}
    settings = Settings.from_environment(many)
    assert (settings.multi_model, settings.workers, settings.workers_ignored) == (True, 1, 4)
    assert (settings.queue, settings.model_threads) == (64, 8)
    assert Settings.from_environment(many | {"VISION_MODEL_THREADS": "16"}).model_threads == 16
    one = Settings.from_environment({"SAGEMAKER_MODEL_SERVER_WORKERS": "4"})
    assert (one.multi_model, one.workers, one.workers_ignored, one.model_threads) == (False, 4, 0, 96)


@pytest.mark.parametrize("name", INTEGERS)
def test_every_variable_sets_its_value_and_an_empty_one_does_not(name: str) -> None:
    field, low, high, unit = INTEGERS[name]
    for value in (low, high):
        assert getattr(Settings.from_environment({name: f" {value} "}), field) == value * unit
    assert Settings.from_environment({name: ""}) == Settings.from_environment({})


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("text", ["x", "1.5", "-1", "1_0", "٣", "1e3", "99999999999999"])
def test_value_that_makes_no_sense_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{text}', it must be a whole number from"):
        Settings.from_environment({name: text})


@pytest.mark.parametrize("port", ["abc", "0", "65536", "80 80", "-1"])
def test_a_port_that_cannot_be_is_refused_by_the_name_that_make_gives_it_too(port: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"SAGEMAKER_BIND_TO_PORT": port})
    assert str(caught.value) == (
        f"SAGEMAKER_BIND_TO_PORT is '{port}', it must be a whole number from 1 to 65535 (with `make serve`: PORT)."
    )


@pytest.mark.parametrize(
    ("text", "batch"), [("true", True), ("True", True), ("1", True), ("false", False), ("0", False), ("", False)]
)
def test_batch_transform_is_told_in_both_spellings(text: str, batch: bool) -> None:
    assert Settings.from_environment({"SAGEMAKER_BATCH": text}).batch is batch


def test_metrics_are_on_and_requests_are_written_as_text_where_they_are_refused_unless_set_otherwise() -> None:
    def read(**variables: str) -> tuple[bool, str, str]:
        settings = Settings.from_environment(variables)
        return settings.metrics, settings.log_format, settings.log_requests

    assert read() == read(VISION_METRICS="", VISION_LOG_FORMAT="") == (True, "text", "errors")
    assert read(VISION_METRICS="False", VISION_LOG_FORMAT="JSON", VISION_LOG_REQUESTS="all") == (False, "json", "all")
    for name, allowed in (("VISION_LOG_FORMAT", "text or json"), ("VISION_LOG_REQUESTS", "errors or all or none")):
        with pytest.raises(SettingsError, match=f"{name} is 'yes', it must be {allowed}"):
            read(**{name: "yes"})


def test_unclear_boolean_is_refused() -> None:
    with pytest.raises(SettingsError, match="SAGEMAKER_BATCH is 'yes please', it must be true or false"):
        Settings.from_environment({"SAGEMAKER_BATCH": "yes please"})


def test_the_float_graph_can_be_asked_for() -> None:
    assert Settings.from_environment({}).precision == "auto"
    assert Settings.from_environment({"VISION_PRECISION": "float32"}).precision == "float32"
    with pytest.raises(SettingsError, match="VISION_PRECISION is 'int4', it must be auto or float32"):
        Settings.from_environment({"VISION_PRECISION": "int4"})


def test_base_folder_moves_the_model() -> None:
    assert Settings.from_environment({"SAGEMAKER_BASE_DIR": "/somewhere"}).model_dir == Path("/somewhere/model")


def cgroup(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return folder


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "5000 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "300000"}, 8),
    ],
)
def test_cpus_are_those_of_the_quota_else_of_the_affinity(tmp_path: Path, files: dict[str, str], count: int) -> None:
    assert machine.cpu_count(cgroup(tmp_path, files)) == count


@given(quota=st.integers(1, 10**9), period=st.integers(1, 10**6))
def test_cpu_count_is_never_less_than_one_nor_more_than_visible(
    tmp_path_factory: pytest.TempPathFactory, quota: int, period: int
) -> None:
    folder = cgroup(tmp_path_factory.mktemp("cgroup"), {"cpu.max": f"{quota} {period}"})
    assert 1 <= machine.cpu_count(folder) <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 2048 * 1024),
        ({"memory.max": "max"}, 2048 * 1024),
        ({"memory.max": "1048576"}, 1048576),
        ({"memory/memory.limit_in_bytes": "1048576"}, 1048576),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, 2048 * 1024),
    ],
)
def test_memory_is_the_limit_of_the_cgroup_else_the_machines(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:        2048 kB\nMemFree:          1 kB\n")
    assert machine.memory_bytes(cgroup(tmp_path, files), meminfo) == expected


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["fpu avx2 avx512_vnni"], True),
        (["fpu avx2 avx_vnni"], True),
        (["fpu avx2"], False),
        (["fpu avx2 avx512_vnni", "fpu avx2"], False),  # some processors have cores of two kinds
        (["fpu avx512_vnni_other"], False),
        ([], False),
    ],
)
def test_vnni_is_there_when_every_processor_has_it(tmp_path: Path, flags: list[str], found: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("".join(f"processor\t: 0\nflags\t\t: {words}\nbugs\t\t: x\n\n" for words in flags))
    assert machine.has_vnni(cpuinfo) is found
