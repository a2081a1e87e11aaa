"""Training steps of image-classification: optimizers, the learning rate, losses, and log lines about speed."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest

from tests import jobs
from tests.mxnet.batches import Clock, Slow, lines_of_second_epoch
from train.classification.log_lines import ClassifierLines
from train.image_classification import network, step
from train.image_classification.hyperparameters import Hyperparameters, check


def checked(**changes: Any) -> Hyperparameters:
    """Return the complete hyperparameters of a job with two classes."""
    return check(jobs.texts({"num_classes": 2, "num_training_samples": 8, "resize": 224} | changes))


# ---- updates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "learning_rate"), [("sgd", 0.05), ("nag", 0.05), ("adam", 0.002), ("rmsprop", 0.002)])
def test_each_optimizer_lowers_the_loss_on_one_batch(name: str, learning_rate: float) -> None:
    hp = checked(optimizer=name, learning_rate=learning_rate)
    images = np.random.default_rng(1).normal(size=(8, 3, 32, 32)).astype(np.float32)
    labels = np.array([0, 1] * 4)
    update = step.Step(network.build(20, 2, 3, 0), step.loss_function(hp, labels), hp)
    losses = [update.read((images, labels), update(images, labels)).loss for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_learning_rate_drops_by_the_factor_after_the_given_epochs() -> None:
    # 10 samples in batches of 4 give 3 updates per epoch: epochs 0 and 1 at 0.1, epoch 2 at 0.01, epoch 3 at 0.001.
    optimizer = step.optimizer(
        checked(num_training_samples=10, mini_batch_size=4, learning_rate=0.1, lr_scheduler_step="2,3")
    )
    rates = []
    for update in range(1, 13):
        optimizer.num_update = update
        rates.append(optimizer.learning_rate)
    assert rates == pytest.approx([0.1] * 6 + [0.01] * 3 + [0.001] * 3)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sgd", {"momentum": 0.7, "wd": 0.02}),
        ("nag", {"momentum": 0.7, "wd": 0.02}),
        ("adam", {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-3, "wd": 0.0}),
        ("rmsprop", {"gamma1": 0.6, "epsilon": 1e-3, "wd": 0.0}),
    ],
)
def test_the_optimizer_gets_its_settings(name: str, settings: dict[str, float]) -> None:
    parameters = {"momentum": 0.7, "weight_decay": 0.02, "beta_1": 0.8, "beta_2": 0.99, "eps": 1e-3, "gamma": 0.6}
    optimizer = step.optimizer(checked(optimizer=name, **parameters))
    assert {name: getattr(optimizer, name) for name in settings} == settings


def test_a_weighted_loss_gives_rare_labels_more_weight() -> None:
    # Labels in 1 of 4 and 2 of 4 samples weigh 3 and 1. At logit 0 each term is ln 2: (3 + 1) / 2 ln 2 for [1, 1].
    labels = np.array([[1, 1], [0, 1], [0, 0], [0, 0]], np.float32)
    loss = step.loss_function(checked(multi_label=1, use_weighted_loss=1), labels)
    assert loss(mx.nd.zeros((1, 2)), mx.nd.ones((1, 2))).asscalar() == pytest.approx(2 * 0.6931472, rel=1e-5)


# ---- log lines about speed --------------------------------------------------------------------------------------


def test_speed_is_logged_every_twenty_batches_like_the_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines_of_second_epoch(Slow(Clock(monkeypatch), 0.01, accuracy=[1.0]), ClassifierLines(None), 45) == [
        f"Epoch[1] Batch [{number}]\tSpeed: 800.00 samples/sec\taccuracy=1.000000\ttime left: 0:00:00"
        for number in (20, 40)
    ]


def test_speed_is_logged_at_least_every_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first epoch's 3 of 12 batches take no time. After 30 s, 4 are done and 8 are left, which gives 60 s.
    assert lines_of_second_epoch(Slow(Clock(monkeypatch), 30, accuracy=[1.0]), ClassifierLines(None), 3) == [
        f"Epoch[1] Batch [{number}]\tSpeed: 0.27 samples/sec\taccuracy=1.000000\ttime left: {remaining}"
        for number, remaining in ((0, "0:01:00"), (1, "0:01:24"), (2, "0:01:30"))
    ]
