"""What the model folders of the MXNet algorithms share: native weights and versions."""

from pathlib import Path

from mxnet import gluon

from train.learner import K
from train.model_folder import Model
from train.weights import native


class GluonModel(Model[K]):
    """Writes and reads the parameters of a network as MXNet's checkpoints have them."""

    def __init__(self, net: gluon.Block) -> None:
        self._net = net

    def write_weights(self, path: Path) -> None:
        """Write the weights as they are now."""
        native.write_parameters(self._net, path)

    def read_weights(self, path: Path) -> None:
        """Go back to weights that `write_weights` has written."""
        native.read_parameters(self._net, path)
