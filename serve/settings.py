"""The server's settings: every environment variable's name once, its value typed, checked and frozen."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serve import machine
from serve.artifact import FLOAT32
from serve.preprocess import MAX_PIXELS
from serve.user_model.signature import IMAGE_RANGES

BASE_DIR = "SAGEMAKER_BASE_DIR"
PORT = "SAGEMAKER_BIND_TO_PORT"
BATCH = "SAGEMAKER_BATCH"
TIMEOUT = "SAGEMAKER_MODEL_SERVER_TIMEOUT"
WORKERS = "SAGEMAKER_MODEL_SERVER_WORKERS"
MULTI_MODEL = "SAGEMAKER_MULTI_MODEL"
ADMITTED = "VISION_CONCURRENT_PREDICTIONS"
QUEUE = "VISION_QUEUE_SIZE"
MODEL_THREADS = "VISION_MODEL_THREADS"
BODY_MB = "VISION_MAX_BODY_MB"
PIXELS = "VISION_MAX_PIXELS"
DECODE_MB = "VISION_DECODE_MB"
DECODE_SECONDS = "VISION_DECODE_SECONDS"
ENGINE = "VISION_ENGINE"
IMAGE_VALUES = "VISION_IMAGE_VALUES"
PRECISION = "VISION_PRECISION"
METRICS = "VISION_METRICS"
LOG_FORMAT = "VISION_LOG_FORMAT"
LOG_REQUESTS = "VISION_LOG_REQUESTS"
# What the start of `serve` tells the server that it becomes; nobody else sets these.
CONVERTED = "VISION_CONVERTED"
LISTENER = "VISION_LISTENER"
LIST_OF_MODELS = "VISION_LIST_OF_MODELS"

ONNX, TENSORFLOW = "onnx", "tensorflow"
AUTO = "auto"
TEXT, JSON = "text", "json"
ERRORS, ALL, NONE = "errors", "all", "none"

MOST_THREADS = 8
"""Threads for one prediction of one among many models, unless more are asked for: each session has its own."""

_LEAST_MB = 64
"""A photo of 12 megapixels with transparency takes 136 MB to decode, one of 3 megapixels 34 MB."""

SPARE_THREADS = 32
"""Threads beyond those of requests that predict or are in line: to refuse a request may take one for a second."""


class SettingsError(ValueError):
    """An environment variable whose value makes no sense; the message names it, the value and what is allowed."""


@dataclass(frozen=True)
class Settings:
    """How this server runs. Sizes in bytes, times in seconds.

    With `multi_model` models come and go by requests, one process holds them (`workers_ignored` is the number of them
    that was asked for all the same, else 0), and `list_of_models` is the file that says what it has loaded.
    `converted` is the folder that a conversion at start has filled, None where nothing was converted; `listener` the
    descriptor of the socket that the start has bound, None before. `image_values` is one of IMAGE_RANGES, "" for what
    the model's graph says; `precision` is FLOAT32, or AUTO for what model.json says. `body_memory` is the memory for
    bodies and answers of all requests; `decode_memory` and `decode_seconds` (processor time) are for reading one image
    or long text.
    """

    model_dir: Path
    port: int
    batch: bool
    batch_strategy: str
    timeout: int
    multi_model: bool
    workers: int
    workers_ignored: int
    admitted: int
    queue: int
    model_threads: int
    max_body: int
    body_memory: int
    max_pixels: int
    decode_memory: int
    decode_seconds: int
    engine: str
    image_values: str
    precision: str
    metrics: bool
    log_format: str
    log_requests: str
    converted: Path | None
    listener: int | None
    list_of_models: Path | None

    @property
    def threads(self) -> int:
        """Threads of a worker process beside the one of /ping."""
        return self.admitted + self.queue + SPARE_THREADS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings. Raises SettingsError naming the variable, its value and what is allowed."""
        read = _Reader(environment)
        # Predictions at once, and threads of each: as many as CPUs. Measured, ResNet-50 on 2 cores: alone 57 ms, at
        # 8 clients 19 photos/s; with one thread for each prediction 94 ms and 21 photos/s.
        cpus = machine.cpu_count()
        multi_model, asked = read.boolean(MULTI_MODEL), read.integer(WORKERS, 1, 1, 64)
        # The platform loads a model by one request, which one process sees.
        workers, admitted = 1 if multi_model else asked, read.integer(ADMITTED, cpus, 1, 256)
        # Half of the memory is for what is done in sandboxes at the same time, an eighth for bodies and answers, and
        # the rest for the model and its predictions.
        memory, max_body = machine.memory_bytes() // workers, read.integer(BODY_MB, 100, 1, 1024) * 1024 * 1024
        share = memory // (2 * admitted) // 2**20
        return cls(
            model_dir=Path(environment.get(BASE_DIR) or "/opt/ml") / "model",
            port=read.integer(PORT, 8080, 1, 65535),
            batch=read.boolean(BATCH),
            # SDK v2's local mode, which writes Python's True, understands the API's spelling alone.
            batch_strategy="SingleRecord" if environment.get(BATCH) == "True" else "SINGLE_RECORD",
            timeout=read.integer(TIMEOUT, 60, 1, 86400),
            multi_model=multi_model,
            workers=workers,
            workers_ignored=asked if asked > workers else 0,
            admitted=admitted,
            queue=read.integer(QUEUE, 64 if multi_model else 16, 0, 1000),
            model_threads=read.integer(MODEL_THREADS, min(cpus, MOST_THREADS) if multi_model else cpus, 1, 256),
            max_body=max_body,
            body_memory=max(memory // 8, max_body),
            max_pixels=read.integer(PIXELS, MAX_PIXELS, 1, 10_000_000_000),
            decode_memory=read.integer(DECODE_MB, max(share, _LEAST_MB), _LEAST_MB, 1024 * 1024) * 1024 * 1024,
            decode_seconds=read.integer(DECODE_SECONDS, 10, 1, 3600),
            engine=read.choice(ENGINE, (ONNX, TENSORFLOW), ONNX),
            image_values=read.choice(IMAGE_VALUES, IMAGE_RANGES, ""),
            precision=read.choice(PRECISION, (AUTO, FLOAT32), AUTO),
            metrics=read.boolean(METRICS, default=True),
            log_format=read.choice(LOG_FORMAT, (TEXT, JSON), TEXT),
            log_requests=read.choice(LOG_REQUESTS, (ERRORS, ALL, NONE), ERRORS),
            converted=Path(environment[CONVERTED]) if environment.get(CONVERTED) else None,
            listener=int(environment[LISTENER]) if environment.get(LISTENER) else None,
            list_of_models=Path(environment[LIST_OF_MODELS]) if environment.get(LIST_OF_MODELS) else None,
        )


class _Reader:
    """Typed reading from the environment; an empty value counts as not set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        text = self._environment.get(name, "").strip()
        if not text:
            return default
        # isdecimal alone would let in other alphabets' digits and int() alone "1_000": neither is meant by anyone.
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            of_make = " (with `make serve`: PORT)" if name == PORT else ""
            raise SettingsError(f"{name} is {text!r}, it must be a whole number from {low} to {high}{of_make}.")
        return int(text)

    def choice(self, name: str, values: tuple[str, ...], default: str) -> str:
        text = self._environment.get(name, "").strip().lower()
        if text and text not in values:
            raise SettingsError(f"{name} is {text!r}, it must be {' or '.join(values)}.")
        return text or default

    def boolean(self, name: str, default: bool = False) -> bool:
        text = self._environment.get(name, "").strip().lower()
        if not text:
            return default
        if text in ("true", "1"):
            return True
        if text in ("false", "0"):
            return False
        raise SettingsError(f"{name} is {text!r}, it must be true or false.")
