"""`python3 -m local demo NAME`: the whole journey on this machine: no Docker, no AWS account, no download of data.

Draws a data set (or reads a real one), prepares the channels, runs the image's own `train` and `serve` programs under a
folder shaped like /opt/ml, and asks the endpoint about photos that were not trained on.
"""

import argparse
import shutil
from pathlib import Path
from shlex import quote

from local import ENVIRONMENTS, ROOT, workflow
from local.algorithms import report
from local.commands import options
from local.progress import duration
from local.sagemaker import opt_ml, programs
from serve.machine import cpu_count
from serve.words import plural

URL = "http://127.0.0.1:8080/invocations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    workflow.add_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for data, model and predictions.png (default: .demo/NAME, or NAME-2 beside it where a run is)",
    )
    parser.add_argument(
        "--envs", type=Path, default=ENVIRONMENTS, help="folder of the environments mxnet, tensorflow and serve"
    )


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError or programs.ProgramError with what went wrong."""
    given = workflow.read(args)  # before what an earlier run has made is removed
    out = options.run_folder(args.out, ROOT / ".demo" / args.name)
    print(f"Writing to {out}")
    base = out / "opt" / "ml"
    shutil.rmtree(base, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    begun = workflow.begin(args, out, given)
    algorithm = begun.algorithm
    channels = {folder.name: folder for folder in sorted(begun.channels.iterdir()) if folder.is_dir()}
    opt_ml.lay_out(base, channels, begun.recipe)
    cores = cpu_count()
    forecast = f"about {duration(10 * round(algorithm.forecast(begun.recipe, cores) / 10))} on {plural(cores, 'core')}"
    with workflow.step(f"Training {algorithm.network} on {begun.work} ({forecast})"):
        programs.train(base, args.name, args.envs)
    with (
        workflow.step("Starting the server and asking it about photos that were not trained on"),
        programs.server(base, out / "serve.log", args.envs) as port,
    ):
        answers = begun.ask(port)
    serve = f"make serve BASE_DIR={quote(str(base))}"
    ask = f"{algorithm.curl} --data-binary {quote(f'@{answers[0].photo}')} {URL}"
    names = begun.summary.class_names
    report.tell(algorithm, answers, names, base / "model", out / "predictions.png", (serve, ask))
    return 0
