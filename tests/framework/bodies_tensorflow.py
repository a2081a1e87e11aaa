"""What the tests of image-classification-tensorflow run in the TensorFlow environment."""

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
SMALL = {"image_shape": "3,32,32", "alpha": "0.35", "mini_batch_size": "8"}


def _checked(**raw: object) -> dict[str, Any]:
    from train.image_classification_tensorflow import table

    values = table.check(SMALL | {name: str(value) for name, value in raw.items()})
    return values | {"num_classes": values["num_classes"] or 3}


def _photos(count: int = 8, seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, channels)).astype(np.uint8)


def _build(**raw: object) -> Any:
    """The network of small hyperparameters, alive: with BatchNorm's first statistics it would answer 0 to all."""
    from train.image_classification_tensorflow import network

    hp = _checked(**raw)
    net = network.build(hp)
    frozen = [layer for layer in network.norms(net.base) if not layer.trainable]
    for layer in frozen:
        layer.trainable = True
    channels, height, width = hp["image_shape"]
    pixels = np.random.default_rng(9).uniform(0, 255, (16, height, width, channels)).astype(np.float32)
    net.model(pixels, training=True)
    for layer in frozen:
        layer.trainable = False
    return net


def cuts() -> dict[str, list[Any]]:
    """For each train_layers: trained arrays, frozen layers, difference of the whole network from its two parts."""
    import keras

    from train.image_classification_tensorflow import network

    found: dict[str, list[Any]] = {}
    pixels = _photos().astype(np.float32)
    for layers in ("head", 1, 2, 3, 18, "all"):
        net = _build(train_layers=layers)
        features = pixels if net.below is None else network.constant(net.below)(pixels)
        logits = net.above(features, training=False).numpy()
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        whole = net.model(pixels, training=False).numpy()
        difference = float(np.abs(whole - odds / odds.sum(axis=1, keepdims=True)).max())
        kernels = [each.name for each in net.above.layers if isinstance(each, keras.layers.Conv2D) and each.trainable]
        found[str(layers)] = [len(net.above.trainable_variables), kernels[0] if kernels else None, difference]
    return found


def two_classes() -> list[list[float]]:
    """Probabilities of four photos by a network of two classes, and the sigmoid of its one unit."""
    import tensorflow as tf

    net = _build(num_classes=2)
    pixels = _photos(4).astype(np.float32)
    unit = net.model.get_layer("logits")
    unit.kernel.assign(tf.random.stateless_normal(unit.kernel.shape, (1, 2)))
    features = net.base(pixels, training=False)
    sigmoid = tf.sigmoid(unit(features)).numpy()[:, 0]
    return [*net.model(pixels, training=False).numpy().T.tolist(), sigmoid.tolist()]


def exported(folder: str) -> dict[str, list[str]]:
    """Graphs of random networks as FOLDER/NAME/model.onnx, with tensors and what Keras makes of them; their names."""
    from train.image_classification_tensorflow import network

    made = {}
    for name, given in {
        "colour": {},
        "grey": {"image_shape": "1,32,48"},
        "two": {"num_classes": 2, "alpha": 0.5},
        "part": {"train_layers": 3},
    }.items():
        net = _build(**given)
        _, height, width, channels = net.model.input_shape
        tensors = np.random.default_rng(1).uniform(0, 255, (3, channels, height, width)).astype(np.float32)
        path = Path(folder, name)
        path.mkdir()
        network.to_onnx(net.model, path / "model.onnx")
        np.savez(path / "run.npz", tensors=tensors, expected=net.model(tensors.transpose(0, 2, 3, 1), training=False))
        made[name] = sorted(each.name for each in path.iterdir())
    return made


def onnx_answers(folder: str) -> dict[str, Any]:
    """By name of a graph: its input's and output's names and shapes, its difference from Keras, its kinds of nodes."""
    import onnxruntime as ort

    found = {}
    for path in sorted(Path(folder).iterdir()):
        session = ort.InferenceSession(path / "model.onnx")
        run = np.load(path / "run.npz")
        answer = session.run(["probabilities"], {"data": run["tensors"]})[0]
        ends = [[end.name, end.shape, end.type] for end in (*session.get_inputs(), *session.get_outputs())]
        found[path.name] = [ends, float(np.abs(answer - run["expected"]).max())]
    return found


