"""Numbers that are no longer finite: said with epoch, place and learning rate; the best epoch before is kept."""

from collections.abc import Callable
from pathlib import Path

from serve.artifact import MODEL_JSON, MODEL_ONNX
from train.errors import TrainError, UserError
from train.log import LOG


class Diverged(UserError):
    """Training has diverged. `what` became not finite at `place` ("batch 3") of `epoch`, from 0, at the rate `rate`."""

    def __init__(self, what: str, epoch: int, place: str, rate: float) -> None:
        super().__init__(
            f"{what} at epoch {epoch}, {place}, with learning_rate={rate:g}: lower learning_rate (a tenth is a good "
            "next try)"
        )


def rescue(finish: Callable[[], None], folder: Path, epoch: int) -> str:
    """Finish the best epoch before the divergence (-1: there is none), and return what to tell of it.

    What cannot be proven must not be served: `folder` then keeps the native weights alone.
    """
    if epoch < 0:
        return "no epoch had ended before, so there is no model"
    try:
        finish()
    except TrainError as error:
        LOG.error("The best epoch before, %d, cannot be served: %s", epoch, error)
        for name in (MODEL_ONNX, MODEL_JSON):
            (folder / name).unlink(missing_ok=True)
        return f"epoch {epoch}, the best before, is too broken to be served: only its native weights are kept"
    return f"epoch {epoch}, the best before, is kept"
