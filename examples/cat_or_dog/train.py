"""Cat or dog: MobileNetV2 on class folders, a training script as one would write it for SageMaker's TensorFlow images.

One channel, `training`, with train/CLASS/*.jpg and validation/CLASS/*.jpg. The model takes float32 pixels from 0 to 1,
(n, image_size, image_size, 3), and answers the probability of the second class. It goes to SM_MODEL_DIR/1.
"""

import argparse
import os

import keras
import tensorflow as tf


def arguments() -> argparse.Namespace:
    """What the job sets: hyperparameters as arguments, folders in the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--learning_rate", type=float, default=0.001)
    parser.add_argument("--training", default=os.environ["SM_CHANNEL_TRAINING"])
    parser.add_argument("--export", default=os.path.join(os.environ["SM_MODEL_DIR"], "1"))
    return parser.parse_known_args()[0]  # SDK v2 adds --model_dir, an address in S3


def photos(folder: str, image_size: int, batch_size: int, shuffle: bool) -> tf.data.Dataset:
    """Batches of pixels from 0 to 1, float32 (n, image_size, image_size, 3), and labels.

    With `shuffle`, for training, in a new order each epoch.
    """
    found = keras.utils.image_dataset_from_directory(
        folder, label_mode="binary", image_size=(image_size, image_size), batch_size=None, shuffle=False
    )
    count = len(found.file_paths)
    kept = found.map(lambda pixels, label: (tf.cast(tf.round(pixels), tf.uint8), label)).cache()  # bytes, not floats
    if shuffle:
        kept = kept.shuffle(count, seed=1)
    batches = kept.batch(batch_size).map(lambda pixels, label: (tf.cast(pixels, tf.float32) / 255, label))
    return batches.prefetch(tf.data.AUTOTUNE)


def augmented(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Flipped, zoomed and turned at random.

    Here and not in the model: where these layers come first in it, Keras exports it as if it were to be trained, with
    chance in its answers and batch normalisation over the one photo of a request.
    """
    layers = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomZoom(0.2),
        keras.layers.RandomRotation(20 / 360),
    ]

    def changed(pixels: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for layer in layers:
            pixels = layer(pixels, training=True)
        return pixels, labels

    return batches.map(changed, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def network(image_size: int) -> keras.Model:
    """MobileNetV2 from random weights, all of it trainable."""
    shape = (image_size, image_size, 3)
    base = keras.applications.MobileNetV2(shape, include_top=False, weights=None)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # 0.999 wants thousands of steps before validation means anything
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.5), keras.layers.Dense(1, "sigmoid")]
    return keras.Sequential([keras.Input(shape), base, *head])


def main() -> None:
    """Train and export."""
    args = arguments()
    keras.utils.set_random_seed(1)
    model = network(args.image_size)
    model.compile(keras.optimizers.Adam(args.learning_rate), "binary_crossentropy", metrics=["accuracy"])
    train, validation = (os.path.join(args.training, part) for part in ("train", "validation"))
    model.fit(
        augmented(photos(train, args.image_size, args.batch_size, shuffle=True)),
        validation_data=photos(validation, args.image_size, args.batch_size, shuffle=False),
        epochs=args.epochs,
        verbose=2,
    )
    model.export(args.export)


if __name__ == "__main__":
    main()
