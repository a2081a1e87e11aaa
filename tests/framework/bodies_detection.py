"""What tests/framework/test_detection.py runs inside the MXNet environment."""

from pathlib import Path
from typing import Any


def run_to_a_loss_that_is_not_finite(base: str, hyperparameters: dict[str, Any]) -> str:
    """Train with a schedule that multiplies the learning rate by 1e30 after the first epoch; what the job says."""
    from train.errors import UserError
    from train.object_detection import job, loop

    make = loop.optimizer

    def exploding(hp: dict[str, Any]) -> Any:
        optimizer = make(hp)
        optimizer.lr_scheduler.factor = 1e30
        return optimizer

    loop.optimizer = exploding
    values = {**hyperparameters, "lr_scheduler_step": "1", "num_training_samples": 8, "epochs": 4}
    try:
        job.run(Path(base), {name: str(value) for name, value in values.items()}, {})
    except UserError as error:
        return str(error)
    return "nothing was refused"
