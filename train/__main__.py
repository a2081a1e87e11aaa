"""The `train` program: set up signals and threads, then run `train.entry:main` in SageMaker's training toolkit."""

import os
import sys

from train import entry, log
from train.job import stop, threads

_HELP = """usage: train

Train this image's algorithm (environment variable VISION_ALGORITHM) on the files in /opt/ml, or in SAGEMAKER_BASE_DIR:
input/config/*.json and input/data/<channel>/. Write the model to model/ and the reason for a failure to
output/failure. Exit code 0: trained, or stopped by SIGTERM; 2: invalid input; 1: any other error.
"""


def main(arguments: list[str]) -> None:
    """Run the job and end the process.

    The only arguments are --help and `train`, which SageMaker adds if the image has an ENTRYPOINT.
    """
    if {"-h", "--help"} & set(arguments):
        print(_HELP, end="")
        return
    if unexpected := arguments[arguments[:1] == ["train"] :]:
        print(
            f"train: error: {unexpected[0]!r} is not an argument of train: hyperparameters are read from "
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
    from sagemaker_training import trainer  # imports NumPy, so only after the thread variables are set

    try:
        trainer.train()
    except SystemExit as end:
        stop.end(end.code)
        raise


if __name__ == "__main__":
    main(sys.argv[1:])
