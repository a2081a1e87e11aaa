"""Loading weights from Keras files: all formats of Keras 2 and 3, with any head, and errors."""

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from tests.tensorflow import small
from train.errors import UserError
from train.image_classification_tensorflow import network
from train.image_classification_tensorflow.weights import MOBILENETV2
from train.keras.network import Network, save
from train.weights import keras_files

NAME = network.name(0.35)
SOURCE = MOBILENETV2.source(NAME)
Writer = Callable[[Network, Path], None]


@pytest.fixture(scope="module")
def net() -> Network:
    """The network whose weights are written to files."""
    return small.built(seed=7)


def job(net: Network, path: Path) -> None:
    """Save the file that a job writes."""
    save(net.model, path)


def no_top(net: Network, path: Path) -> None:
    net.base.save_weights(path)


def nested(net: Network, path: Path) -> None:
    whole = keras.Sequential([net.base, keras.layers.Dense(37)])
    whole.build((None, 32, 32, 3))
    whole.save_weights(path)


def of_keras_2(net: Network) -> tf_keras.Model:
    old = tf_keras.applications.MobileNetV2((32, 32, 3), 0.35, include_top=False, weights=None, pooling="avg")
    old.set_weights(net.base.get_weights())
    return old


def keras_2_no_top(net: Network, path: Path) -> None:
    of_keras_2(net).save_weights(path)


def keras_2_model(net: Network, path: Path) -> None:
    whole = tf_keras.Sequential([of_keras_2(net), tf_keras.layers.Dense(1, activation="sigmoid")])
    whole.compile("adam", "binary_crossentropy")
    whole.save(path)


@pytest.mark.parametrize(
    ("write", "suffix"),
    [
        (job, ".keras"),
        (no_top, ".weights.h5"),
        (nested, ".weights.h5"),
        (keras_2_no_top, ".h5"),
        (keras_2_model, ".h5"),
    ],
)
def test_weights_load_from_every_keras_format_with_any_head(
    write: Writer, suffix: str, net: Network, tmp_path: Path
) -> None:
    path = tmp_path / f"file{suffix}"
    write(net, path)
    loaded_net = network.build(small.hyperparameters(num_classes=5))
    assert keras_files.load_into(loaded_net.base, path, NAME, SOURCE) == 260
    for loaded, written in zip(loaded_net.base.get_weights(), net.base.get_weights(), strict=True):
        assert np.array_equal(loaded, written)


def test_a_one_channel_network_loads_the_weights_of_three_channels(net: Network, tmp_path: Path) -> None:
    save(net.model, tmp_path / "colour.keras")
    grey = network.build(small.hyperparameters(image_shape="1,32,32"))
    keras_files.load_into(grey.base, tmp_path / "colour.keras", NAME, SOURCE)
    photos = small.photos(2, channels=1).astype(np.float32)
    features = net.base(np.repeat(photos, 3, axis=3), training=False).numpy()
    assert grey.base(photos, training=False).numpy() == pytest.approx(features, abs=1e-4 * float(features.max()))


def another_alpha(net: Network, path: Path) -> None:
    save(network.build(small.hyperparameters(alpha=0.5)).model, path)


def another_network(net: Network, path: Path) -> None:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(path)


def cut_zip(net: Network, path: Path) -> None:
    save(net.model, path)
    path.write_bytes(path.read_bytes()[:5000])


def cut_h5(net: Network, path: Path) -> None:
    net.base.save_weights(path.with_suffix(".weights.h5"))
    path.write_bytes(path.with_suffix(".weights.h5").read_bytes()[:9000])


def not_finite(net: Network, path: Path) -> None:
    net.base.save_weights(path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(path)
    with h5py.File(path, "r+") as opened:
        opened["layers/batch_normalization/vars/3"][...] = np.nan


def no_weights(net: Network, path: Path) -> None:
    path.write_bytes(b"hello, world")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (another_alpha, "is not mobilenetv2_0.35: "),
        (another_network, "is not mobilenetv2_0.35 with Keras's layer names: it lacks Conv1, bn_Conv1, "),
        (cut_zip, "is damaged or incomplete ("),
        (cut_h5, "is damaged or incomplete ("),
        (not_finite, "has values in bn_Conv1/moving_variance that are not finite"),
        (no_weights, "is neither a Keras .h5 nor a .keras file (it starts with b'hello, w'): provide one of these"),
    ],
)
def test_a_file_without_the_networks_weights_is_rejected_with_a_reason(
    write: Writer, reason: str, net: Network, tmp_path: Path
) -> None:
    write(net, tmp_path / "file")
    with pytest.raises(UserError) as caught:
        keras_files.load_into(net.base, tmp_path / "file", NAME, SOURCE)
    assert str(caught.value).startswith(f"{tmp_path}/file {reason}")
