"""Early stopping as in the built-in algorithms, on the validation metric that they maximise."""

from serve.words import plural
from train.hyperparameter_types import CommonHyperparameters
from train.log import LOG
from train.state import State


class EarlyStopping:
    """Decides when to stop training: after `patience` epochs without improvement, but not before `min_epochs`.

    An improvement is a gain of at least `tolerance`, relative to the best value.
    """

    def __init__(self, hp: CommonHyperparameters) -> None:
        # A patience of 0 means 1: an epoch that improves never ends the job.
        self._on, self._patience = hp.early_stopping, max(1, hp.early_stopping_patience)
        self._min_epochs, self._tolerance = hp.early_stopping_min_epochs, hp.early_stopping_tolerance
        self._best, self._since = -1.0, 0

    def note(self, value: float) -> None:
        """Record an epoch's metric."""
        improved = value > self._best and (self._best <= 0 or (value - self._best) / self._best >= self._tolerance)
        self._since = 0 if improved else self._since + 1
        self._best = max(self._best, value)

    def ends(self, epoch: int) -> bool:
        """Return whether training should end after `epoch`, the last recorded one, counted from 0; log it if so."""
        ends = self._on and epoch + 1 >= self._min_epochs and self._since >= self._patience
        if ends:
            LOG.info("Early stopping after epoch %d: no improvement for %s", epoch, plural(self._patience, "epoch"))
        return ends

    def state(self) -> State:
        """Return the state that later decisions depend on."""
        return {"best": self._best, "since": self._since}

    def restore(self, state: State) -> None:
        """Resume from a state."""
        self._best, self._since = state["best"], state["since"]
