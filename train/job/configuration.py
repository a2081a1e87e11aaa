"""The files in `input/config`: JSON objects that SageMaker writes, or a user in a plain docker run."""

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
"""What is read, each with what it may hold."""
_OPTIONAL = {"checkpointconfig.json"}


def read(path: Path) -> dict[str, Any]:
    """Return the JSON object in one of the files. Raises UserError naming it, the line, and what it must hold."""
    wanted = f"it must hold one object, such as {json.dumps(EXAMPLES[path.name])}"
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: SageMaker writes it; in a run of your own {wanted}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): fix its permissions; {wanted}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): {wanted}") from None
    except RecursionError:
        raise UserError(f"{path} is not JSON: it is nested too deeply; {wanted}") from None
    except json.JSONDecodeError as error:
        if not text.strip():
            raise UserError(f"{path} is empty: {wanted}") from None
        raise UserError(f"{path}, line {error.lineno} is not JSON: {error.msg}; {wanted}") from None
    if not isinstance(found, dict):
        kind = "null" if found is None else type(found).__name__
        raise UserError(f"{path} holds a JSON {kind}: {wanted}")
    return found


def check(folder: Path) -> None:
    """Raise UserError when one of the files in `folder` is missing or could not be used."""
    found = {name: read(folder / name) for name in EXAMPLES if name not in _OPTIONAL}
    resources = found["resourceconfig.json"]
    fits = {
        "current_host": isinstance(resources.get("current_host"), str),
        "hosts": isinstance(resources.get("hosts"), list) and all(isinstance(h, str) for h in resources["hosts"]),
    }
    lacking = [name for name, is_there in fits.items() if not is_there]
    if lacking:
        raise UserError(
            f"{folder / 'resourceconfig.json'} lacks {' and '.join(lacking)}: it names the host of the job, as in "
            f"{json.dumps(EXAMPLES['resourceconfig.json'])}"
        )


def checkpoint_folder(base: Path) -> Path | None:
    """Return the folder that `checkpointconfig.json` names, else `base`/checkpoints where that is there, else None.

    Raises UserError for a file that names none.
    """
    path, usual = base / "input" / "config" / "checkpointconfig.json", base / "checkpoints"
    if not path.exists():
        return usual if usual.is_dir() else None
    named = read(path).get("LocalPath") or str(usual)
    if not isinstance(named, str) or not Path(named).is_absolute():
        raise UserError(
            f"{path} has the LocalPath {named!r}, which is not an absolute path: it must hold one, as in "
            f"{json.dumps(EXAMPLES[path.name])}"
        )
    return Path(named)
