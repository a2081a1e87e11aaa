"""`python3 -m local local-mode NAME`: the whole journey in SageMaker local mode, with SDK v3 and the real image.

Draws a data set (or reads a real one), prepares the channels, trains in the image, deploys the model, asks the endpoint
about photos that were not trained on, and deletes the endpoint.
"""

import argparse
import os
import shlex
import shutil
from pathlib import Path

from local.algorithms import algorithm as algorithms
from local.algorithms import report
from local.commands import demo, prepare
from local.commands.train import add_image
from local.datasets import pets
from local.images import TRAINING
from local.sagemaker import docker, invocations
from local.sagemaker import sdk as sagemaker
from serve.words import plural


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `local-mode`."""
    parser.add_argument("name", metavar="NAME", choices=TRAINING, help=f"image: {', '.join(TRAINING)}")
    parser.add_argument(
        "--data", type=Path, help="a data set in the official Oxford-IIIT Pet layout; without it, one is drawn"
    )
    demo.add_epochs(parser)
    add_image(parser)
    invocations.add_port(parser, "of the endpoint")
    parser.add_argument(
        "--out", type=Path, help="folder for channels, model and predictions.png (default: .local/NAME)"
    )
    parser.add_argument("--check", action="store_true", help="check the other arguments and do nothing")


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError or CommandFailed with what went wrong."""
    if args.data is not None:
        pets.read(args.data)
    if args.check:
        return 0
    image = args.image or sagemaker.default_image(args.name)
    docker.check(image)
    docker.check_port(args.port)
    out: Path = args.out or Path(".local") / args.name
    channels = out / "channels"
    shutil.rmtree(channels, ignore_errors=True)
    room = algorithms.room(args.name)
    data = args.data or demo.draw_pets(out / "data", args.name)
    summary = demo.prepare_channels(args.name, data, channels)
    count = summary.counts["train"]
    recipe = room.recipe(args.data is None, args.epochs, len(summary.class_names), count)
    model = out / "model.tar.gz"
    work = f"{plural(count, 'photo')}, {plural(int(recipe['epochs']), 'epoch')}"
    with docker.workspace(out, image) as root:
        with demo.step(f"Training {room.NETWORK} in {image} on {work}"):
            os.replace(sagemaker.fit(image, recipe, sagemaker.channels(channels), root), model)
        with (
            demo.step("Deploying the model and asking the endpoint about photos that were not trained on"),
            sagemaker.endpoint(image, model, root, args.port),
        ):
            photos = prepare.photos(channels, "validation", args.name)
            answers = report.ask_all(photos, report.over_http(args.port, room.ACCEPT), room.answer)
    again = _again(args, image, model, photos[0][0])
    report.tell(room, answers, summary.class_names, model, out / "predictions.png", again)
    return 0


def _again(args: argparse.Namespace, image: str, model: Path, photo: Path) -> tuple[str, str]:
    """The two commands that serve the model and ask it about a photo."""
    given = [] if image == sagemaker.default_image(args.name) else ["--image", image]
    port = [] if args.port == invocations.PORT else ["--port", str(args.port)]
    return (
        shlex.join(["python3", "-m", "local", "deploy", args.name, "--model", str(model), *given, *port]),
        shlex.join(["python3", "-m", "local", "predict", str(photo), *port]),
    )
