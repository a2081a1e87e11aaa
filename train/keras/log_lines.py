"""The lines that the Keras classifiers print after those of all classifiers."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.classification.log_lines import ClassifierLines
from train.learner import Best
from train.log import LOG


class KerasLines(ClassifierLines):
    """There is one file of weights, whatever its epoch."""

    def saved(self, path: Path, epoch: int) -> None:
        """Weights are written."""
        LOG.info('Saved epoch %d to "%s"', epoch, path)

    def finished(self, best: Best[NDArray[np.float64]], folder: Path, names: str) -> None:
        """The model folder is checked."""
        LOG.info("The model of epoch %d is in %s: %s (epochs count from 0)", best.epoch, folder, names)
