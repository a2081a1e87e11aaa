"""The hosts of a job, as resourceconfig.json names them."""

import json
from pathlib import Path
from typing import Any

import pytest

from train.errors import UserError
from train.job import cluster
from train.job.cluster import Hosts


def write_config(folder: Path, config: dict[str, Any]) -> Path:
    path = folder / "input" / "config" / "resourceconfig.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(config))
    return folder


def test_the_rank_of_a_host_is_its_position_in_the_list(tmp_path: Path) -> None:
    hosts = cluster.hosts(write_config(tmp_path, {"hosts": ["algo-1", "algo-2"], "current_host": "algo-2"}))
    assert (hosts.names, hosts.rank) == (("algo-1", "algo-2"), 1)


@pytest.mark.parametrize("config", [{}, {"hosts": []}, {"current_host": "algo-1"}])
def test_an_incomplete_file_means_one_host(config: dict[str, Any], tmp_path: Path) -> None:
    assert cluster.hosts(write_config(tmp_path, config)) == cluster.Hosts(("algo-1",), "algo-1")


def test_a_missing_file_means_one_host(tmp_path: Path) -> None:
    assert cluster.hosts(tmp_path) == Hosts(("algo-1",), "algo-1")


def test_a_current_host_that_is_not_in_the_list_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the current_host 'b', which is not among its hosts"):
        cluster.hosts(write_config(tmp_path, {"hosts": ["a"], "current_host": "b"}))
