"""A few hundred seeded hostile requests for each task; `make soak/serving` sends 20,000 in all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import fuzz
from tests.framework import bodies_serving as bodies
from tests.server import Server

Run = Callable[..., Any]

COUNT, SEED = int(os.environ.get("FUZZ_REQUESTS", "400")), int(os.environ.get("FUZZ_SEED", "13"))

MAKERS = {
    "image-classification": bodies.make_model,
    "object-detection": bodies.make_detector,
    "semantic-segmentation": bodies.make_segmenter,
    "tensors": bodies.make_tensor_model,
}


@pytest.mark.parametrize("task", MAKERS)
def test_hostile_requests_get_an_error_in_json_or_an_answer_and_leave_the_server_whole(
    in_mxnet: Run, tmp_path: Path, task: str
) -> None:
    in_mxnet(MAKERS[task], tmp_path / "model")
    with Server(tmp_path) as started:
        started.wait_until_ready()
        found = fuzz.attack(f"127.0.0.1:{started.port}", fuzz.requests(SEED, COUNT))
        log = started.log()
    assert found[200] > 10
    assert found[400] > 20
    assert len([line for line in log if "Booting worker" in line]) == 1
    assert not [line for line in log if "Traceback" in line]
