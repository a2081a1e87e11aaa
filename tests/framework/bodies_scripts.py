"""Bodies of the tests of what a user's script has left, run where TensorFlow is."""

import contextlib
from pathlib import Path
from typing import Any


def make_models(folder: str) -> dict[str, Any]:
    """Models of every kind, each in NAME/model below `folder`; returns what Keras's own two say to an image of 0.5."""
    import keras
    import tensorflow as tf
    import tf_keras

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

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="photo")])
        def brightness(self, photo: Any) -> dict[str, Any]:
            mean = tf.map_fn(lambda one: tf.reduce_mean(tf.io.decode_png(one)), photo, fn_output_signature=tf.uint8)
            return {"mean": mean}

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def chance(self, x: Any) -> dict[str, Any]:
            return {"y": x + tf.random.uniform(tf.shape(x))}

    sums = Sums()
    for number in (1, 2):
        sums.weights.assign([[1.0], [10.0 * number]])
        served = {"serving_default": sums.weigh, "both": sums.both}
        tf.saved_model.save(sums, str(root / "sums" / "model" / "export" / str(number)), signatures=served)
    served = {"serving_default": sums.lengths, "brightness": sums.brightness}
    tf.saved_model.save(sums, str(root / "words" / "model" / "1"), signatures=served)
    tf.saved_model.save(sums, str(root / "chance" / "model" / "1"), signatures={"serving_default": sums.chance})
    tf.saved_model.save(tf.Module(), str(root / "mute" / "model" / "1"))
    _half_plus_three(root / "half" / "model" / "00000123")
    _scaled(root / "scaled2" / "model", tf_keras, 1 / 255)
    _scaled(root / "scaled3" / "model", keras, 1 / 127.5, -1.0)
    return {"keras3": _small(root / "keras3" / "model", keras), "keras2": _small(root / "keras2" / "model", tf_keras)}


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


def image_values_found(folder: str) -> dict[str, str]:
    """The range of an image's values that is found in the graph of each kind of beginning, exported by both Kerases."""
    import keras
    import tf_keras

    found = {}
    for name, kind in (("keras2", tf_keras), ("keras3", keras)):
        for beginning, model in _beginnings(kind):
            path = Path(folder, name, beginning)
            model.export(str(path))
            found[f"{name} {beginning}"] = _values_in(path)
    _of_tensorflow1(Path(folder, "tensorflow1"))
    return {**found, "tensorflow1": _values_in(Path(folder, "tensorflow1"))}


def _of_tensorflow1(folder: Path) -> None:
    """A graph of TensorFlow 1 that divides an image by 255 and tells the mean."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        image = v1.placeholder(tf.float32, (None, 8, 8, 3))
        mean = tf.reduce_mean(image / v1.Variable(255.0, use_resource=False), (1, 2, 3))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"image": image}, {"mean": mean})


def _beginnings(keras: Any) -> Any:
    """Pairs of a name and a model of images that begins in that way."""
    import numpy as np

    layers, shape = keras.layers, (16, 16, 3)

    def model(*beginning: Any, dtype: str = "float32") -> Any:
        image = layers.Input(shape, dtype=dtype)
        inside = image
        for layer in beginning:
            inside = layer(inside)
        inside = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inside))
        return keras.Model(image, layers.Dense(2, activation="softmax")(inside))

    def normalization(largest: float) -> Any:
        layer = layers.Normalization()
        layer.adapt(np.random.default_rng(0).random((8, *shape), np.float32) * largest)
        return layer

    rescaling = layers.Rescaling(1 / 255)
    yield "nothing", model()
    yield "Rescaling(1/255)", model(layers.Rescaling(1 / 255))
    yield "Rescaling(1/127.5, -1)", model(layers.Rescaling(1 / 127.5, offset=-1))
    yield "Rescaling(1/255) of uint8", model(rescaling, dtype="uint8")
    yield "Rescaling(2, -1)", model(layers.Rescaling(2.0, offset=-1))
    yield "Rescaling(0.5, 0.5)", model(layers.Rescaling(0.5, offset=0.5))
    yield "Rescaling(127.5, 127.5)", model(layers.Rescaling(127.5, offset=127.5))
    yield "Normalization of 0..255", model(normalization(255))
    yield "Normalization of 0..1", model(normalization(1))
    yield "augmentation, Rescaling(1/255)", model(layers.RandomFlip(), layers.RandomRotation(0.1), rescaling)
    yield (
        "Resizing, a model of Rescaling(1/255)",
        keras.Sequential([layers.Input((8, 8, 3)), layers.Resizing(16, 16), model(rescaling)]),
    )
    yield "ZeroPadding, Rescaling(1/255)", model(layers.ZeroPadding2D(2), rescaling)
    learned = layers.BatchNormalization()
    beginning = model(learned)
    learned.set_weights([np.ones(3), np.zeros(3), np.full(3, 120.0), np.full(3, 3600.0)])
    yield "BatchNormalization of 0..255", beginning
    for network in ("mobilenet_v2", "resnet50", "densenet"):
        yield f"preprocess_input of {network}", model(getattr(keras.applications, network).preprocess_input)
    alone = layers.Input(shape)
    yield "only Rescaling(1/255), a mean", keras.Model(alone, layers.GlobalAveragePooling2D()(rescaling(alone)))
    yield "only a sigmoid", keras.Model(alone, layers.Activation("sigmoid")(alone))


def _values_in(path: Path) -> str:
    from serve.tf import saved_model

    return saved_model.load(path, "model").model.signatures["serving_default"].image_values


def _half_plus_three(folder: Path) -> None:
    """x / 2 + 3 as TensorFlow 1 wrote it: a graph, reference variables, a signature of tf.Example, several tag sets."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        half, three = (v1.Variable(value, use_resource=False) for value in (0.5, 3.0))
        serialized = v1.placeholder(tf.string, name="tf_example")
        parsed = v1.parse_example(serialized, {"x": v1.FixedLenFeature([1], tf.float32)})
        x = tf.identity(parsed["x"], name="x")
        y = tf.identity(half * x + three, name="y")
        info = v1.saved_model.build_tensor_info
        predict = v1.saved_model.build_signature_def({"x": info(x)}, {"y": info(y)}, "tensorflow/serving/predict")
        regress = v1.saved_model.build_signature_def(
            {"inputs": info(serialized)}, {"outputs": info(y)}, "tensorflow/serving/regress"
        )
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        signatures = {"serving_default": predict, "regress_x_to_y": regress}
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.add_meta_graph(["serve", "gpu"], signatures)
        builder.save()


def _scaled(folder: Path, keras: Any, scale: float, offset: float = 0.0) -> None:
    """Save a model.keras that tells red, green and blue apart: a softmax of 4 x the mean of each scaled channel."""
    import numpy as np

    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.Rescaling(scale, offset=offset),
            layers.Conv2D(3, 1, use_bias=False),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax", use_bias=False),
        ]
    )
    model.set_weights([np.eye(3).reshape(1, 1, 3, 3), 4 * np.eye(3)])
    folder.mkdir(parents=True)
    model.save(str(folder / "model.keras"))


def _small(folder: Path, keras: Any) -> float:
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
