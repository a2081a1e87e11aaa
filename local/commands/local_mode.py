"""`python3 -m local local-mode NAME`: the whole journey in SageMaker local mode, with SDK v3 and the real image.

Draws a data set (or reads a real one), prepares the channels, trains in the image, deploys the model, asks the endpoint
about photos that were not trained on, and deletes the endpoint.
"""

import argparse
import os
import shlex
from pathlib import Path

from local import workflow
from local.algorithms import report
from local.commands import options
from local.sagemaker import docker, invocations, sdk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `local-mode`."""
    workflow.add_arguments(parser)
    options.add_image(parser)
    options.add_instances(parser)
    options.add_port(parser, "of the endpoint")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for channels, model and predictions.png (default: .local/NAME, or NAME-2 "
        "beside it where a run is)",
    )
    parser.add_argument("--check", action="store_true", help="check the other arguments and do nothing")


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError or CommandFailed with what went wrong."""
    given = workflow.read(args)
    out = options.run_folder(args.out, Path(".local") / args.name)
    if args.check:
        return 0
    image = args.image or sdk.default_image(args.name)
    docker.check(image)
    docker.check_port(args.port)
    print(f"Writing to {out}")
    begun = workflow.begin(args, out, given)
    model = out / "model.tar.gz"
    with docker.workspace(out, image) as root:
        with workflow.step(f"Training {begun.algorithm.network} in {image} on {begun.work}"):
            os.replace(sdk.fit(image, begun.recipe, sdk.channels(begun.channels), root, args.instances), model)
        with (
            workflow.step("Deploying the model and asking the endpoint about photos that were not trained on"),
            sdk.endpoint(image, model, root, args.port),
        ):
            answers = begun.ask(args.port)
    again = _again(args, image, model, answers[0].photo)
    report.tell(begun.algorithm, answers, begun.summary.class_names, model, out / "predictions.png", again)
    return 0


def _again(args: argparse.Namespace, image: str, model: Path, photo: Path) -> tuple[str, str]:
    """The two commands that serve the model and ask it about a photo."""
    given = [] if image == sdk.default_image(args.name) else ["--image", image]
    port = [] if args.port == invocations.PORT else ["--port", str(args.port)]
    return (
        shlex.join(["python3", "-m", "local", "deploy", args.name, "--model", str(model), *given, *port]),
        shlex.join(["python3", "-m", "local", "predict", str(photo), *port]),
    )
