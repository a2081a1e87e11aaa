"""`python3 -m local deploy NAME`: serve a model in SageMaker local mode, with SDK v3, until Ctrl-C.

A local endpoint belongs to the process that made it, so this command stays; ask from another terminal, with `predict`.
"""

import argparse
import threading
from pathlib import Path

from local.commands import options
from local.images import IMAGES
from local.sagemaker import docker, sdk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `deploy`."""
    options.add_name(parser, IMAGES)
    parser.add_argument(
        "--model", type=Path, required=True, help="model.tar.gz of a training job, a local or a cloud one"
    )
    options.add_image(parser)
    options.add_port(parser, "of this machine")


def run(args: argparse.Namespace) -> int:
    """The command; 0 when ended by Ctrl-C. Raises UserError or CommandFailed with what went wrong."""
    image = args.image or sdk.default_image(args.name)
    docker.check(image)
    with (
        docker.workspace(Path(".local") / "endpoints", image) as root,
        sdk.endpoint(image, args.model, root, args.port),
    ):
        print(f"The endpoint answers on port {args.port}; Ctrl-C deletes it.", flush=True)
        try:
            _watch(root)
        except KeyboardInterrupt:
            print("Deleting the endpoint.", flush=True)
    return 0


def _watch(root: Path) -> None:
    """Returns never: raises LocalModeError when the endpoint's container has ended."""
    pause = threading.Event()
    while not docker.containers(root, state="exited"):
        pause.wait(5)
    raise sdk.LocalModeError("the endpoint's container ended: its log is above")