def augmentations() -> str:
    """Closed-form cases of the augmentation; an AssertionError names the one that fails."""
    import tensorflow as tf

    from train.image_classification_tensorflow.augment import Augment

    photos = tf.constant(_photos(64))

    def made(flip: bool, zoom: float, degrees: float, seed: int = 0) -> np.ndarray:
        return Augment(flip, zoom, degrees)(photos, tf.constant([seed, 1])).numpy()

    assert np.array_equal(made(False, 0, 0), photos), "nothing asked for: nothing done"
    mirrored = made(True, 0, 0)
    kinds = [
        "same" if np.array_equal(new, old) else "mirrored" if np.array_equal(new, old[:, ::-1]) else "else"
        for new, old in zip(mirrored, photos.numpy(), strict=True)
    ]
    assert set(kinds) == {"same", "mirrored"}, kinds
    assert 16 < kinds.count("mirrored") < 48, "half of them, more or less"
    assert np.array_equal(made(True, 0.2, 20), made(True, 0.2, 20)), "the same seed gives the same photos"
    assert not np.array_equal(made(True, 0.2, 20), made(True, 0.2, 20, 1)), "another seed, others"
    flat = tf.fill((8, 32, 32, 3), tf.constant(90, tf.uint8))
    assert (Augment(True, 0.5, 180)(flat, tf.constant([0, 1])).numpy() == 90).all(), "nothing is filled in from outside"
    _turns(Augment)
    _zooms(Augment)
    return "as named"


def _turns(augment: Any) -> None:
    """An upright edge through the centre leans by up to the angle, and stays in the centre."""
    import tensorflow as tf

    edge = np.zeros((200, 81, 81, 1), np.uint8)
    edge[:, :, 41:] = 200
    edge[:, :, 40] = 100
    turned = augment(False, 0.0, 20.0)(tf.constant(edge), tf.constant([3, 4])).numpy()[..., 0].astype(float)
    places = 81 - turned.sum(axis=2) / 200  # of the edge in each row
    leans = np.abs(np.rad2deg(np.arctan((places[:, 55] - places[:, 25]) / 30)))
    assert leans.max() <= 21, leans.max()
    assert leans.max() > 17, leans.max()
    assert np.abs(places[:, 40] - 40.5).max() < 0.6, "about the centre"


def _zooms(augment: Any) -> None:
    """A square in the middle keeps its centre, and its sides are 1 / (1 + z) of what they were, each its own z."""
    import tensorflow as tf

    square = np.zeros((300, 81, 81, 1), np.uint8)
    square[:, 30:51, 30:51] = 240
    zoomed = augment(False, 0.2, 0.0)(tf.constant(square), tf.constant([5, 6])).numpy()[..., 0] / 240
    along, across = zoomed[:, :, 40].sum(axis=1) / 21, zoomed[:, 40].sum(axis=1) / 21
    for sides in (along, across):
        assert 1 / 1.2 - 0.03 < sides.min() < 0.88, sides.min()
        assert 1.17 < sides.max() < 1 / 0.8 + 0.03, sides.max()
    assert abs(np.corrcoef(along, across)[0, 1]) < 0.3, "each side by itself"


class _Fixed:
    """Data of `count` random photos that stands in for `data.Data`."""

    def __init__(self, count: int = 10) -> None:
        from serve.artifact import InputSpec
        from train.samples import Sample

        self.train = [Sample(f"{index}.jpg", index % 3, Path()) for index in range(count)]
        self.validation = self.train
        self.spec = InputSpec("data", 3, 32, 32, 32, "crop", (0.0,) * 3, (1 / 255,) * 3)
        self._photos = _photos(count, 5)
        self.read = 0

    def pixels(self, index: int) -> np.ndarray:
        self.read += 1
        return self._photos[index]

    def train_tensor(self, index: int) -> np.ndarray:
        return self.pixels(index).transpose(2, 0, 1).astype(np.float32)

    validation_tensor = train_tensor


def batches() -> dict[str, Any]:
    """Epochs of ten photos in batches of four, without augmentation."""
    from train.image_classification_tensorflow import data

    fixed = _Fixed()
    still = {"horizontal_flip": 0, "zoom_range": 0, "rotation_range": 0}
    made = data.PixelBatches(fixed, _checked(mini_batch_size=4, **still))
    first, again, second = (list(made.epoch(number)) for number in (0, 0, 1))
    where = {photo.tobytes(): index for index, photo in enumerate(fixed._photos)}
    orders = [[where[photo.tobytes()] for images, _ in epoch for photo in images] for epoch in (first, again, second)]
    labels = [int(label) for _, batch in first for label in batch]
    kinds = [str(first[0][0].dtype), list(first[0][0].shape), str(first[0][1].dtype)]
    return {"orders": orders, "labels": labels, "kinds": kinds, "length": len(made)}


