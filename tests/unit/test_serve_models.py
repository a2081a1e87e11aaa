"""The models of a process: they load once, do not delay others, free their memory, and are restored by a new worker."""

import gc
import itertools
import json
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve.artifact import ArtifactError
from serve.engine.loaded import MAX_KILLS, Loaded
from serve.engine.model import Engine
from serve.engine.models import Models
from serve.http.errors import AlreadyLoaded, BadRequest, NotLoaded, OutOfMemory, Unavailable


class Stub:
    """An engine that does nothing. `path` is the folder that it was loaded from."""

    def __init__(self, path: Path) -> None:
        self.path = path


def make_models(load: Callable[[Path], object], loaded: Loaded | None = None) -> Models:
    return Models(lambda: load, loaded or Loaded())  # type: ignore[arg-type, return-value]


def engine_of(models: Models, name: str) -> Engine:
    with models.get(name).used() as engine:
        return engine


def test_a_model_is_loaded_once_and_an_unknown_name_is_rejected() -> None:
    models = make_models(Stub)
    assert models.load("a", Path("/a")).name == "a"
    assert isinstance(engine_of(models, "a"), Stub)
    with pytest.raises(AlreadyLoaded, match="Model a is already loaded"):
        models.load("a", Path("/other"))
    for call in (models.get, models.unload):
        with pytest.raises(NotLoaded, match="Model b is not loaded"):
            call("b")


def test_a_model_that_cannot_be_loaded_is_a_bad_request_and_its_name_stays_free() -> None:
    broken = [True]

    def load(path: Path) -> Stub:
        if broken[0]:
            raise ArtifactError("model.onnx is missing.")
        return Stub(path)

    models = make_models(load)
    with pytest.raises(BadRequest, match=r"Model a cannot be served: model\.onnx is missing\."):
        models.load("a", Path("/a"))
    with pytest.raises(NotLoaded):
        models.get("a")
    broken.clear()
    broken.append(False)
    assert models.load("a", Path("/a")).state == "ready"


def test_while_one_model_loads_others_can_be_loaded_called_and_unloaded() -> None:
    started, end = threading.Event(), threading.Event()

    def load(path: Path) -> Stub:
        if path == Path("/slow"):
            started.set()
            assert end.wait(10)
        return Stub(path)

    models = make_models(load)
    models.load("a", Path("/a"))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(models.load, "slow", Path("/slow"))
        assert started.wait(10)
        models.load("b", Path("/b"))
        assert engine_of(models, "a")
        models.unload("a")
        with pytest.raises(NotLoaded):  # it counts as loaded only when it can respond
            models.get("slow")
        end.set()
        assert slow.result(10).state == "ready"


def test_two_simultaneous_loads_of_one_name_load_it_once() -> None:
    started, end, count = threading.Event(), threading.Event(), []

    def load(path: Path) -> Stub:
        count.append(path)
        started.set()
        assert end.wait(10)
        return Stub(path)

    models = make_models(load)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(models.load, "a", Path("/a"))
        assert started.wait(10)
        second = pool.submit(models.load, "a", Path("/a"))
        end.set()
        first.result(10)
        assert isinstance(second.exception(10), AlreadyLoaded)
    assert len(count) == 1


def test_unloading_waits_for_requests_rejects_new_ones_and_frees_the_engine() -> None:
    models, inside, leave = make_models(Stub), threading.Event(), threading.Event()
    models.load("a", Path("/a"))
    alive = weakref.ref(engine_of(models, "a"))

    def request() -> None:
        with models.get("a").used() as engine:
            assert engine
            inside.set()
            assert leave.wait(10)

    model = models.get("a")
    with ThreadPoolExecutor(2) as pool:
        requesting = pool.submit(request)
        assert inside.wait(10)
        unloading = pool.submit(models.unload, "a")
        with pytest.raises(TimeoutError):
            unloading.result(0.1)
        with pytest.raises(NotLoaded), model.used():  # the request looked up the model before it was unloaded
            pass
        leave.set()
        requesting.result(10)
        unloading.result(10)
        assert alive() is None
    assert models.load("a", Path("/a")).state == "ready"


