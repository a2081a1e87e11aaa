"""`gpu-check`: train this image's algorithms for a few updates on the CPU and on each GPU, and compare the losses."""

import importlib
import os
import sys

from serve import __version__
from train.errors import UserError
from train.gpu_check.comparison import compare, table
from train.job import cuda
from train.job.devices import CPU

_HELP = """usage: gpu-check

Train each algorithm of this image for a few updates on generated pictures: on the CPU, on each GPU, in float16, and on
all GPUs together. Print a table to paste into an issue. VISION_DEVICES selects other devices, as in a job.
Exit code 0: all agree with the CPU; 1: some do not; 2: VISION_DEVICES cannot be used; 3: no GPU.
"""
WRONG_DEVICES, NO_GPU = 2, 3


def main(arguments: list[str]) -> int:
    """Run the check, print the table, and return the exit code."""
    if {"-h", "--help"} & set(arguments):
        print(_HELP, end="")
        return 0
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # before CUDA is loaded: full float32 precision instead of TF32
    from train import entry, log

    log.configure()
    name = os.environ.get(entry.ALGORITHM, "")
    if name not in entry.ALGORITHMS:
        print(f"gpu-check: {entry.ALGORITHM}={name!r} is not an algorithm of this image", file=sys.stderr)
        return 1
    entry.algorithm(name)  # imports the framework in the same way as a job
    framework = importlib.import_module(f"train.gpu_check.{'keras' if name in entry.SCRIPTS else 'gluon'}")
    try:
        devices, trainings = framework.prepare(os.environ)
    except UserError as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        return WRONG_DEVICES
    if list(devices) == [CPU]:
        print("gpu-check: there is no GPU that this image can use, so nothing is checked")
        return NO_GPU
    print(f"gpu-check of {name} {__version__}")
    for number, gpu in enumerate(cuda.gpus()):
        print(f"gpu:{number} is {gpu}")
    rows = compare(trainings, devices)
    failed = [row for row in rows if not row.passed]
    print(table(rows))
    print(f"gpu-check: {'failed' if failed else 'passed'}: {len(rows) - len(failed)} of {len(rows)} runs agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