def vanished() -> tuple[str, int]:
    """What is raised when a photo cannot be read any more while training, and how many iterators outlive it."""
    from tensorflow.python.data.ops.iterator_ops import OwnedIterator

    from train.errors import UserError
    from train.image_classification_tensorflow import data

    class Gone(_Fixed):
        def pixels(self, index: int) -> np.ndarray:
            raise UserError(f"train image {index}.jpg does not exist, though it could be read when the job began")

    gc.disable()
    said = "nothing was raised"
    try:
        list(data.PixelBatches(Gone(), _checked(mini_batch_size=4)).epoch(0))
    except UserError as error:
        said = str(error)
    return said, sum(isinstance(each, OwnedIterator) for each in gc.get_objects())


def losses(name: str) -> list[float]:
    """Mean loss on one batch before and after 30 updates by one optimizer."""
    from train.image_classification_tensorflow import loop, network

    hp = _checked(optimizer=name, learning_rate={"sgd": 0.01, "nag": 0.01}.get(name, 0.002), dropout=0)
    step = loop.Step(network.build(hp).above, None, None, hp, 1)
    labels = np.arange(8) % 3
    found = [step.read(*step(_photos(), labels))[0] for _ in range(30)]
    return [found[0], found[-1]]


def optimizers() -> dict[str, list[Any]]:
    """What the hyperparameters set on each optimizer."""
    from train.image_classification_tensorflow import loop

    given = {"momentum": 0.7, "beta_1": 0.8, "beta_2": 0.99, "eps": 1e-3, "gamma": 0.6}
    made = {name: loop.optimizer(_checked(optimizer=name, **given), 4) for name in ("sgd", "nag", "adam", "rmsprop")}
    return {
        "sgd": [made["sgd"].momentum, made["sgd"].nesterov],
        "nag": [made["nag"].momentum, made["nag"].nesterov],
        "adam": [made["adam"].beta_1, made["adam"].beta_2, made["adam"].epsilon],
        "rmsprop": [made["rmsprop"].rho, made["rmsprop"].epsilon],
    }


def learning_rates() -> list[float]:
    """The rate that a step reports before each of eight updates, in epochs of two, falling after epochs 1 and 3."""
    from train.image_classification_tensorflow import loop, network

    hp = _checked(learning_rate=0.1, lr_scheduler_step="1,3", optimizer="sgd", train_layers="head")
    net = network.build(hp)
    step = loop.Step(net.above, None, None, hp, 2)
    features = np.zeros((8, *net.below.output_shape[1:]), np.float32)
    rates = []
    for _ in range(8):
        rates.append(step.learning_rate)
        step(features, np.arange(8) % 3)
    return rates


def decayed() -> dict[str, float]:
    """By kind of array, the largest share of itself that an array lost to a weight decay of 1 at a rate of 0.1.

    The features are zero and the labels balanced, so that no kernel of the head has another gradient.
    """
    from train.image_classification_tensorflow import loop, network

    hp = _checked(learning_rate=0.1, weight_decay=1, momentum=0, optimizer="sgd", train_layers="head", dropout=0)
    net = network.build(hp)
    step = loop.Step(net.above, None, None, hp, 1)
    dense = net.model.get_layer("logits")
    before = dense.kernel.numpy()
    step(np.zeros((9, *net.below.output_shape[1:]), np.float32), np.arange(9) % 3)
    return {"kernel": float(np.median(dense.kernel.numpy() / before)), "bias": float(np.abs(dense.bias.numpy()).max())}


def weights_of_classes() -> list[list[float]]:
    """Weights for unbalanced, balanced, and missing classes."""
    from train.image_classification_tensorflow import loop

    cases = ([0] * 6 + [1] * 2, [0, 1, 2], [0, 0, 2, 2])
    return [loop.class_weights(np.array(labels), max(labels) + 1).tolist() for labels in cases]


def features_once(augmented: bool) -> list[int]:
    """How often photos are read for two epochs of head training on ten photos, and for their two evaluations."""
    from train.classifier import Best
    from train.image_classification_tensorflow import loop, network

    change = {} if augmented else {"horizontal_flip": 0, "zoom_range": 0, "rotation_range": 0}
    hp = _checked(train_layers="head", epochs=2, mini_batch_size=5, **change)
    train, validation = _Fixed(), _Fixed()
    train.validation, train.validation_tensor = validation.train, validation.train_tensor
    loop.fit(network.build(hp), train, hp, Best(), lambda epoch, is_best: None)
    return [train.read, validation.read]


