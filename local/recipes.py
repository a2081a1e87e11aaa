"""The hyperparameters of the demo and of local mode: found by trying, for the drawn data set and for real photos."""

DRAWN_EPOCHS = 24
REAL_EPOCHS = 40

# ResNet-18 from scratch. Drawn: 0.97 after 24 epochs, 0.93 after 16; nag learns the drawn pets more slowly.
_DRAWN = {
    "num_layers": 18,
    "image_shape": "3,64,64",
    "resize": 72,
    "epochs": DRAWN_EPOCHS,
    "optimizer": "adam",
    "learning_rate": 0.002,
    "augmentation_type": "crop",
}
_REAL = {
    "num_layers": 18,
    "image_shape": "3,128,128",
    "resize": 144,
    "epochs": REAL_EPOCHS,
    "optimizer": "nag",
    "learning_rate": 0.05,
    "weight_decay": 0.0005,
    "augmentation_type": "crop_color_transform",
}


def image_classification(
    drawn: bool, epochs: int | None, num_classes: int, num_training_samples: int
) -> dict[str, str | int | float]:
    """Hyperparameters of image classification; `epochs` None means as many as were tried (24 drawn, 40 real).

    The learning rate falls to a tenth after 60 % and again after 85 % of the epochs.
    """
    recipe = dict(_DRAWN if drawn else _REAL)
    if epochs is not None:
        recipe["epochs"] = epochs
    steps = sorted({round(recipe["epochs"] * share) for share in (0.6, 0.85)} - {0, recipe["epochs"]})
    if steps:
        recipe["lr_scheduler_step"] = ",".join(map(str, steps))
    return recipe | {
        "num_classes": num_classes,
        "num_training_samples": num_training_samples,
        "mini_batch_size": min(32, num_training_samples),
    }
