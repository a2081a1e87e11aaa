"""Bodies of the tests of what a user's script has left, run where TensorFlow is."""

import contextlib
from pathlib import Path
from typing import Any


def make_models(folder: str) -> dict[str, Any]:
    """Models of every kind, each in NAME/model below `folder`; returns what Keras's own two say to an image of 0.5."""
    import tensorflow as tf

    root = Path(folder)

    class Sums(tf.Module):
        """Two signatures, one of them of several inputs and outputs."""

        def __init__(self) -> None:
            self.weights = tf.Variable([[1.0], [10.0]])

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def weigh(self, x: Any) -> dict[str, Any]:
            return {"y": x @ self.weights}

        @tf.function(
            input_signature=[tf.TensorSpec((None,), tf.float32, name="b"), tf.TensorSpec((None,), tf.int32, name="a")]
        )
        def both(self, b: Any, a: Any) -> dict[str, Any]:
            return {"sum": b + tf.cast(a, tf.float32), "larger": b > tf.cast(a, tf.float32)}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="word")])
        def lengths(self, word: Any) -> dict[str, Any]:
            return {"length": tf.strings.length(word), "upper": tf.strings.upper(word)}

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def chance(self, x: Any) -> dict[str, Any]:
            return {"y": x + tf.random.uniform(tf.shape(x))}

    sums = Sums()
    for number in (1, 2):
        sums.weights.assign([[1.0], [10.0 * number]])
        served = {"serving_default": sums.weigh, "both": sums.both}
        tf.saved_model.save(sums, str(root / "sums" / "model" / "export" / str(number)), signatures=served)
    tf.saved_model.save(sums, str(root / "words" / "model" / "1"), signatures={"serving_default": sums.lengths})
    tf.saved_model.save(sums, str(root / "chance" / "model" / "1"), signatures={"serving_default": sums.chance})
    tf.saved_model.save(tf.Module(), str(root / "mute" / "model" / "1"))
    return {"keras3": _keras3(root / "keras3" / "model"), "keras2": _keras2(root / "keras2" / "model")}


def make_model_of_chance(folder: str) -> None:
    """Export a model that begins with augmentation, as Keras 3 does it: in effect."""
    import keras

    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.RandomFlip(), keras.layers.Flatten()])
    model.export(folder)


def make_text_model(folder: str) -> None:
    """A SavedModel that ONNX Runtime cannot compute."""
    import tensorflow as tf

    class Lengths(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="word")])
        def lengths(self, word: Any) -> dict[str, Any]:
            return {"length": tf.strings.length(word)}

    model = Lengths()
    tf.saved_model.save(model, folder, signatures={"serving_default": model.lengths})


def _keras3(folder: Path) -> float:
    import keras

    return _keras(folder, keras)


def _keras2(folder: Path) -> float:
    import tf_keras

    return _keras(folder, tf_keras)


def _keras(folder: Path, keras: Any) -> float:
    """A convolution with its bias, its mean and a sigmoid, saved as model.keras."""
    import numpy as np

    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid", bias_initializer="ones"),
        ]
    )
    folder.mkdir(parents=True)
    model.save(str(folder / "model.keras"))
    return float(model.predict(np.full((1, 16, 16, 3), 0.5, np.float32), verbose=0)[0, 0])


def compute_what_fails() -> None:
    """A text that is not a number, computed by TensorFlow as the server does."""
    from serve.tf import saved_model  # noqa: F401 - before TensorFlow, which it sets up

    import tensorflow as tf  # isort: skip

    with contextlib.suppress(tf.errors.InvalidArgumentError):
        tf.function(tf.strings.to_number)(tf.constant(["SECRET"]))
        raise AssertionError("nothing failed")
