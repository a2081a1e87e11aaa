"""`python -m local local-mode NAME`: the whole journey in SageMaker local mode, with SDK v3 and the real image.

Draws a data set (or reads a real one), prepares the channels, trains in the image, deploys the model, asks the endpoint
about photos that were not trained on, and deletes the endpoint.
"""

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from local import demo, docker, prepare, recipes, report, sagemaker
from local.deploy import PORT
from local.opt_ml import IMAGES
from local.train import NAMES, add_image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `local-mode`."""
    parser.add_argument("name", metavar="NAME", choices=NAMES, help=f"image: {', '.join(NAMES)}")
    parser.add_argument(
        "--data", type=Path, help="a data set in the official Oxford-IIIT Pet layout; without it, one is drawn"
    )
    parser.add_argument(
        "--epochs", type=demo.positive, help=f"default: {recipes.DRAWN_EPOCHS}, with --data {recipes.REAL_EPOCHS}"
    )
    add_image(parser)
    parser.add_argument("--port", type=int, default=PORT, help=f"of the endpoint (default: {PORT})")
    parser.add_argument(
        "--out", type=Path, help="folder for channels, model and predictions.png (default: .local/NAME)"
    )


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError or CommandFailed with what went wrong."""
    image = args.image or sagemaker.default_image(args.name)
    docker.check(image)
    docker.check_port(args.port)
    out: Path = args.out or Path(".local") / args.name
    channels = out / "channels"
    shutil.rmtree(channels, ignore_errors=True)
    data = args.data or demo.draw_pets(out / "data")
    summary = demo.prepare_channels(data, channels)
    count = summary.counts["train"]
    hyperparameters = recipes.image_classification(args.data is None, args.epochs, len(summary.class_names), count)
    with docker.workspace(out, image) as root:
        with demo.step(f"Training in {image} on {count} photos, {hyperparameters['epochs']} epochs"):
            os.replace(sagemaker.fit(image, hyperparameters, sagemaker.channels(channels), root), out / "model.tar.gz")
        with (
            demo.step("Deploying the model and asking the endpoint about photos that were not trained on"),
            sagemaker.endpoint(image, out / "model.tar.gz", root, args.port) as endpoint,
        ):
            answers = report.ask_all(prepare.photos(channels, "validation"), through(endpoint))
    report.sheet(answers, summary.class_names, out / "predictions.png")
    print(f"\n{report.table(answers, summary.class_names)}\n")
    print(f"model        {out / 'model.tar.gz'}\npredictions  {out / 'predictions.png'}")
    print(report.accuracy_line(answers), flush=True)
    return 0


def through(endpoint: sagemaker.Endpoint) -> report.Ask:
    """A function that sends an image file's bytes to `endpoint` and returns its probabilities."""

    def ask(image: bytes) -> Sequence[float]:
        return json.loads(endpoint.invoke(image, IMAGES))

    return ask
