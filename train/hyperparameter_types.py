"""The hyperparameters that all algorithms share, and how SageMaker's strings are parsed and checked."""

import dataclasses
import difflib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from train.errors import UserError
from train.fields import NONE, REQUIRED, rows
from train.job import configuration
from train.log import LOG

# Keys that SageMaker and its SDKs add (docs/training.md).
_PLATFORM_PREFIXES = ("_", "sagemaker_")
_SYNC = "dist_sync"
_PLATFORM_NAMES = ("default_user_module_name",)


class CommonHyperparameters(ABC):
    """The hyperparameters that every algorithm's dataclass must define as fields, with their documentation."""

    num_classes: int | None
    num_training_samples: int | None
    """Number of training images. Divided by `mini_batch_size`, it gives the number of updates per epoch for
    `lr_scheduler_step`. If the data has a different number, a warning is logged."""
    use_pretrained_model: bool
    epochs: int
    """Passes over the training images."""
    mini_batch_size: int
    """Images per update; at most the number of training images."""
    optimizer: str
    """nag is sgd with Nesterov momentum."""
    learning_rate: float
    """Learning rate at the start."""
    lr_scheduler_factor: float
    """Factor by which the learning rate is multiplied at each `lr_scheduler_step`."""
    lr_scheduler_step: tuple[int, ...]
    """After each of these epochs the learning rate is multiplied by `lr_scheduler_factor`."""
    momentum: float
    """Momentum of sgd and nag."""
    weight_decay: float
    """Weight decay of sgd and nag. It applies to kernels only, not to BatchNorm and biases."""
    early_stopping: bool
    """End training when the validation metric no longer improves."""
    early_stopping_min_epochs: int
    """Minimum number of epochs before training can stop early."""
    early_stopping_patience: int
    """Number of epochs without improvement after which training ends; 0 means 1."""
    early_stopping_tolerance: float
    """Smallest improvement that counts, relative to the best value so far."""
    unreadable_tolerance: float
    """**Ours.** The job fails if more than this share of the images is unreadable."""
    seed: int
    """**Ours.** Seed of the initial weights, the order of the images and the augmentation."""
    quantize: str | None
    """**Ours.** int8: also write the network in 8-bit integers. It is served if its predictions agree with the float
    network's: [quantization.md](quantization.md)."""
    quantize_tolerance: float
    """**Ours.** Share of the validation images whose correct predictions the int8 graph may lose; one may always be
    lost. No effect unless `quantize` is set."""

    @abstractmethod
    def log(self, hosts: int = 1) -> None:
        """Log the hyperparameters, with warnings about those that have less effect than expected on `hosts` hosts."""

    def replace(self, **values: Any) -> Self:
        """Return a copy with these values, checked again."""
        return dataclasses.replace(self, **values)  # type: ignore[type-var]  # each algorithm's class is a dataclass

    def values(self) -> dict[str, Any]:
        """Return all values by name, in the order of the fields, for the log and for files.

        The quantization settings are included only if `quantize` is set: other jobs neither log them nor compare them
        with a checkpoint.
        """
        unset = ("quantize", "quantize_tolerance") if self.quantize is None else ()
        return {name: value for name, value in vars(self).items() if name not in unset}


def warn_of_late_steps(hp: CommonHyperparameters) -> None:
    """Log a warning if the learning rate is scheduled to be reduced after the last epoch."""
    late = [str(step) for step in hp.lr_scheduler_step if step >= hp.epochs]
    if late:
        LOG.warning(
            "lr_scheduler_step=%s is not below epochs=%d: training ends before the learning rate is reduced",
            ",".join(late),
            hp.epochs,
        )


def log_kv_store(kv_store: str | None, hosts: int) -> None:
    """Log the effect of `kv_store`. Several hosts always train as with dist_sync."""
    if kv_store and hosts == 1:
        LOG.info("kv_store=%s is not used: the job has one host", kv_store)
    elif kv_store and kv_store != _SYNC:
        LOG.info("kv_store=%s: the %d hosts train synchronously, as with %s", kv_store, hosts, _SYNC)


def read(path: Path) -> dict[str, str]:
    """Read hyperparameters.json as a mapping of strings to strings; a missing file is an empty mapping.

    The SDK's framework estimators also encode each value as JSON. Therefore a value that decodes to a JSON string is
    replaced by that string; any other value is unchanged. Raises UserError if the file is not a JSON object.
    """
    return {name: _text(value) for name, value in configuration.read(path).items()} if path.exists() else {}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return "" if value is None else json.dumps(value)
    try:
        decoded = json.loads(value)
    except ValueError:
        return value
    return decoded if isinstance(decoded, str) else value


def user_settings(raw: Mapping[str, str]) -> dict[str, str]:
    """Return the values that the user set, without SageMaker's own keys and without empty values ("not set")."""
    return {
        name: value.strip()
        for name, value in raw.items()
        if value.strip() and not name.startswith(_PLATFORM_PREFIXES) and name not in _PLATFORM_NAMES
    }


def resolve(raw: Mapping[str, str], accepted: Iterable[type[Any]]) -> dict[str, Any]:
    """Parse the values in `raw` for the fields of the dataclasses `accepted`, without the fields that are ignored.

    Fields that are not set keep the defaults of their constructors. Raises a UserError that lists all problems at once:
    unknown names with the closest valid one, invalid values, and missing values.
    """
    known, texts = rows(accepted), user_settings(raw)
    free = [name for name in known if name not in texts]
    problems = [_unknown(name, list(known), free) for name in texts if name not in known]
    values: dict[str, Any] = {}
    for name, row in known.items():
        try:
            if name in texts:
                values[name] = row.parse(texts[name])
        except (ValueError, OverflowError):
            if texts[name].lower() not in NONE:
                problems.append(f"hyperparameter {name}={texts[name]!r} is not valid: expected {row.valid}")
                continue
        if name not in values and row.default is REQUIRED:
            problems.append(f"hyperparameter {name} is required but not set: expected {row.valid}")
    if problems:
        raise UserError("; ".join(problems))
    for name in [name for name in values if known[name].ignored is not None]:
        del values[name]
        if known[name].ignored:
            LOG.warning("%s=%s is ignored%s", name, texts[name], known[name].ignored)
    return values


def _unknown(name: str, valid: Sequence[str], free: Sequence[str]) -> str:
    """Return the message for an unknown name. It suggests only names in `free`, the `valid` names that are not set."""
    spelling = name.lower().replace("-", "_")
    near = difflib.get_close_matches(spelling, valid, n=1, cutoff=0.5)
    if near and near[0] in free:
        return f"hyperparameter {name!r} is unknown: did you mean {near[0]}?"
    if difflib.get_close_matches(spelling, near, cutoff=0.9):
        return f"hyperparameter {name!r} is unknown: remove it; {near[0]} is already set"
    return f"hyperparameter {name!r} is unknown: remove it; valid names that are not set: {', '.join(sorted(free))}"
