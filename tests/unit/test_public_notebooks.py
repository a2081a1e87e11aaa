"""Hyperparameters from AWS's public notebooks and from bug reports, written as SageMaker's SDKs write them.

Each set must start a job. `fit` of SDK v2 and v3 sends `str(value)`. A framework estimator and the categories of a
tuner send JSON.
"""

import json
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from train import hyperparameter_types
from train.image_classification import hyperparameters as classification
from train.object_detection import hyperparameters as detection
from train.semantic_segmentation import hyperparameters as segmentation

CALTECH: dict[str, Any] = {
    "num_layers": 18,
    "image_shape": "3,224,224",
    "num_classes": 257,
    "num_training_samples": 15420,
    "mini_batch_size": 128,
    "epochs": 5,
    "learning_rate": 0.01,
    "top_k": 2,
    "precision_dtype": "float32",
}
VOC: dict[str, Any] = {
    "base_network": "resnet-50",
    "use_pretrained_model": 1,
    "num_classes": 20,
    "mini_batch_size": 16,
    "epochs": 5,
    "learning_rate": 0.001,
    "lr_scheduler_step": "3,6",
    "lr_scheduler_factor": 0.1,
    "optimizer": "rmsprop",
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "overlap_threshold": 0.5,
    "nms_threshold": 0.45,
    "image_shape": 300,
    "label_width": 350,
    "num_training_samples": 16551,
}
MASKS: dict[str, Any] = {
    "backbone": "resnet-50",
    "algorithm": "fcn",
    "use_pretrained_model": "True",
    "crop_size": 240,
    "num_classes": 21,
    "epochs": 10,
    "learning_rate": 0.0001,
    "optimizer": "rmsprop",
    "lr_scheduler": "poly",
    "mini_batch_size": 16,
    "validation_mini_batch_size": 16,
    "early_stopping": True,
    "early_stopping_patience": 2,
    "early_stopping_min_epochs": 10,
    "num_training_samples": 1464,
}
SETS: dict[str, tuple[ModuleType, dict[str, Any], dict[str, Any]]] = {
    "full training": (classification, CALTECH, {"num_layers": 18, "top_k": 2}),
    "transfer learning": (classification, CALTECH | {"use_pretrained_model": 1}, {"use_pretrained_model": True}),
    "lst files": (classification, CALTECH | {"resize": 256, "epochs": 2}, {"resize": 256}),
    "multi-label": (
        classification,
        CALTECH
        | {"num_classes": 5, "resize": 256, "num_training_samples": 2500, "use_pretrained_model": 1, "top_k": None}
        | {"use_weighted_loss": 1, "augmentation_type": "crop_color_transform", "multi_label": 1},
        {"multi_label": True, "use_weighted_loss": True, "top_k": None},
    ),
    "incremental": (classification, CALTECH | {"epochs": 2, "mini_batch_size": 128.0}, {"mini_batch_size": 128}),
    "sagemaker-python-sdk#310": (
        classification,
        CALTECH
        | {"num_classes": 48, "num_training_samples": 3988, "mini_batch_size": 64, "epochs": 60, "optimizer": "adam"}
        | {"learning_rate": 0.1, "use_lr_scheduler": 1, "lr_scheduler_factor": 0.1, "use_pretrained_model": 1}
        | {"lr_scheduler_step": "10,20,30,40,50,59", "augmentation_type": "crop_color_transform"},
        {"lr_scheduler_step": (10, 20, 30, 40, 50, 59)},
    ),
    "checkpoint_frequency above epochs": (
        classification,
        CALTECH | {"epochs": 4, "checkpoint_frequency": 10},
        {"checkpoint_frequency": 10, "epochs": 4},
    ),
    "several hosts": (
        classification,
        CALTECH | {"kv_store": "dist_device_sync", "lr_scheduler_step": [10, 20], "early_stopping": False},
        {"kv_store": "dist_device_sync", "lr_scheduler_step": (10, 20), "early_stopping": False},
    ),
    "tuning job": (
        classification,
        CALTECH | {"_tuning_objective_metric": "validation:accuracy", "optimizer": "adam", "beta_1": 0.000001},
        {"optimizer": "adam", "beta_1": 1e-6},
    ),
    "detection, image format": (
        detection,
        VOC | {"lr_scheduler_step": "10", "optimizer": "sgd"},
        {"lr_scheduler_step": (10,)},
    ),
    "detection, RecordIO": (detection, VOC, {"lr_scheduler_step": (3, 6), "use_pretrained_model": True}),
    "detection, one class": (
        detection,
        VOC
        | {"num_classes": 1, "image_shape": 512, "label_width": 600, "epochs": 30.0, "freeze_layer_pattern": False}
        | {"kv_store": "device", "nms_topk": 400, "early_stopping_patience": 0, "early_stopping": True},
        {"image_shape": 512, "freeze_layer_pattern": None, "early_stopping_patience": 0},
    ),
    "segmentation": (segmentation, MASKS, {"early_stopping": True, "use_pretrained_model": True}),
    "segmentation, two classes": (
        segmentation,
        {"backbone": "resnet-50", "algorithm": "deeplab", "num_classes": 2, "epochs": 10, "learning_rate": 0.0001}
        | {"optimizer": "adam", "mini_batch_size": 16, "validation_mini_batch_size": 16, "num_training_samples": 100},
        {"algorithm": "deeplab"},
    ),
    "segmentation, private hyperparameters": (
        segmentation,
        MASKS
        | {"_workers": 16, "_aux_loss": True, "_aux_weight": 0.5, "_hybrid": False, "_augmentation_type": "default"}
        | {"_logging_frequency": 20, "_kvstore": "device", "_num_kv_servers": "auto", "precision_dtype": "float32"}
        | {"lr_scheduler_step": None, "gamma1": 0.9, "gamma2": 0.9, "syncbn": False, "base_size": 520},
        {"precision_dtype": "float32", "lr_scheduler_step": ()},
    ),
}


@pytest.mark.parametrize("form", ["text", "JSON"])
@pytest.mark.parametrize("name", SETS)
def test_the_hyperparameters_of_a_public_notebook_start_a_job(name: str, form: str, tmp_path: Path) -> None:
    algorithm, hyperparameters, expected = SETS[name]
    write = str if form == "text" else json.dumps
    path = tmp_path / "hyperparameters.json"
    path.write_text(json.dumps({key: write(value) for key, value in hyperparameters.items()}))
    hp = algorithm.check(hyperparameter_types.read(path))
    hp.log()
    assert expected.items() <= hp.values().items()
    assert not [key for key in hp.values() if key.startswith("_")]


def test_a_hyperparameter_that_the_built_in_algorithm_ignores_gives_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    strings = {key: str(value) for key, value in SETS["sagemaker-python-sdk#310"][1].items()}
    with caplog.at_level(logging.WARNING, logger="train"):
        hp = classification.check(strings)
    assert "use_lr_scheduler" not in hp.values()
    assert caplog.messages == [
        "use_lr_scheduler=1 is ignored, as in the built-in: only lr_scheduler_step determines when the rate falls"
    ]


def test_a_checkpoint_frequency_above_epochs_gives_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    strings = {key: str(value) for key, value in CALTECH.items()} | {"epochs": "4", "checkpoint_frequency": "10"}
    with caplog.at_level(logging.WARNING, logger="train"):
        classification.check(strings).log()
    assert "checkpoint_frequency=10 is above epochs=4: only the best epoch is kept" in caplog.messages
