"""The features that frozen layers make of photos, computed once as far as memory allows."""

from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray

from train.classification.predictions import EVALUATION_BATCH
from train.data import samples
from train.keras import network
from train.keras.network import planes_last
from train.log import LOG, Progress


class Frozen:
    """The layers that are not trained, and what they make of the photos, computed once as far as memory allows."""

    def __init__(self, below: keras.Model) -> None:
        self.features = network.constant(below)
        self._bytes = 4 * int(np.prod(below.output_shape[1:]))

    def compute_all(
        self, what: str, tensor: Callable[[int], NDArray[np.float32]], count: int
    ) -> NDArray[np.float32] | None:
        """Return the features (count, ...) of photos, None when they would not fit in memory.

        `tensor(i)` is photo i, float32 (C, H, W). Says every ten seconds how far it is.
        """
        if count * self._bytes > samples.memory_budget() // 4:
            LOG.info(
                "The features of %d %s images would take %.1f GB: they are computed again in each epoch",
                *(count, what, count * self._bytes / 1e9),
            )
            return None
        found, progress = [], Progress(f"Features of {what} images", count)
        for batch in samples.ordered_batches(tensor, count, EVALUATION_BATCH):
            found.append(self.features(planes_last(batch)).numpy())
            progress.done(min(len(found) * len(batch), count))
        return np.concatenate(found)[:count]
