"""The JSON files in `input/config`, written by SageMaker, or by the user for a plain `docker run`."""

import json
from pathlib import Path
from typing import Any

from train.errors import UserError

EXAMPLES: dict[str, dict[str, Any]] = {
    "hyperparameters.json": {"num_classes": "3", "num_training_samples": "300"},
    "inputdataconfig.json": {"train": {}, "validation": {}},
    "resourceconfig.json": {"current_host": "algo-1", "hosts": ["algo-1"]},
    "checkpointconfig.json": {"LocalPath": "/opt/ml/checkpoints"},
}
"""The files that are read, each with an example of its content."""
_OPTIONAL = {"checkpointconfig.json"}


def read(path: Path) -> dict[str, Any]:
    """Return the JSON object in one of the files. Raises UserError with the file, the line and the expected content."""
    expected = f"it must contain one object, such as {json.dumps(EXAMPLES[path.name])}"
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: SageMaker writes it; in a run of your own, {expected}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): fix its permissions; {expected}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): {expected}") from None
    except RecursionError:
        raise UserError(f"{path} is not JSON: it is nested too deeply; {expected}") from None
    except json.JSONDecodeError as error:
        if not text.strip():
            raise UserError(f"{path} is empty: {expected}") from None
        raise UserError(f"{path}, line {error.lineno} is not JSON: {error.msg}; {expected}") from None
    if not isinstance(value, dict):
        kind = "null" if value is None else type(value).__name__
        raise UserError(f"{path} contains a JSON {kind}: {expected}")
    return value


def check(folder: Path) -> None:
    """Raise UserError if one of the files in `folder` is missing or invalid."""
    contents = {name: read(folder / name) for name in EXAMPLES if name not in _OPTIONAL}
    resources = contents["resourceconfig.json"]
    valid = {
        "current_host": isinstance(resources.get("current_host"), str),
        "hosts": isinstance(resources.get("hosts"), list) and all(isinstance(h, str) for h in resources["hosts"]),
    }
    missing = [name for name, is_valid in valid.items() if not is_valid]
    if missing:
        raise UserError(
            f"{folder / 'resourceconfig.json'} lacks {' and '.join(missing)}: it must name the hosts of the job, as in "
            f"{json.dumps(EXAMPLES['resourceconfig.json'])}"
        )


def checkpoint_folder(base: Path) -> Path | None:
    """Return the folder in `checkpointconfig.json`, else `base`/checkpoints if it exists, else None.

    Raises UserError if the file does not have an absolute path.
    """
    path, default = base / "input" / "config" / "checkpointconfig.json", base / "checkpoints"
    if not path.exists():
        return default if default.is_dir() else None
    local_path = read(path).get("LocalPath") or str(default)
    if not isinstance(local_path, str) or not Path(local_path).is_absolute():
        raise UserError(
            f"{path} has the LocalPath {local_path!r}, which is not an absolute path: it must be one, as in "
            f"{json.dumps(EXAMPLES[path.name])}"
        )
    return Path(local_path)
