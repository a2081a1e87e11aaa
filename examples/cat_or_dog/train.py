"""Cat or dog: a typical training script for SageMaker's TensorFlow images, which trains MobileNetV2 on class folders.

There is one channel, `training`, with train/CLASS/*.jpg and validation/CLASS/*.jpg. The model's input is float32 (n,
image_size, image_size, 3) with pixels from 0 to 1, and its output is the probability of the second class. The model is
saved in SM_MODEL_DIR/1.
"""

import argparse
import os

import keras
import tensorflow as tf


def arguments() -> argparse.Namespace:
    """Parse the arguments: the hyperparameters, and folders that default to SageMaker's environment variables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--learning_rate", type=float, default=0.001)
    parser.add_argument("--training", default=os.environ["SM_CHANNEL_TRAINING"])
    parser.add_argument("--export", default=os.path.join(os.environ["SM_MODEL_DIR"], "1"))
    return parser.parse_known_args()[0]  # SDK v2 adds --model_dir, an S3 URI


def photos(folder: str, image_size: int, batch_size: int, shuffle: bool) -> tf.data.Dataset:
    """Return batches of pixels from 0 to 1, float32 (n, image_size, image_size, 3), and labels.

    With `shuffle`, the order changes each epoch.
    """
    dataset = keras.utils.image_dataset_from_directory(
        folder, label_mode="binary", image_size=(image_size, image_size), batch_size=None, shuffle=False
    )
    count = len(dataset.file_paths)
    # Cache bytes, because floats would take four times the memory.
    cached = dataset.map(lambda pixels, label: (tf.cast(tf.round(pixels), tf.uint8), label)).cache()
    if shuffle:
        cached = cached.shuffle(count, seed=1)
    batches = cached.batch(batch_size).map(lambda pixels, label: (tf.cast(pixels, tf.float32) / 255, label))
    return batches.prefetch(tf.data.AUTOTUNE)


def augmented(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Flip, zoom and rotate the photos at random.

    These layers must not be the first layers of the model. Keras would export such a model in training mode, with
    random predictions and batch normalization over the single photo of a request.
    """
    layers = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomZoom(0.2),
        keras.layers.RandomRotation(20 / 360),
    ]

    def augment(pixels: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for layer in layers:
            pixels = layer(pixels, training=True)
        return pixels, labels

    return batches.map(augment, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def network(image_size: int) -> keras.Model:
    """Build a MobileNetV2 with random weights and all layers trainable."""
    shape = (image_size, image_size, 3)
    base = keras.applications.MobileNetV2(shape, include_top=False, weights=None)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # with the default 0.999, validation metrics mean nothing for thousands of steps
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
