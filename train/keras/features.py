"""The features that frozen layers compute, cached if memory allows."""

from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray

from train.classification.predictions import EVALUATION_BATCH
from train.data import samples
from train.keras import network
from train.keras.network import channels_last
from train.log import LOG, Progress


class Frozen:
    """The layers that are not trained. The features that they compute for all photos are kept if memory allows."""

    def __init__(self, below: keras.Model) -> None:
        self.features = network.constant(below)
        self._bytes = 4 * int(np.prod(below.output_shape[1:]))

    def compute_all(
        self, what: str, tensor: Callable[[int], NDArray[np.float32]], count: int
    ) -> NDArray[np.float32] | None:
        """Return the features (count, ...) of all photos, or None if they do not fit in memory.

        `tensor(i)` is photo i, float32 (C, H, W). Logs the progress every ten seconds.
        """
        if count * self._bytes > samples.memory_budget() // 4:
            LOG.info(
                "The features of %d %s images would take %.1f GB: they are computed again in each epoch",
                count,
                what,
                count * self._bytes / 1e9,
            )
            return None
        features, progress = [], Progress(f"Features of {what} images", count)
        for batch in samples.ordered_batches(tensor, count, EVALUATION_BATCH):
            features.append(self.features(channels_last(batch)).numpy())
            progress.done(min(len(features) * len(batch), count))
        return np.concatenate(features)[:count]
