"""The program `train`: signals and threads first, then SageMaker's training toolkit around `train.entry:main`."""

import os
import sys

from train import entry, log
from train.job import stop, threads

_HELP = """usage: train

Trains the algorithm of this image (environment variable VISION_ALGORITHM) on what lies under /opt/ml, or under
SAGEMAKER_BASE_DIR: input/config/*.json, input/data/<channel>/. The model goes to model/, a failure's reason to
output/failure. Exit code 0: trained, or stopped by SIGTERM; 2: the input is at fault; 1: anything else.
"""


def main(arguments: list[str]) -> None:
    """Run the job; ends the process.

    Takes no argument but --help and `train`, which the platform adds where an image has an ENTRYPOINT.
    """
    if {"-h", "--help"} & set(arguments):
        print(_HELP, end="")
        return
    if wrong := arguments[arguments[:1] == ["train"] :]:
        print(
            f"train: error: {wrong[0]!r} is not an argument of train: hyperparameters are read from "
            "input/config/hyperparameters.json",
            file=sys.stderr,
        )
        sys.exit(2)
    stop.install()
    log.configure()
    log.LOG.info("Docker entrypoint called with argument(s): %s", " ".join(arguments) or "train")
    log.LOG.info(threads.set_threads())
    entry.prepare()
    os.environ["SAGEMAKER_TRAINING_MODULE"] = "train.entry:main"
    from sagemaker_training import trainer  # after the thread variables: it imports NumPy's users

    try:
        trainer.train()
    except SystemExit as end:
        stop.end(end.code)
        raise


if __name__ == "__main__":
    main(sys.argv[1:])
