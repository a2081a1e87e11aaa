"""Numbers that are no longer finite: said with epoch, place and learning rate; the best epoch before is kept."""

from train.errors import UserError


class Diverged(UserError):
    """Training has diverged. `what` became not finite at `place` ("batch 3") of `epoch`, from 0, at the rate `rate`."""

    def __init__(self, what: str, epoch: int, place: str, rate: float) -> None:
        super().__init__(
            f"{what} at epoch {epoch}, {place}, with learning_rate={rate:g}: lower learning_rate (a tenth is a good "
            "next try)"
        )