def test_unloading_also_frees_an_engine_in_a_reference_cycle() -> None:
    class Cyclic(Stub):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.me = self

    models = make_models(Cyclic)
    models.load("a", Path("/a"))
    alive = weakref.ref(engine_of(models, "a"))
    gc.disable()
    try:
        models.unload("a")
        assert alive() is None
    finally:
        gc.enable()


def test_pages_are_sorted_by_name_and_the_last_one_is_marked() -> None:
    models = make_models(Stub)
    for name in ("c", "a", "d", "b"):
        models.load(name, Path(f"/{name}"))
    page, more = models.page("", 3)
    assert ([model.name for model in page], more) == (["a", "b", "c"], True)
    page, more = models.page("c", 3)
    assert ([model.name for model in page], more) == (["d"], False)
    models.unload("c")  # the last model of a page may be unloaded before the next page
    assert [model.name for model in models.page("c", 3)[0]] == ["d"]


def test_the_next_worker_restores_the_models_of_the_last_one_and_returns_503_meanwhile(tmp_path: Path) -> None:
    path, may_load = tmp_path / "models.json", threading.Event()
    killed = make_models(Stub, Loaded(path))
    for name in ("a", "b", "gone"):
        killed.load(name, Path(f"/{name}"))
    killed.unload("gone")

    def load(folder: Path) -> Stub:
        assert may_load.wait(10)
        return Stub(folder)

    models = make_models(load, Loaded(path))
    restoring = models.restore()
    for name in ("a", "b"):
        with pytest.raises(Unavailable, match="is being loaded"):
            engine_of(models, name)
    with pytest.raises(NotLoaded):
        models.get("gone")
    assert [model.name for model in models.page("", 10)[0]] == ["a", "b"]
    may_load.set()
    restoring.join(10)
    assert [str(engine_of(models, name).path) for name in ("a", "b")] == ["/a", "/b"]  # type: ignore[attr-defined]
    with pytest.raises(AlreadyLoaded):
        models.load("a", Path("/a"))


def test_a_model_that_cannot_be_restored_is_forgotten_and_the_others_are_served(tmp_path: Path) -> None:
    killed = make_models(Stub, Loaded(tmp_path / "models.json"))
    for name in ("broken", "good"):
        killed.load(name, Path(f"/{name}"))

    def load(folder: Path) -> Stub:
        if folder.name == "broken":
            raise ArtifactError("It is broken.")
        return Stub(folder)

    models = make_models(load, Loaded(tmp_path / "models.json"))
    models.restore().join(10)
    assert engine_of(models, "good")
    with pytest.raises(NotLoaded):
        models.get("broken")
    assert list(Loaded(tmp_path / "models.json").to_restore()) == ["good"]


def test_a_restored_model_that_does_not_fit_waits_for_memory_while_the_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.engine.models.PAUSE", 0.01)
    killed = make_models(Stub, Loaded(tmp_path / "models.json"))
    for name in ("full", "good"):
        killed.load(name, Path(f"/{name}"))
    refused, free = threading.Event(), threading.Event()

    def load(folder: Path) -> Stub:
        if folder.name == "full" and not free.is_set():
            if engines:  # so this is not the first attempt
                refused.set()
            raise OutOfMemory("No memory.")
        engines.append(folder)
        return Stub(folder)

    engines: list[Path] = []
    models = make_models(load, Loaded(tmp_path / "models.json"))
    restoring = models.restore()
    assert refused.wait(10)
    assert engine_of(models, "good")
    with pytest.raises(Unavailable, match="is being loaded"):
        engine_of(models, "full")
    with pytest.raises(OutOfMemory):  # the platform then unloads other models
        models.load("full", Path("/full"))
    free.set()
    restoring.join(10)
    assert engine_of(models, "full")


def test_a_model_that_waits_for_memory_can_be_unloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.engine.models.PAUSE", 0.01)
    Loaded(tmp_path / "models.json").add("full", Path("/full"))
    refused = threading.Event()

    def load(folder: Path) -> Stub:
        refused.set()
        raise OutOfMemory("No memory.")

    models = make_models(load, Loaded(tmp_path / "models.json"))
    restoring = models.restore()
    assert refused.wait(10)
    models.unload("full")
    restoring.join(10)
    assert not restoring.is_alive()
    assert Loaded(tmp_path / "models.json").to_restore() == {}


