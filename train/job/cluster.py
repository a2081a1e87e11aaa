"""The hosts of the job, from `resourceconfig.json`."""

from dataclasses import dataclass
from pathlib import Path

from train.errors import UserError
from train.job import configuration


@dataclass(frozen=True)
class Hosts:
    """The names of all hosts, in the same order on each host, and this host's name and network interface (or "")."""

    names: tuple[str, ...]
    current: str
    interface: str = ""

    @property
    def rank(self) -> int:
        """The rank of this host, from 0. The host of rank 0 writes the model."""
        return self.names.index(self.current)


def hosts(base: Path) -> Hosts:
    """Return the hosts of the job in `base`, by default only `algo-1`. Raises UserError."""
    path = base / "input" / "config" / "resourceconfig.json"
    config = configuration.read(path) if path.exists() else {}
    current = config.get("current_host") or "algo-1"
    names = tuple(config.get("hosts") or (current,))
    if current not in names:
        raise UserError(
            f"{path} has the current_host {current!r}, which is not among its hosts ({', '.join(names)}): SageMaker "
            "writes both; in a run of your own, correct one of them"
        )
    return Hosts(names, current, config.get("network_interface_name") or "")
