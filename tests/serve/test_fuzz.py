"""Sends a few hundred seeded hostile requests for each task. `make soak/serving` sends 20,000."""

import os
from pathlib import Path

import pytest

from tests.serve import fuzz
from tests.server import Server

COUNT, SEED = int(os.environ.get("FUZZ_REQUESTS", "400")), int(os.environ.get("FUZZ_SEED", "13"))


@pytest.mark.parametrize("name", ["classifier", "detector", "segmenter", "tensors"])
def test_hostile_requests_get_predictions_or_json_errors_and_the_server_survives(models: Path, name: str) -> None:
    with Server(models / name) as server:
        server.wait_until_ready()
        counts = fuzz.attack(server, fuzz.requests(SEED, COUNT))
        log = server.log()
    assert counts[200] > 10
    assert counts[400] > 20
    assert len([line for line in log if "Booting worker" in line]) == 1
    assert not [line for line in log if "Traceback" in line]
