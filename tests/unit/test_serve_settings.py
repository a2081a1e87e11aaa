"""The server's settings, and the properties of the machine that they depend on."""

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


def test_defaults_match_the_platform() -> None:
    settings = Settings.from_environment({})
    assert settings.model_dir == Path("/opt/ml/model")
    assert (settings.port, settings.batch, settings.timeout, settings.workers) == (8080, False, 60, 1)
    assert settings.max_body == 100 * 1024 * 1024
    assert settings.admitted == settings.model_threads == machine.cpu_count()


def test_32_threads_are_free_if_all_others_predict_or_wait() -> None:
    settings = Settings.from_environment({"VISION_CONCURRENT_PREDICTIONS": "3", "VISION_QUEUE_SIZE": "5"})
    assert settings.threads == 3 + 5 + 32


def test_a_multi_model_server_has_one_worker_a_longer_queue_and_fewer_threads_per_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "cpu_count", lambda: 96)
    multi_model = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "4"}
    settings = Settings.from_environment(multi_model)
    assert (settings.multi_model, settings.workers, settings.workers_ignored) == (True, 1, 4)
    assert (settings.queue, settings.model_threads) == (64, 8)
    assert Settings.from_environment(multi_model | {"VISION_MODEL_THREADS": "16"}).model_threads == 16
    single = Settings.from_environment({"SAGEMAKER_MODEL_SERVER_WORKERS": "4"})
    assert (single.multi_model, single.workers, single.workers_ignored, single.model_threads) == (False, 4, 0, 96)


@pytest.mark.parametrize("name", INTEGERS)
def test_every_variable_sets_its_value_unless_it_is_empty(name: str) -> None:
    field, low, high, unit = INTEGERS[name]
    for value in (low, high):
        assert getattr(Settings.from_environment({name: f" {value} "}), field) == value * unit
    assert Settings.from_environment({name: ""}) == Settings.from_environment({})


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("text", ["x", "1.5", "-1", "1_0", "٣", "1e3", "99999999999999"])
def test_an_invalid_value_is_rejected_with_the_variables_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{text}'; it must be a whole number from"):
        Settings.from_environment({name: text})


@pytest.mark.parametrize("port", ["abc", "0", "65536", "80 80", "-1"])
def test_an_invalid_port_is_rejected_with_the_names_of_both_variables(port: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"SAGEMAKER_BIND_TO_PORT": port})
    assert str(caught.value) == (
        f"SAGEMAKER_BIND_TO_PORT is '{port}'; it must be a whole number from 1 to 65535 (with `make serve`: PORT)."
    )


@pytest.mark.parametrize(
    ("text", "batch"), [("true", True), ("True", True), ("1", True), ("false", False), ("0", False), ("", False)]
)
def test_batch_transform_can_be_set_as_a_word_or_a_digit(text: str, batch: bool) -> None:
    assert Settings.from_environment({"SAGEMAKER_BATCH": text}).batch is batch


def test_by_default_metrics_are_on_and_rejected_requests_are_logged_as_text() -> None:
    def read(**variables: str) -> tuple[bool, str, str]:
        settings = Settings.from_environment(variables)
        return settings.metrics, settings.log_format, settings.log_requests

    assert read() == read(VISION_METRICS="", VISION_LOG_FORMAT="") == (True, "text", "errors")
    assert read(VISION_METRICS="False", VISION_LOG_FORMAT="JSON", VISION_LOG_REQUESTS="all") == (False, "json", "all")
    for name, allowed in (("VISION_LOG_FORMAT", "text or json"), ("VISION_LOG_REQUESTS", "errors or all or none")):
        with pytest.raises(SettingsError, match=f"{name} is 'yes'; it must be {allowed}"):
            read(**{name: "yes"})


def test_an_invalid_boolean_is_rejected() -> None:
    with pytest.raises(SettingsError, match="SAGEMAKER_BATCH is 'yes please'; it must be true or false"):
        Settings.from_environment({"SAGEMAKER_BATCH": "yes please"})


def test_the_float_graph_can_be_chosen() -> None:
    assert Settings.from_environment({}).precision == "auto"
    assert Settings.from_environment({"VISION_PRECISION": "float32"}).precision == "float32"
    with pytest.raises(SettingsError, match="VISION_PRECISION is 'int4'; it must be auto or float32"):
        Settings.from_environment({"VISION_PRECISION": "int4"})


def test_the_base_folder_sets_the_models_folder() -> None:
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
def test_the_number_of_cpus_comes_from_the_quota_or_else_from_the_affinity(
    tmp_path: Path, files: dict[str, str], count: int
) -> None:
    assert machine.cpu_count(cgroup(tmp_path, files)) == count


@given(quota=st.integers(1, 10**9), period=st.integers(1, 10**6))
def test_the_number_of_cpus_is_from_one_to_the_number_of_visible_ones(
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
def test_memory_is_the_cgroups_limit_or_else_the_machines_memory(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:        2048 kB\nMemFree:          1 kB\n")
    assert machine.memory_bytes(cgroup(tmp_path, files), meminfo) == expected


@pytest.mark.parametrize(
    ("flags", "has_vnni"),
    [
        (["fpu avx2 avx512_vnni"], True),
        (["fpu avx2 avx_vnni"], True),
        (["fpu avx2"], False),
        (["fpu avx2 avx512_vnni", "fpu avx2"], False),  # some processors have two kinds of cores
        (["fpu avx512_vnni_other"], False),
        ([], False),
    ],
)
def test_vnni_is_detected_only_if_every_processor_has_it(tmp_path: Path, flags: list[str], has_vnni: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("".join(f"processor\t: 0\nflags\t\t: {words}\nbugs\t\t: x\n\n" for words in flags))
    assert machine.has_vnni(cpuinfo) is has_vnni
