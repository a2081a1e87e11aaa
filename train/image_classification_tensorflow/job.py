"""A training job of image-classification-tensorflow."""

import train.keras.model  # must be imported before TensorFlow: it sets its log level
from train.image_classification_tensorflow import hyperparameters, network
from train.image_classification_tensorflow.hyperparameters import Hyperparameters
from train.image_classification_tensorflow.weights import MOBILENETV2
from train.job.training import Algorithm, Job, Prepared


def prepare(job: Job[Hyperparameters]) -> Prepared:
    """Read the data and build the network. Raises UserError if the data or hyperparameters are invalid."""
    return train.keras.model.prepare(job, network.name(job.hp.alpha), MOBILENETV2, network.build)


ALGORITHM = Algorithm(hyperparameters.check, prepare)
