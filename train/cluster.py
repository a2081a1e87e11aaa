"""The hosts of the job, as `resourceconfig.json` names them."""

from pathlib import Path

from train import configuration
from train.errors import UserError


def one_host(base: Path) -> str:
    """Return this host's name (`algo-1`). Raises UserError when the job under `base` has more hosts than this one."""
    path = base / "input" / "config" / "resourceconfig.json"
    config = configuration.read(path) if path.exists() else {}
    hosts = config.get("hosts", [])
    if len(hosts) > 1:
        raise UserError(
            f"the job has {len(hosts)} hosts ({', '.join(hosts)}), and this version trains on one: set instance_count=1"
        )
    return config.get("current_host") or "algo-1"
