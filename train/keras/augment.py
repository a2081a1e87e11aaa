"""The augmentation of the seed project's script, as one Keras layer: flip, zoom and rotation in one interpolation."""

import keras
import numpy as np
import tensorflow as tf


class Augment(keras.layers.Layer):
    """Flips half of the photos, zooms each side by 1 - zoom to 1 + zoom, rotates by up to `degrees` either way.

    What a photo lacks at its borders is mirrored. The same seed gives the same photos, whichever thread makes them.
    """

    def __init__(self, flip: bool, zoom: float, degrees: float) -> None:
        super().__init__(trainable=False, dtype="uint8")
        self._flip, self._zoom, self._radians = flip, zoom, np.deg2rad(degrees)

    def call(self, photos: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return uint8 (N, H, W, C) of uint8 (N, H, W, C); `seed` is int32 (2,)."""
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
        """Return float32 (N, 8), for each photo the map from a place in the new photo to one in the old.

        `draws` is (4, N) from -1 to 1. The centre stays where it is.
        """
        flip = tf.where(draws[0] < 0, -1.0, 1.0) if self._flip else tf.ones_like(draws[0])
        across, along = 1 + self._zoom * draws[1], 1 + self._zoom * draws[2]
        cosine, sine = tf.cos(self._radians * draws[3]), tf.sin(self._radians * draws[3])
        a, b = flip * across * cosine, -flip * across * sine
        c, d = along * sine, along * cosine
        x, y = (width - 1) / 2, (height - 1) / 2
        zero = tf.zeros_like(a)
        return tf.stack([a, b, x - a * x - b * y, c, d, y - c * x - d * y, zero, zero], axis=1)
