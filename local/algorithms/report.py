"""What an endpoint says of photos about which the truth is known: asking, the end of a journey."""

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

Ask = Callable[[bytes], bytes]
"""Sends an image file's bytes to an endpoint; its reply, in the form that the algorithm reads."""

Truth = TypeVar("Truth")
Answer = TypeVar("Answer")

_CLIENTS = 2


def ask_all(
    photos: Sequence[tuple[Path, Truth]], ask: Ask, answer: Callable[[Path, Truth, bytes], Answer]
) -> list[Answer]:
    """Send every photo's bytes through `ask`, two at a time; `answer` makes an answer of photo, truth and reply.

    The answers are in the order of the photos. Whatever either raises ends the whole.
    """
    answers: list[Answer] = []
    with Progress("Predicting", len(photos), "photo") as progress, ThreadPoolExecutor(_CLIENTS) as pool:
        replies = pool.map(lambda item: ask(item[0].read_bytes()), photos)
        for (photo, truth), reply in zip(photos, replies, strict=True):
            answers.append(answer(photo, truth, reply))
            progress.done(len(answers))
    return answers


def over_http(port: int, accept: str) -> Ask:
    """Asks the endpoint on `port` of this machine for replies in the form `accept`; raises as `invocations.invoke`."""
    return lambda image: invocations.invoke(port, image, IMAGES, accept)


def read_json(reply: bytes, photo: Path, expected: str, read: Callable[[Any], Answer]) -> Answer:
    """What `read` makes of the JSON that an endpoint replied about `photo`; raises as `read_reply` does."""
    return read_reply(reply, photo, expected, lambda body: read(json.loads(body)))


def read_reply(reply: bytes, photo: Path, expected: str, read: Callable[[bytes], Answer]) -> Answer:
    """What `read` makes of an endpoint's reply about `photo`.

    Raises CommandFailed, saying what was `expected` in words, when `read` cannot use it.
    """
    try:
        return read(reply)
    except (ValueError, TypeError, LookupError):
        begin = reply[:80].decode("utf-8", "replace")
        raise CommandFailed(f"{photo}: the endpoint replied {begin!r}, expected {expected}") from None


def tell(
    algorithm: Algorithm[Any, Answer],
    answers: Sequence[Answer],
    names: Sequence[str],
    model: Path,
    predictions: Path,
    again: tuple[str, str],
) -> None:
    """End a journey: write the sheet to `predictions`, print the table, where things are, and the figure in the end.

    `again` are the commands with which a person serves the model and asks it.
    """
    algorithm.sheet(answers, names, predictions)
    print(f"\n{algorithm.table(answers, names)}\n")
    print(f"model        {model}\npredictions  {predictions}")
    serve, ask = again
    print(f"\nAsk it yourself:\n    {serve}\nand, in another terminal:\n    {ask}\n")
    print(algorithm.last_line(answers), flush=True)
