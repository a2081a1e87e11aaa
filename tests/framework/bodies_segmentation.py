"""What tests/framework/test_segmentation.py runs inside the MXNet environment."""

from pathlib import Path
from typing import Any


def run_to_a_loss_that_is_not_finite(base: str, hyperparameters: dict[str, Any]) -> str:
    """Train with a schedule that multiplies the learning rate by 1e30 after the first epoch; what the job says."""
    from train.errors import UserError
    from train.semantic_segmentation import job, loop

    make = loop.optimizer

    def exploding(hp: dict[str, Any], updates: int) -> Any:
        optimizer = make(hp, updates)
        optimizer.lr_scheduler.factor = 1e30
        return optimizer

    loop.optimizer = exploding
    values = {**hyperparameters, "lr_scheduler": "step", "lr_scheduler_step": "1", "epochs": 4, "mini_batch_size": 2}
    try:
        job.run(Path(base), {name: str(value) for name, value in values.items()}, {})
    except UserError as error:
        return str(error)
    return "nothing was refused"
