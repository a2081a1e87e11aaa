"""Training steps of semantic-segmentation: optimizers, schedules, ignored pixels, and log lines about speed."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest

from tests.mxnet.batches import Clock, Slow, lines_of_second_epoch
from tests.mxnet.segmentation import batch, hyperparameters
from train.semantic_segmentation import network
from train.semantic_segmentation.log_lines import SegmentationLines
from train.semantic_segmentation.step import Objective, Step, optimizer


@pytest.mark.parametrize(
    ("name", "learning_rate"),
    [("sgd", 0.02), ("adam", 0.001), ("adagrad", 0.002), ("nag", 0.02), ("rmsprop", 0.0001), ("adadelta", 0.5)],
)
def test_each_optimizer_lowers_the_loss_on_one_batch(name: str, learning_rate: float) -> None:
    hp = hyperparameters(optimizer=name, learning_rate=learning_rate, crop_size=64, epochs=100)
    step = Step(network.build("fcn", "resnet-18", 3, 0), hp, 25)
    same = batch(64)
    losses = [step.read(same, step(*same)).loss for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]


def rates(lr_scheduler: str, **changes: Any) -> list[float]:
    """Return the learning rates of a job with 4 epochs of 10 updates and an initial rate of 0.5."""
    created = optimizer(hyperparameters(lr_scheduler=lr_scheduler, epochs=4, learning_rate=0.5, **changes), 10)
    return [float(created.lr_scheduler(update)) for update in range(1, 41)]


def test_the_poly_schedule_is_a_power_of_the_remaining_share() -> None:
    assert rates("poly") == pytest.approx([0.5 * (1 - update / 40) ** 0.9 for update in range(1, 41)])


def test_the_cosine_schedule_is_half_a_cosine_wave() -> None:
    assert rates("cosine") == pytest.approx([0.25 * (1 + np.cos(np.pi * update / 40)) for update in range(1, 41)])


def test_the_step_schedule_drops_by_its_factor_after_the_given_epochs() -> None:
    stepped = rates("step", lr_scheduler_step="1,3", lr_scheduler_factor=0.5)
    assert stepped == pytest.approx([0.5] * 10 + [0.25] * 20 + [0.125] * 10)


def test_ignored_pixels_do_not_affect_the_loss() -> None:
    objective = Objective(network.build("fcn", "resnet-18", 3, 0), 64)
    images, labels = batch(64)

    def loss(labels: np.ndarray) -> float:
        return float(objective(mx.nd.array(images[:1]), mx.nd.array(labels[:1])).asscalar())

    changed = labels.copy()
    changed[:, 30, 30] = 1 if labels[0, 30, 30] != 1 else 2
    assert loss(np.full_like(labels, -1)) == 0
    assert loss(changed) != loss(labels)


def test_progress_and_time_left_are_logged_every_twenty_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    step, lines = Slow(Clock(monkeypatch), 0.5, loss=[1.0]), SegmentationLines("algo-1", 4, 1, ())
    assert lines_of_second_epoch(step, lines, 41) == [
        "#progress_notice. epoch: 1, iterations: 20 speed: 16.0 samples/sec learning_rate: 0.000099",
        "time left: 0:00:17",
        "#progress_notice. epoch: 1, iterations: 40 speed: 16.0 samples/sec learning_rate: 0.000099",
        "time left: 0:00:20",
    ]
