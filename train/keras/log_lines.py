"""Log lines of the Keras classifiers, in addition to those of all classifiers."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.classification.log_lines import ClassifierLines
from train.learner import Best
from train.log import LOG


class KerasLines(ClassifierLines):
    """The log lines for a single weight file that is the same for all epochs."""

    def saved(self, path: Path, epoch: int) -> None:
        """Log that weights were written."""
        LOG.info('Saved epoch %d to "%s"', epoch, path)

    def finished(self, best: Best[NDArray[np.float64]], folder: Path, names: str) -> None:
        """Log the contents of the checked model folder."""
        LOG.info("The model of epoch %d is in %s: %s (epochs count from 0)", best.epoch, folder, names)
