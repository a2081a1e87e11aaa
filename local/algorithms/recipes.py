"""What the recipes of the demo and of local mode have in common: epochs, learning rate steps, size of a batch."""

from collections.abc import Mapping, Sequence

Hyperparameters = dict[str, str | int | float]


def complete(
    tried: Mapping[str, str | int | float],
    epochs: int | None,
    num_classes: int,
    num_training_samples: int,
    falls: Sequence[float] = (0.6, 0.85),
) -> Hyperparameters:
    """The hyperparameters `tried`, brought to a data set; `epochs` None means as many as were tried.

    The learning rate falls to a tenth after each share of the epochs in `falls`. A batch is never larger than the data
    set: the built-in refuses that.
    """
    recipe = dict(tried)
    if epochs is not None:
        recipe["epochs"] = epochs
    last = int(recipe["epochs"])
    steps = sorted({round(last * share) for share in falls} - {0, last})
    if steps:
        recipe["lr_scheduler_step"] = ",".join(map(str, steps))
    return recipe | {
        "num_classes": num_classes,
        "num_training_samples": num_training_samples,
        "mini_batch_size": min(int(recipe["mini_batch_size"]), num_training_samples),
    }
