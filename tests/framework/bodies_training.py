"""What tests/framework/test_training.py runs inside the MXNet environment."""

from pathlib import Path
from typing import Any


def run_to_a_loss_that_is_not_finite(base: str, hyperparameters: dict[str, Any]) -> str:
    """Train with a schedule that multiplies the learning rate by 1e30 after the first epoch; what the job says.

    No hyperparameter that the table admits makes a network with BatchNorm overflow after an epoch that did not, so
    the schedule's factor is changed behind the table.
    """
    from train.errors import UserError
    from train.image_classification import job, loop

    make = loop.optimizer

    def exploding(hp: dict[str, Any]) -> Any:
        optimizer = make(hp)
        optimizer.lr_scheduler.factor = 1e30
        return optimizer

    loop.optimizer = exploding
    values = {**hyperparameters, "lr_scheduler_step": "1", "num_training_samples": 32}
    try:
        job.run(Path(base), {name: str(value) for name, value in values.items()}, {})
    except UserError as error:
        return str(error)
    return "nothing was refused"
