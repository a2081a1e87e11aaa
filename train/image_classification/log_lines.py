"""Log lines of image-classification, in addition to those of all classifiers."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.classification.log_lines import ClassifierLines
from train.learner import Best
from train.log import LOG


class ResNetLines(ClassifierLines):
    """The log lines for weight files that are numbered from 1, as in the built-in."""

    def saved(self, path: Path, epoch: int) -> None:
        """Log that weights were written."""
        LOG.info('Saved checkpoint to "%s"', path)

    def finished(self, best: Best[NDArray[np.float64]], folder: Path, names: str) -> None:
        """Log the contents of the checked model folder."""
        LOG.info("The model of epoch %d is in %s: %s (epochs count from 0, files from 1)", best.epoch, folder, names)
