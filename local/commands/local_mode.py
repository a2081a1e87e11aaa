"""`python3 -m local local-mode NAME`: train, deploy and predict in SageMaker local mode, with SDK v3 and the image.

Draws a data set (or reads yours), prepares the channels, trains, deploys the model, evaluates the endpoint's
predictions for the validation photos, and deletes the endpoint.
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
    """Declare the command's arguments."""
    workflow.add_arguments(parser)
    options.add_image(parser)
    options.add_instances(parser)
    options.add_port(parser)
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for channels, model and predictions.png (default: .local/NAME, or .local/NAME-2 if that has "
        "results)",
    )
    parser.add_argument("--check", action="store_true", help="check the other arguments and exit")


def run(args: argparse.Namespace) -> int:
    """Train, deploy and predict. Raises UserError or CommandFailed."""
    loaded = workflow.load_data(args)
    out = options.run_folder(args.out, Path(".local") / args.name)
    if args.check:
        return 0
    image = args.image or sdk.default_image(args.name)
    docker.check(image)
    docker.check_port(args.port)
    print(f"Writing to {out}")
    job = workflow.prepare_training(args, out, loaded)
    model = out / "model.tar.gz"
    with docker.workspace(out, image) as root:
        with workflow.step(f"Training {job.algorithm.network} in {image} on {job.workload}"):
            os.replace(sdk.fit(image, job.recipe, sdk.channels(job.channels), root, args.instances), model)
        with (
            workflow.step("Deploying the model and predicting the validation photos"),
            sdk.endpoint(image, model, root, args.port),
        ):
            predictions = job.predict(args.port)
    commands = _next_commands(args, image, model, predictions[0].photo)
    names = job.summary.class_names
    report.print_report(job.algorithm, predictions, names, model, out / "predictions.png", commands)
    return 0


def _next_commands(args: argparse.Namespace, image: str, model: Path, photo: Path) -> tuple[str, str]:
    """Return the commands that deploy the model and send it a photo."""
    image_option = [] if image == sdk.default_image(args.name) else ["--image", image]
    port = [] if args.port == invocations.PORT else ["--port", str(args.port)]
    return (
        shlex.join(["python3", "-m", "local", "deploy", args.name, "--model", str(model), *image_option, *port]),
        shlex.join(["python3", "-m", "local", "predict", str(photo), *port]),
    )