def test_closing_does_not_wait_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.engine.models.PAUSE", 3600)
    Loaded(tmp_path / "models.json").add("full", Path("/full"))

    def load(folder: Path) -> Stub:
        raise OutOfMemory("No memory.")

    models = make_models(load, Loaded(tmp_path / "models.json"))
    restoring = models.restore()
    models.close()
    restoring.join(10)
    assert not restoring.is_alive()
    assert list(Loaded(tmp_path / "models.json").to_restore()) == ["full"]


def test_loading_a_waiting_model_whose_files_are_gone_is_a_bad_request(tmp_path: Path) -> None:
    listed = Loaded(tmp_path / "models.json")
    for name in ("first", "gone"):
        listed.add(name, Path(f"/{name}"))
    started, end = threading.Event(), threading.Event()

    def load(folder: Path) -> Stub:
        if folder.name == "gone":
            raise ArtifactError("It has gone.")
        started.set()
        assert end.wait(10)
        return Stub(folder)

    models = make_models(load, Loaded(tmp_path / "models.json"))
    restoring = models.restore()
    assert started.wait(10)
    with pytest.raises(BadRequest, match="Model gone cannot be served: It has gone"):
        models.load("gone", Path("/gone"))
    end.set()
    restoring.join(10)


def test_a_model_is_on_the_list_before_it_responds(tmp_path: Path) -> None:
    class Watched(Loaded):
        def add(self, name: str, folder: Path) -> None:
            with pytest.raises(NotLoaded):
                models.get(name)
            super().add(name, folder)

    models = make_models(Stub, Watched(tmp_path / "models.json"))
    models.load("a", Path("/a"))
    assert engine_of(models, "a")


def killed_while_loading(path: Path, name: str, kills: Callable[[], int | None], times: int) -> None:
    """Simulate `times` workers, one after the other, that are killed while they restore `name`."""
    for _ in range(times):
        worker = Loaded(path, kills)
        assert name in worker.to_restore()
        worker.start_loading(name)


def test_a_model_whose_workers_are_killed_for_reasons_other_than_memory_is_always_restored(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    Loaded(path).add("a", Path("/a"))
    killed_while_loading(path, "a", lambda: 7, 3 * MAX_KILLS)
    models = make_models(Stub, Loaded(path, lambda: 7))
    models.restore().join(10)
    assert engine_of(models, "a")


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "not counted by the kernel"])
def test_a_model_whose_loading_takes_all_memory_is_eventually_left_out(tmp_path: Path, counted: bool) -> None:
    path, count = tmp_path / "models.json", itertools.count()

    def kills() -> int | None:
        return next(count) if counted else None

    Loaded(path).add("deadly", Path("/deadly"))
    killed_while_loading(path, "deadly", kills, MAX_KILLS)
    assert Loaded(path, kills).to_restore() == {}


def test_an_out_of_memory_kill_does_not_count_against_a_model_whose_turn_had_not_come(tmp_path: Path) -> None:
    path, count = tmp_path / "models.json", itertools.count()
    listed = Loaded(path)
    for name in ("deadly", "other"):
        listed.add(name, Path(f"/{name}"))
    for _ in range(2 * MAX_KILLS):
        worker = Loaded(path, lambda: next(count))
        if "deadly" not in worker.to_restore():
            break
        worker.start_loading("deadly")
    assert list(Loaded(path, lambda: next(count)).to_restore()) == ["other"]


def test_an_interrupted_load_counts_only_once(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    Loaded(path).add("a", Path("/a"))
    killed_while_loading(path, "a", lambda: 0, 1)
    Loaded(path, lambda: 0).to_restore()  # by a worker that is killed for lack of memory before it loads anything
    killed_while_loading(path, "a", lambda: 1, 1)
    assert json.loads(path.read_text())["a"]["kills"] == 0


def test_models_whose_loading_was_interrupted_are_restored_after_the_others(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    listed = Loaded(path)
    for name in ("a", "b"):
        listed.add(name, Path(f"/{name}"))
    killed_while_loading(path, "a", lambda: 0, 1)
    assert list(Loaded(path, lambda: 0).to_restore()) == ["b", "a"]


def test_a_list_that_cannot_be_written_does_not_prevent_serving_a_model(tmp_path: Path) -> None:
    models = make_models(Stub, Loaded(tmp_path / "no such folder" / "models.json"))
    assert models.load("a", Path("/a")).state == "ready"
