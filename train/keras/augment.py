"""Data augmentation as a Keras layer that applies flip, zoom and rotation with one interpolation."""

import keras
import numpy as np
import tensorflow as tf


class Augment(keras.layers.Layer):
    """Flips photos with probability 0.5, zooms each side by 1 - zoom to 1 + zoom, and rotates by up to `degrees`.

    Missing pixels at the borders are mirrored. The same seed gives the same photos in any thread.
    """

    def __init__(self, flip: bool, zoom: float, degrees: float) -> None:
        super().__init__(trainable=False, dtype="uint8")
        self._flip, self._zoom, self._radians = flip, zoom, np.deg2rad(degrees)

    def call(self, photos: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augment uint8 (N, H, W, C) with the random `seed`, int32 (2,)."""
        count = tf.shape(photos)[0]
        draws = tf.random.stateless_uniform((4, count), seed, -1.0, 1.0)
        if not self._zoom and not self._radians:
            return tf.where(draws[0][:, None, None, None] < 0, photos[:, :, ::-1], photos) if self._flip else photos
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=photos,
            transforms=self._transforms(draws, photos.shape[1], photos.shape[2]),
            output_shape=photos.shape[1:3],
            interpolation="BILINEAR",
            fill_mode="REFLECT",
            fill_value=0.0,
        )

    def _transforms(self, draws: tf.Tensor, height: int, width: int) -> tf.Tensor:
        """Return the transforms, float32 (N, 8), which map positions in the new photos to positions in the old ones.

        `draws` is (4, N) from -1 to 1. The centre of a photo does not move.
        """
        flip = tf.where(draws[0] < 0, -1.0, 1.0) if self._flip else tf.ones_like(draws[0])
        across, along = 1 + self._zoom * draws[1], 1 + self._zoom * draws[2]
        cosine, sine = tf.cos(self._radians * draws[3]), tf.sin(self._radians * draws[3])
        a, b = flip * across * cosine, -flip * across * sine
        c, d = along * sine, along * cosine
        x, y = (width - 1) / 2, (height - 1) / 2
        zero = tf.zeros_like(a)
        return tf.stack([a, b, x - a * x - b * y, c, d, y - c * x - d * y, zero, zero], axis=1)
