"""Creates a folder with the structure of /opt/ml, as SageMaker sets it up for a training job."""

import json
from collections.abc import Mapping
from pathlib import Path

IMAGES = "application/x-image"
RECORDIO = "application/x-recordio"


def lay_out(
    base: Path, channels: Mapping[str, Path], hyperparameters: Mapping[str, object], content_type: str = IMAGES
) -> None:
    """Fill `base` with the files that /opt/ml has at the start of a job. `base` must be empty or missing.

    input/config/*.json have the contents that the SDK's local mode writes (all hyperparameters are strings, one host
    named algo-1). input/data/CHANNEL is a link to the channel's folder; model/ and output/ are empty.
    """
    config = base / "input" / "config"
    data = base / "input" / "data"
    for folder in (config, data, base / "model", base / "output"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, folder in channels.items():
        (data / name).symlink_to(folder.resolve(), target_is_directory=True)
    files = {
        "hyperparameters": {name: str(value) for name, value in hyperparameters.items()},
        "inputdataconfig": {name: {"TrainingInputMode": "File", "ContentType": content_type} for name in channels},
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"},
    }
    for name, content in files.items():
        (config / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
