"""What the tests of image-classification-tensorflow run in the TensorFlow environment."""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
SMALL = {"image_shape": "3,32,32", "alpha": "0.35", "mini_batch_size": "8"}


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
