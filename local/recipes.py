"""The hyperparameters of the demo and of local mode: found by trying, for the drawn data set and for real photos."""

REAL_EPOCHS = 40
DRAWN_EPOCHS = 20


def image_classification(
    drawn: bool, epochs: int | None, num_classes: int, num_training_samples: int
) -> dict[str, object]:
    """Hyperparameters to train a ResNet-18 from scratch; `epochs` None means as many as were tried.

    The learning rate falls to a tenth after 60 % and again after 85 % of the epochs.
    """
    epochs = epochs or (DRAWN_EPOCHS if drawn else REAL_EPOCHS)
    image = {"image_shape": "3,64,64", "resize": 72} if drawn else {"image_shape": "3,128,128", "resize": 144}
    steps = sorted({round(epochs * share) for share in (0.6, 0.85)} - {0, epochs})
    return {
        "num_layers": 18,
        **image,
        "num_classes": num_classes,
        "num_training_samples": num_training_samples,
        "mini_batch_size": min(32, num_training_samples),
        "epochs": epochs,
        "optimizer": "nag",
        "learning_rate": 0.05,
        "weight_decay": 0.0005,
        "augmentation_type": "crop_color_transform",
        **({"lr_scheduler_step": ",".join(map(str, steps))} if steps else {}),
    }