def saved(folder: str) -> list[list[str]]:
    """The files in the model folder after an epoch that is not the best one, and after one that is."""
    from train.cluster import Hosts
    from train.image_classification_tensorflow import job

    hp = _checked()
    model, found = job.Model(Path(folder), _build(), None, hp, Hosts(("algo-1",), "algo-1")), []
    for is_best in (False, True):
        model.save(0, is_best)
        found.append(sorted(path.name for path in Path(folder).iterdir()))
    return found


def divergence(base: str) -> str:
    """What a job says whose schedule makes the learning rate explode after its first epoch."""
    from train.errors import UserError
    from train.image_classification_tensorflow import job, loop

    make = loop._rate

    def exploding(hp: dict[str, Any], updates: int) -> Any:
        return make(hp | {"lr_scheduler_factor": 1e30, "lr_scheduler_step": (1,)}, updates)

    loop._rate = exploding
    raw = {**SMALL, "mini_batch_size": "16", "epochs": "5", "optimizer": "sgd"}
    try:
        job.run(Path(base), raw, {})
    except UserError as error:
        return str(error)
    return "nothing was refused"


# ---- pretrained weights -----------------------------------------------------------------------------------------


def weight_files(folder: str) -> dict[str, list[float]]:
    """Weight files of one network in every form; the largest difference after loading each, and arrays loaded."""
    import keras
    import tf_keras

    from train import keras_weights
    from train.image_classification_tensorflow import network

    root = Path(folder)
    net = _build(seed=7)
    network.save(net.model, root / "job.keras")
    net.base.save_weights(root / "no_top.weights.h5")
    nested = keras.Sequential([net.base, keras.layers.Dense(37)])
    nested.build((None, 32, 32, 3))
    nested.save_weights(root / "nested.weights.h5")
    old = tf_keras.applications.MobileNetV2((32, 32, 3), 0.35, include_top=False, weights=None, pooling="avg")
    old.set_weights(net.base.get_weights())
    old.save_weights(root / "keras2_no_top.h5")
    whole = tf_keras.Sequential([old, tf_keras.layers.Dense(1, activation="sigmoid")])
    whole.compile("adam", "binary_crossentropy")
    whole.save(root / "keras2_model.h5")
    found = {}
    for file in sorted(root.iterdir()):
        other = _build(num_classes=5)
        count = keras_weights.load_into(other.base, file, network.name(0.35))
        pairs = zip(other.base.get_weights(), net.base.get_weights(), strict=True)
        found[file.name] = [max(float(np.abs(a - b).max()) for a, b in pairs), count]
    return found


def grey_first_kernel(folder: str) -> float:
    """A one-channel network with a file's weights, on grey photos, against three channels: the largest difference."""
    from train import keras_weights
    from train.image_classification_tensorflow import network

    colour, grey = _build(seed=7), _build(image_shape="1,32,32")
    path = Path(folder, "colour.keras")
    network.save(colour.model, path)
    keras_weights.load_into(grey.base, path, network.name(0.35))
    photos = _photos(2, channels=1).astype(np.float32)
    three = colour.base(np.repeat(photos, 3, axis=3), training=False).numpy()
    return float(np.abs(three - grey.base(photos, training=False).numpy()).max() / np.abs(three).max())


def refused_weights(folder: str) -> dict[str, str]:
    """What files that are not the network's weights are refused with."""
    import h5py
    import keras

    from train import keras_weights
    from train.errors import UserError
    from train.image_classification_tensorflow import network

    root = Path(folder)
    net = network.build(_checked())
    network.save(network.build(_checked(alpha=0.5)).model, root / "another alpha")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(root / "tiny.weights.h5")
    (root / "tiny.weights.h5").rename(root / "another network")
    network.save(net.model, root / "whole")
    whole = (root / "whole").read_bytes()
    (root / "cut zip").write_bytes(whole[:5000])
    net.base.save_weights(root / "w.weights.h5")
    (root / "w.weights.h5").rename(root / "not finite")
    (root / "cut h5").write_bytes((root / "not finite").read_bytes()[:9000])
    with h5py.File(root / "not finite", "r+") as opened:
        opened["layers/batch_normalization/vars/3"][...] = np.nan
    (root / "no weights").write_bytes(b"hello, world")
    (root / "whole").unlink()
    said = {}
    for file in sorted(root.iterdir()):
        try:
            keras_weights.load_into(net.base, file, network.name(0.35))
        except UserError as error:
            said[file.name] = str(error).removeprefix(str(file))
    return said
