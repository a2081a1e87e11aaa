"""`python3 -m local demo NAME`: train, serve and predict on this machine, without Docker, an AWS account or downloads.

Draws a data set (or reads yours), prepares the channels, runs the image's `train` and `serve` programs in a folder like
/opt/ml, and evaluates the endpoint's predictions for the validation photos.
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
    """Declare the command's arguments."""
    workflow.add_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for data, model and predictions.png (default: .demo/NAME, or .demo/NAME-2 if that has results)",
    )
    parser.add_argument(
        "--envs", type=Path, default=ENVIRONMENTS, help="folder with the environments mxnet, tensorflow and serve"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo. Raises UserError or programs.ProgramError."""
    loaded = workflow.load_data(args)  # can fail, so call it before the results of an earlier run are removed
    out = options.run_folder(args.out, ROOT / ".demo" / args.name)
    print(f"Writing to {out}")
    base = out / "opt" / "ml"
    shutil.rmtree(base, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    job = workflow.prepare_training(args, out, loaded)
    algorithm = job.algorithm
    channels = {folder.name: folder for folder in sorted(job.channels.iterdir()) if folder.is_dir()}
    opt_ml.lay_out(base, channels, job.recipe)
    cores = cpu_count()
    forecast = f"about {duration(10 * round(algorithm.forecast(job.recipe, cores) / 10))} on {plural(cores, 'core')}"
    with workflow.step(f"Training {algorithm.network} on {job.workload} ({forecast})"):
        programs.train(base, args.name, args.envs)
    with (
        workflow.step("Starting the server and predicting the validation photos"),
        programs.server(base, out / "serve.log", args.envs) as port,
    ):
        predictions = job.predict(port)
    serve = f"make serve BASE_DIR={quote(str(base))}"
    request = f"{algorithm.curl} --data-binary {quote(f'@{predictions[0].photo}')} {URL}"
    names = job.summary.class_names
    report.print_report(algorithm, predictions, names, base / "model", out / "predictions.png", (serve, request))
    return 0
