"""The hosts of a job, as resourceconfig.json names them."""

import json
from pathlib import Path
from typing import Any

import pytest

from train.errors import UserError
from train.job import cluster
from train.job.cluster import Hosts


def base(folder: Path, config: dict[str, Any]) -> Path:
    path = folder / "input" / "config" / "resourceconfig.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(config))
    return folder


def test_a_hosts_rank_is_its_place_among_all(tmp_path: Path) -> None:
    found = cluster.hosts(base(tmp_path, {"hosts": ["algo-1", "algo-2"], "current_host": "algo-2"}))
    assert (found.names, found.rank) == (("algo-1", "algo-2"), 1)


@pytest.mark.parametrize("config", [{}, {"hosts": []}, {"current_host": "algo-1"}])
def test_where_little_is_said_there_is_one_host(config: dict[str, Any], tmp_path: Path) -> None:
    assert cluster.hosts(base(tmp_path, config)) == cluster.Hosts(("algo-1",), "algo-1")


def test_without_the_file_there_is_one_host(tmp_path: Path) -> None:
    assert cluster.hosts(tmp_path) == Hosts(("algo-1",), "algo-1")


def test_a_host_that_is_not_among_the_hosts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the current_host 'b', which is not among its hosts"):
        cluster.hosts(base(tmp_path, {"hosts": ["a"], "current_host": "b"}))
