"""`python3 -m local demo NAME`: the whole journey on this machine: no Docker, no AWS account, no download of data.

Draws a data set (or reads a real one), prepares the channels, runs the image's own `train` and `serve` programs under a
folder shaped like /opt/ml, and asks the endpoint about photos that were not trained on.
"""

import argparse
import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from local import ENVIRONMENTS, ROOT
from local.algorithms import algorithm as algorithms
from local.algorithms import report
from local.commands import prepare
from local.datasets import pets
from local.datasets.channels import Summary
from local.datasets.drawn import draw
from local.datasets.drawn.breeds import BREEDS
from local.images import TRAINING
from local.progress import duration
from local.sagemaker import opt_ml, programs
from serve.machine import cpu_count
from serve.words import plural

URL = "http://127.0.0.1:8080/invocations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    parser.add_argument("name", metavar="NAME", choices=TRAINING, help=f"image: {', '.join(TRAINING)}")
    parser.add_argument(
        "--data", type=Path, help="a data set in the official Oxford-IIIT Pet layout; without it, one is drawn"
    )
    add_epochs(parser)
    parser.add_argument("--out", type=Path, help="folder for data, model and predictions.png (default: .demo/NAME)")
    parser.add_argument(
        "--envs", type=Path, default=ENVIRONMENTS, help="folder of the environments mxnet, tensorflow and serve"
    )


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError or programs.ProgramError with what went wrong."""
    if args.data is not None:
        pets.read(args.data)  # before what an earlier run has made is removed
    out = args.out or ROOT / ".demo" / args.name
    base = out / "opt" / "ml"
    for old in (base, out / "channels"):
        shutil.rmtree(old, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    room = algorithms.room(args.name)
    data = args.data or draw_pets(out / "data", args.name)
    summary = prepare_channels(args.name, data, out / "channels")
    count = summary.counts["train"]
    recipe = room.recipe(args.data is None, args.epochs, len(summary.class_names), count)
    channels = {folder.name: folder for folder in sorted((out / "channels").iterdir())}
    opt_ml.lay_out(base, channels, recipe)
    cores = cpu_count()
    forecast = f"about {duration(10 * round(room.forecast(recipe, cores) / 10))} on {plural(cores, 'core')}"
    work = f"{plural(count, 'photo')}, {plural(int(recipe['epochs']), 'epoch')}"
    with step(f"Training {room.NETWORK} on {work} ({forecast})"):
        programs.train(base, args.name, args.envs)
    with (
        step("Starting the server and asking it about photos that were not trained on"),
        programs.server(base, out / "serve.log", args.envs) as port,
    ):
        photos = prepare.photos(out / "channels", "validation", args.name)
        answers = report.ask_all(photos, report.over_http(port, room.ACCEPT), room.answer)
    again = (f"make serve BASE_DIR={quote(str(base))}", f"{room.CURL} --data-binary {quote(f'@{photos[0][0]}')} {URL}")
    report.tell(room, answers, summary.class_names, base / "model", out / "predictions.png", again)
    return 0


def draw_pets(folder: Path, name: str) -> Path:
    """Draw the demo's data set for the algorithm `name` into `folder` and return it."""
    trainval, test = algorithms.room(name).DRAWN
    with step(f"Drawing {len(BREEDS) * (trainval + test)} photos of {len(BREEDS)} breeds"):
        draw.data_set(folder, trainval, test)
    return folder


def prepare_channels(name: str, data: Path, channels: Path) -> Summary:
    """Write the channels of the algorithm `name` into the folder `channels`, and say what was skipped."""
    with step(f"Preparing the channels from {data}"):
        official = pets.read(data)
        train, validation = prepare.split(official, name)
        classes = algorithms.room(name).DEMO
        summary = prepare.write_channels(official, train, validation, channels, name=name, classes=classes)
        print("\n".join(prepare.report(summary)))
    return summary


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Says what begins and, when it is done, how long it took."""
    print(f"==> {what}", flush=True)
    start = time.monotonic()
    yield
    print(f"    done in {duration(time.monotonic() - start)}", flush=True)


def add_epochs(parser: argparse.ArgumentParser) -> None:
    """The option --epochs of a whole journey."""
    tried = {name: algorithms.room(name).EPOCHS for name in TRAINING}
    defaults = "; ".join(f"{name}: {drawn}, with --data {real}" for name, (drawn, real) in tried.items())
    parser.add_argument("--epochs", type=_positive, help=f"default: {defaults}")


def _positive(text: str) -> int:
    """A number of epochs from the command line."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of epochs: give a whole number of 1 or more")
    return int(text)
