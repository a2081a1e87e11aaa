"""Early stopping, as the built-ins define it: on the metric that they maximise."""

from serve.words import plural
from train.hyperparameter_types import CommonHyperparameters
from train.log import LOG
from train.state import State


class EarlyStopping:
    """Says when to end: no gain above `tolerance`, relative to the best, for `patience` epochs, after `min_epochs`."""

    def __init__(self, hp: CommonHyperparameters) -> None:
        # A patience of 0 is 1: an epoch with a gain never ends the job.
        self._on, self._patience = hp.early_stopping, max(1, hp.early_stopping_patience)
        self._min_epochs, self._tolerance = hp.early_stopping_min_epochs, hp.early_stopping_tolerance
        self._best, self._since = -1.0, 0

    def note(self, value: float) -> None:
        """Take note of an epoch's metric."""
        gained = value > self._best and (self._best <= 0 or (value - self._best) / self._best >= self._tolerance)
        self._since = 0 if gained else self._since + 1
        self._best = max(self._best, value)

    def ends(self, epoch: int) -> bool:
        """Return whether training should end after `epoch`, from 0, the last one that was noted, and log it."""
        ends = self._on and epoch + 1 >= self._min_epochs and self._since >= self._patience
        if ends:
            LOG.info("Early stopping after epoch %d: no gain for %s", epoch, plural(self._patience, "epoch"))
        return ends

    def state(self) -> State:
        """Return what later answers depend on."""
        return {"best": self._best, "since": self._since}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._best, self._since = state["best"], state["since"]
