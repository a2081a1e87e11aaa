"""`python3 -m local deploy NAME`: serve a model in SageMaker local mode, with SDK v3, until Ctrl-C.

A local endpoint ends with the process that created it. Send requests from another terminal, with `predict`.
"""

import argparse
import threading
from pathlib import Path

from local.commands import options
from local.images import IMAGES
from local.sagemaker import docker, sdk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    options.add_name(parser, IMAGES)
    parser.add_argument("--model", type=Path, required=True, help="model.tar.gz of a local or cloud training job")
    options.add_image(parser)
    options.add_port(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C, then return 0. Raises UserError or CommandFailed."""
    image = args.image or sdk.default_image(args.name)
    docker.check(image)
    with (
        docker.workspace(Path(".local") / "endpoints", image) as root,
        sdk.endpoint(image, args.model, root, args.port),
    ):
        print(f"The endpoint is ready on port {args.port}. Press Ctrl-C to delete it.", flush=True)
        try:
            _watch(root)
        except KeyboardInterrupt:
            print("Deleting the endpoint.", flush=True)
    return 0


def _watch(root: Path) -> None:
    """Wait until the endpoint's container exits, then raise LocalModeError."""
    pause = threading.Event()
    while not docker.containers(root, state="exited"):
        pause.wait(5)
    raise sdk.LocalModeError("the endpoint's container exited: see its log above")
