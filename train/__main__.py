"""The program `train`: signals and threads first, then SageMaker's training toolkit around `train.entry:main`."""

import os
import sys

from train import entry, log, stop, threads

_HELP = """usage: train

Trains the algorithm of this image (environment variable VISION_ALGORITHM) on what lies under /opt/ml, or under
SAGEMAKER_BASE_DIR: input/config/*.json, input/data/<channel>/. The model goes to model/, a failure's reason to
output/failure. Exit code 0: trained, or stopped by SIGTERM; 2: the input is at fault; 1: anything else.
"""


def main(arguments: list[str]) -> None:
    """Run the job; ends the process. SageMaker calls `train train`; SDK v3 passes nothing."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(_HELP, end="")
        return
    stop.install()
    log.configure()
    log.LOG.info("Docker entrypoint called with argument(s): %s", " ".join(arguments) or "train")
    log.LOG.info(threads.set_threads())
    entry.prepare()
    os.environ["SAGEMAKER_TRAINING_MODULE"] = "train.entry:main"
    from sagemaker_training import trainer  # after the thread variables: it imports NumPy's users

    trainer.train()


if __name__ == "__main__":
    main(sys.argv[1:])
