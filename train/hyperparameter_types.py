"""Hyperparameters: what all algorithms have, and how texts as SageMaker writes them are read and checked."""

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

# Keys that reach the container without the user having asked for them (docs/training.md).
_PLATFORM_PREFIXES = ("_", "sagemaker_")
_SYNC = "dist_sync"
_PLATFORM_NAMES = ("default_user_module_name",)


class CommonHyperparameters(ABC):
    """What every algorithm's dataclass has, each as a field of its own, with what the documentation says of them."""

    num_classes: int | None
    num_training_samples: int | None
    """Number of training images. With `mini_batch_size` it gives the updates per epoch, by which `lr_scheduler_step` is
    counted. If the data has another number, the log has a warning."""
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
    """Factor of the learning rate at each `lr_scheduler_step`."""
    lr_scheduler_step: tuple[int, ...]
    """After each of these epochs the learning rate is multiplied by `lr_scheduler_factor`."""
    momentum: float
    """Momentum of sgd and nag."""
    weight_decay: float
    """Weight decay of sgd and nag, of the kernels only, not of BatchNorm and biases."""
    early_stopping: bool
    """End training when the validation metric no longer improves."""
    early_stopping_min_epochs: int
    """Epochs that are trained in any case."""
    early_stopping_patience: int
    """Epochs without improvement after which training ends; 0 has the effect of 1."""
    early_stopping_tolerance: float
    """An improvement by less than this share of the best value so far does not count."""
    unreadable_tolerance: float
    """**Ours.** Share of the images that may be unreadable before the job fails."""
    seed: int
    """**Ours.** Seed of the first weights, the order of the images and the augmentation."""
    quantize: str | None
    """**Ours.** int8: also write the network in 8-bit integers, which serves where it answers like the float one:
    [quantization.md](quantization.md)."""
    quantize_tolerance: float
    """**Ours.** Share of the right answers on the validation images that the int8 graph may lose; one may always be
    lost. Without effect unless `quantize` is set."""

    @abstractmethod
    def log(self, hosts: int = 1) -> None:
        """Log the hyperparameters, and a line for each that does less in a job of `hosts` than its name says."""

    def replace(self, **values: Any) -> Self:
        """Return a copy with these values, checked as the first one was."""
        return dataclasses.replace(self, **values)  # type: ignore[type-var]  # each algorithm's class is a dataclass

    def values(self) -> dict[str, Any]:
        """Return all values by name, in the order of the fields: for the log and for files.

        Those of `quantize` are among them where it is set: other jobs, and their checkpoints, know nothing of it.
        """
        unset = ("quantize", "quantize_tolerance") if self.quantize is None else ()
        return {name: value for name, value in vars(self).items() if name not in unset}


def warn_of_late_steps(hp: CommonHyperparameters) -> None:
    """Warn of a learning rate that is to fall after the last epoch."""
    late = [str(step) for step in hp.lr_scheduler_step if step >= hp.epochs]
    if late:
        LOG.warning(
            "lr_scheduler_step=%s is not below epochs=%d: the learning rate does not fall there",
            *(",".join(late), hp.epochs),
        )


def log_kv_store(kv_store: str | None, hosts: int) -> None:
    """Log what becomes of a `kv_store`: several hosts train as with dist_sync, whatever it is."""
    if kv_store and hosts == 1:
        LOG.info("kv_store=%s is not used: the job has one host", kv_store)
    elif kv_store and kv_store != _SYNC:
        LOG.info("kv_store=%s: the %d hosts train synchronously, as with %s", kv_store, hosts, _SYNC)


def read(path: Path) -> dict[str, str]:
    """Return hyperparameters.json as a map of text to text; a missing file is an empty map.

    SDK framework estimators encode each value as JSON once more, so a value that decodes to a JSON string is that
    string; any other value is taken as it stands. Raises UserError for a file that is no JSON object.
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
    """Return what the user set: without the platform's own keys and without empty values, which mean "not set"."""
    return {
        name: value.strip()
        for name, value in raw.items()
        if value.strip() and not name.startswith(_PLATFORM_PREFIXES) and name not in _PLATFORM_NAMES
    }


def resolve(raw: Mapping[str, str], accepted: Iterable[type[Any]]) -> dict[str, Any]:
    """Return what `raw` sets of the fields of the dataclasses `accepted`, checked, without those that are ignored.

    The constructors have the defaults of the others. Raises UserError that lists all that is wrong at once:
    unknown names with the nearest valid one, values out of range, required ones that are missing.
    """
    known, texts = rows(accepted), user_settings(raw)
    free = [name for name in known if name not in texts]
    wrong = [_unknown(name, list(known), free) for name in texts if name not in known]
    values: dict[str, Any] = {}
    for name, row in known.items():
        try:
            if name in texts:
                values[name] = row.parse(texts[name])
        except (ValueError, OverflowError):
            if texts[name].lower() not in NONE:
                wrong.append(f"hyperparameter {name}={texts[name]!r} is not valid: it takes {row.valid}")
                continue
        if name not in values and row.default is REQUIRED:
            wrong.append(f"hyperparameter {name} is required and not set: it takes {row.valid}")
    if wrong:
        raise UserError("; ".join(wrong))
    for name in [name for name in values if known[name].ignored is not None]:
        del values[name]
        if known[name].ignored:
            LOG.warning("%s=%s is ignored%s", name, texts[name], known[name].ignored)
    return values


def _unknown(name: str, valid: Sequence[str], free: Sequence[str]) -> str:
    """Say that a name is not known; `free` are the `valid` ones that are not set, of which alone one is suggested."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), valid, n=1, cutoff=0.5)
    if near and near[0] in free:
        return f"hyperparameter {name!r} is not known: did you mean {near[0]}?"
    return f"hyperparameter {name!r} is not known: remove it; valid and not set are {', '.join(sorted(free))}"
