"""Hostile bodies sent to the inference image with 2 GB of memory, a read-only root and another user."""

import contextlib
import http.client
import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image as Pillow

from tests import hostile
from tests.images.conftest import CLASSIFIER, Case
from tests.images.container import Container
from tests.images.test_serving import PUBLISHED, post

Image = Callable[[str], str]
Trained = Callable[[Case], Path]

TOO_EXPENSIVE = {
    "16-bit PNG",
    "PNG with alpha",
    "PNG of one column",
    "tile of a TIFF",
    "BMP of one row",
    "progressive JPEG",
    "PNG of a million chunks",
    "PGM of maxval 254",
    "PGM of 12 bits",
}
JPEG = {"Content-Type": "image/jpeg"}


def limited(memory: str) -> list[str]:
    return [f"--memory={memory}", f"--memory-swap={memory}", "--cpus=2", "--read-only", "--user=12345", PUBLISHED]


def photo() -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (500, 375), (200, 30, 40)).save(file, "JPEG")
    return file.getvalue()


def predict(address: str, body: bytes) -> tuple[int, float]:
    """Send the body and return the status and the seconds."""
    started = time.monotonic()
    status, _ = post(address, body, JPEG)
    return status, time.monotonic() - started


def ping(address: str) -> tuple[int, float]:
    """Return status and seconds of GET /ping."""
    started = time.monotonic()
    with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("GET", "/ping")
        return connection.getresponse().status, time.monotonic() - started


@contextlib.contextmanager
def in_two_threads(work: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Run `work` in two threads. Yield a function that returns whether one is still running."""
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield lambda: any(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join()


def test_hostile_bodies_do_not_restart_the_server_or_delay_other_requests(image: Image, trained: Trained) -> None:
    good, pings, goods, bad = photo(), [], [], {}
    with Container(
        image("inference"),
        "serve",
        mounts={"/opt/ml/model:ro": trained(CLASSIFIER)},
        options=limited("2g"),
        env={"VISION_DECODE_SECONDS": "1"},
    ) as container:
        address = container.wait_until_ready()
        for name, make in hostile.BODIES.items():
            body, statuses = make(), []
            with in_two_threads(
                lambda body=body, statuses=statuses: statuses.append(predict(address, body)[0])
            ) as is_running:
                while is_running():
                    goods.append(predict(address, good))
                    pings.append(ping(address))
            bad[name] = statuses
        log = container.log()
    # No machine can decode these within the limits of memory and time.
    assert {name for name, statuses in bad.items() if set(statuses) == {413}} >= TOO_EXPENSIVE, bad
    assert {status for statuses in bad.values() for status in statuses} <= {200, 400, 413}, bad
    assert [status for status, _ in goods if status != 200] == []
    assert max(seconds for _, seconds in pings) < 2
    assert [status for status, _ in pings if status != 200] == []
    assert max(seconds for _, seconds in goods) < 10
    assert log.count("Booting worker") == 1, log
    assert "SIGKILL" not in log


def test_too_little_memory_to_load_a_model_ends_the_container_with_an_explanation(
    image: Image, trained: Trained, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(trained(CLASSIFIER), model)
    with open(model / "model.onnx", "ab") as file:  # 150 MB in field 6 of ONNX's ModelProto, doc_string
        file.write(b"\x32\x80\xa3\xc3\x47" + b"a" * 150_000_000)
    model.chmod(0o755)
    with Container(
        image("inference"), "serve", mounts={"/opt/ml/model:ro": model}, options=limited("100m")
    ) as container:
        assert container.wait(120) == 3, container.log()
        assert "3 processes were killed while loading it" in container.log()
        assert "This container may use 100 MB: give it more" in container.log()
