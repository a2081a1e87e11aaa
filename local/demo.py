"""`python -m local demo NAME`: the whole journey on this machine, without Docker, an AWS account or a download of data.

Draws a data set (or reads a real one), prepares the channels, runs the image's own `train` and `serve` programs under a
folder shaped like /opt/ml, and asks the endpoint about photos that were not trained on.
"""

import argparse
import contextlib
import http.client
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from local import draw, opt_ml, pets, prepare, programs, recipes, report
from local.drawing.breeds import BREEDS
from local.progress import duration
from serve.machine import cpu_count

NAMES = ("image-classification",)
TRAINVAL, TEST = 60, 15
# Measured with ResNet-18: seconds of one core per image of a training step, whatever its size and per 128 x 128 pixels,
# and seconds of a job without its epochs (start, reading, export, checks).
_IMAGE_SECONDS, _AREA_SECONDS, _JOB_SECONDS = 0.010, 0.027, 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    parser.add_argument("name", metavar="NAME", choices=NAMES, help=f"image: {', '.join(NAMES)}")
    parser.add_argument(
        "--data", type=Path, help="a data set in the official Oxford-IIIT Pet layout; without it, one is drawn"
    )
    parser.add_argument(
        "--epochs", type=positive, help=f"default: {recipes.DRAWN_EPOCHS}, with --data {recipes.REAL_EPOCHS}"
    )
    parser.add_argument("--out", type=Path, help="folder for data, model and predictions.png (default: .demo/NAME)")
    parser.add_argument(
        "--envs", type=Path, default=programs.ENVIRONMENTS, help="folder of the environments mxnet and serve"
    )


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError or programs.ProgramError with what went wrong."""
    out = args.out or programs.ROOT / ".demo" / args.name
    base = out / "opt" / "ml"
    for old in (base, out / "channels"):
        shutil.rmtree(old, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    data = args.data or draw_pets(out / "data")
    summary = prepare_channels(data, out / "channels")
    count = summary.counts["train"]
    hyperparameters = recipes.image_classification(args.data is None, args.epochs, len(summary.class_names), count)
    channels = {folder.name: folder for folder in sorted((out / "channels").iterdir())}
    opt_ml.lay_out(base, channels, hyperparameters)
    with step(
        f"Training a ResNet-18 on {count} photos, {hyperparameters['epochs']} epochs ({_forecast(hyperparameters)})"
    ):
        programs.train(base, args.name, args.envs)
    with (
        step("Starting the server and asking it about photos that were not trained on"),
        programs.server(base, out / "serve.log", args.envs) as port,
    ):
        answers = report.ask_all(prepare.photos(out / "channels", "validation"), over_http(port))
    report.sheet(answers, summary.class_names, out / "predictions.png")
    print(f"\n{report.table(answers, summary.class_names)}\n")
    print(f"model        {base / 'model'}\npredictions  {out / 'predictions.png'}")
    print(report.accuracy_line(answers), flush=True)
    return 0


def over_http(port: int) -> report.Ask:
    """A function that sends an image file's bytes to the server on this machine and returns its probabilities.

    Raises ProgramError with the server's reason when it does not answer 200.
    """

    def ask(image: bytes) -> Sequence[float]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("POST", "/invocations", image, {"Content-Type": "application/x-image"})
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != 200:
            reason = body.decode(errors="replace")[:500]
            raise programs.ProgramError(f"the server answered {answer.status}: {reason}")
        return json.loads(body)

    return ask


def draw_pets(folder: Path) -> Path:
    """Draw the demo's data set into `folder` and return it."""
    with step(f"Drawing {len(BREEDS) * (TRAINVAL + TEST)} photos of {len(BREEDS)} breeds (about 10 s)"):
        draw.data_set(folder, TRAINVAL, TEST)
    return folder


def prepare_channels(data: Path, channels: Path) -> prepare.Summary:
    """Write the channels of the official split of `data` into the folder `channels`, and say what was skipped."""
    with step(f"Preparing the channels from {data}"):
        official = pets.read(data)
        summary = prepare.write_channels(official, official.trainval, official.test, channels)
        print("\n".join(prepare.report(summary)))
    return summary


def _forecast(hyperparameters: dict[str, str | int | float]) -> str:
    """How long training will take on these cores when nothing else runs, roughly."""
    _, height, width = map(int, str(hyperparameters["image_shape"]).split(","))
    images = int(hyperparameters["epochs"]) * int(hyperparameters["num_training_samples"])
    cores = cpu_count()
    seconds = _JOB_SECONDS + images * (_IMAGE_SECONDS + _AREA_SECONDS * height * width / 128**2) / cores
    return f"about {duration(10 * round(seconds / 10))} on {cores} cores"


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Says what begins and, when it is done, how long it took."""
    print(f"==> {what}", flush=True)
    start = time.monotonic()
    yield
    print(f"    done in {duration(time.monotonic() - start)}", flush=True)


def positive(text: str) -> int:
    """A number of epochs from the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of epochs: give 1 or more")
    return value
