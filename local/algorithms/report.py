"""Sends photos with a known ground truth to an endpoint, and prints the evaluation of its predictions."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from local.algorithms.algorithm import Algorithm
from local.errors import CommandFailed
from local.progress import Progress
from local.sagemaker import invocations
from local.sagemaker.opt_ml import IMAGES

Send = Callable[[bytes], bytes]
"""Sends an image file to an endpoint and returns the body of the response."""

Truth = TypeVar("Truth")
Prediction = TypeVar("Prediction")

_CLIENTS = 2


def predict_all(
    photos: Sequence[tuple[Path, Truth]], send: Send, parse: Callable[[Path, Truth, bytes], Prediction]
) -> list[Prediction]:
    """Send all photos, two at a time, and return their predictions in the same order.

    `parse` makes a prediction from the photo, its ground truth and the response. Exceptions from `send` and `parse`
    propagate.
    """
    predictions: list[Prediction] = []
    with Progress("Predicting", len(photos), "photo") as progress, ThreadPoolExecutor(_CLIENTS) as pool:
        responses = pool.map(lambda item: send(item[0].read_bytes()), photos)
        for (photo, truth), response in zip(photos, responses, strict=True):
            predictions.append(parse(photo, truth, response))
            progress.done(len(predictions))
    return predictions


def over_http(port: int, accept: str) -> Send:
    """Return a function that sends images to the endpoint on `port`; it raises the errors of `invocations.invoke`."""
    return lambda image: invocations.invoke(port, image, IMAGES, accept)


def parse_json(response: bytes, photo: Path, expected: str, parse: Callable[[Any], Prediction]) -> Prediction:
    """Parse a JSON response for `photo`. Raises CommandFailed as `parse_response` does."""
    return parse_response(response, photo, expected, lambda body: parse(json.loads(body)))


def parse_response(response: bytes, photo: Path, expected: str, parse: Callable[[bytes], Prediction]) -> Prediction:
    """Return the result of `parse` for a response. `photo` and `expected`, a description, are for the error message.

    Raises CommandFailed if `parse` cannot use the response.
    """
    try:
        return parse(response)
    except (ValueError, TypeError, LookupError):
        start = response[:80].decode("utf-8", "replace")
        raise CommandFailed(f"{photo}: the endpoint returned {start!r}, expected {expected}") from None


def print_report(
    algorithm: Algorithm[Any, Prediction],
    predictions: Sequence[Prediction],
    names: Sequence[str],
    model: Path,
    sheet: Path,
    commands: tuple[str, str],
) -> None:
    """Write the sheet of predictions to `sheet`; print the table, the paths, the next steps and the summary line.

    `commands` are the command that serves the model and the one that sends it a request.
    """
    algorithm.sheet(predictions, names, sheet)
    print(f"\n{algorithm.table(predictions, names)}\n")
    print(f"model        {model}\npredictions  {sheet}")
    serve, request = commands
    print(f"\nTry it yourself:\n    {serve}\nand, in another terminal:\n    {request}\n")
    print(algorithm.summary_line(predictions), flush=True)
