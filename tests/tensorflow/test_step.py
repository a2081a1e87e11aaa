"""Updates of image-classification-tensorflow: optimizers, learning-rate schedule, weight decay, class weights."""

import keras
import numpy as np
import pytest

from tests.tensorflow import small
from train.image_classification_tensorflow import network
from train.job import stop
from train.keras.model import create_learner
from train.keras.step import Step, class_weights
from train.keras.step import optimizer as make_optimizer
from train.trainer import Trainer


@pytest.mark.parametrize(("name", "rate"), [("sgd", 0.01), ("nag", 0.01), ("adam", 0.002), ("rmsprop", 0.002)])
def test_each_optimizer_lowers_the_loss_on_one_batch(name: str, rate: float) -> None:
    hp = small.hyperparameters(optimizer=name, learning_rate=rate, dropout=0, train_layers=1)
    net = network.build(hp)
    step = Step(net.above, None, None, hp, 1)
    features = np.random.default_rng(0).normal(size=(8, *net.below.output_shape[1:])).astype(np.float32)
    labels = np.arange(8) % 3
    losses = [step.read((features, labels), step(features, labels)).loss for _ in range(30)]
    print(losses[0], losses[-1])
    assert losses[-1] < 0.5 * losses[0]


def optimizer(name: str) -> keras.optimizers.Optimizer:
    parameters = {"momentum": 0.7, "beta_1": 0.8, "beta_2": 0.99, "eps": 1e-3, "gamma": 0.6}
    return make_optimizer(small.hyperparameters(optimizer=name, **parameters), 4)


@pytest.mark.parametrize(("name", "nesterov"), [("sgd", False), ("nag", True)])
def test_sgd_and_nag_get_the_momentum(name: str, nesterov: bool) -> None:
    sgd = optimizer(name)
    assert (sgd.momentum, sgd.nesterov) == (0.7, nesterov)


def test_adam_gets_betas_and_eps() -> None:
    adam = optimizer("adam")
    assert (adam.beta_1, adam.beta_2, adam.epsilon) == (0.8, 0.99, 1e-3)


def test_rmsprop_gets_gamma_and_eps() -> None:
    rmsprop = optimizer("rmsprop")
    assert (rmsprop.rho, rmsprop.epsilon) == (0.6, 1e-3)


def test_the_learning_rate_drops_after_the_given_epochs() -> None:
    hp = small.hyperparameters(learning_rate=0.1, lr_scheduler_step="1,3", optimizer="sgd", train_layers="head")
    net = network.build(hp)
    step = Step(net.above, None, None, hp, 2)  # an epoch has two updates
    features = np.zeros((8, *net.below.output_shape[1:]), np.float32)
    rates = []
    for _ in range(8):
        rates.append(step.learning_rate)
        step(features, np.arange(8) % 3)
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001])


def test_weight_decay_changes_only_kernels() -> None:
    hp = small.hyperparameters(
        learning_rate=0.1, weight_decay=1, momentum=0, optimizer="sgd", train_layers="head", dropout=0
    )
    net = network.build(hp)
    step = Step(net.above, None, None, hp, 1)
    dense = net.model.get_layer("logits")
    before = dense.kernel.numpy()
    # With zero features and balanced classes, the kernel has no other gradient.
    step(np.zeros((9, *net.below.output_shape[1:]), np.float32), np.arange(9) % 3)
    assert dense.kernel.numpy() == pytest.approx(0.9 * before, rel=1e-5)
    assert np.abs(dense.bias.numpy()).max() < 1e-6


@pytest.mark.parametrize(
    ("labels", "weights"),
    [([0] * 6 + [1] * 2, [8 / 12, 2]), ([0, 1, 2], [1, 1, 1]), ([0, 0, 2, 2], [1, 1, 1])],
    ids=["unbalanced", "balanced", "a class without photos"],
)
def test_class_weights_are_inversely_proportional_to_class_frequencies(labels: list[int], weights: list[float]) -> None:
    assert class_weights(np.array(labels), len(weights)) == pytest.approx(weights)


class NullFolder:
    """A model folder that ignores what is saved."""

    def save(self, epoch: int, improved: bool, before: int | None) -> None:
        pass


@pytest.mark.parametrize(("augmentation", "reads"), [(small.STILL, 10), ({}, 20)], ids=["still", "augmented"])
def test_unaugmented_photos_are_read_once_if_the_lower_layers_are_frozen(
    augmentation: dict[str, object], reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "_state", {"requested": False, "keeping": False})
    hp = small.hyperparameters(train_layers="head", epochs=2, mini_batch_size=5, **augmentation)
    train, validation = small.Photos(10), small.Photos(10)
    train.validation, train.validation_tensor = validation.train, validation.train_tensor
    Trainer(create_learner(network.build(hp), train, hp), hp, NullFolder()).run()
    assert (train.reads, validation.reads) == (reads, 10)
