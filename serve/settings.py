"""The server's settings: the names of its environment variables, and their parsed and checked values."""

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
# Internal: set when `serve` executes itself again or becomes gunicorn.
CONVERTED = "VISION_CONVERTED"
LISTENER = "VISION_LISTENER"
LIST_OF_MODELS = "VISION_LIST_OF_MODELS"

ONNX, TENSORFLOW = "onnx", "tensorflow"
AUTO = "auto"
TEXT, JSON = "text", "json"
ERRORS, ALL, NONE = "errors", "all", "none"

MAX_DEFAULT_THREADS = 8
"""Maximum default number of threads per prediction with many models, because each session has its own threads."""

_MIN_DECODE_MB = 64
"""Decoding a photo with transparency takes 136 MB at 12 megapixels and 34 MB at 3 megapixels."""

SPARE_THREADS = 32
"""Threads in addition to those of running and queued requests: refusing a request can occupy one for a second."""


class SettingsError(ValueError):
    """An environment variable has an invalid value. The message names the variable, the value and what is allowed."""


@dataclass(frozen=True)
class Settings:
    """The settings of this server. Sizes are in bytes, times in seconds.

    - `multi_model`: models are loaded and unloaded by requests, in a single worker process. `workers_ignored` is the
      number of workers that was requested anyway, or 0. `list_of_models` is the file that lists loaded models.
    - `converted`: the folder with the result of the conversion at startup, or None.
    - `listener`: the file descriptor of the socket that is already bound, or None.
    - `image_values`: one of IMAGE_RANGES, or "" to use what the model's graph implies.
    - `precision`: FLOAT32, or AUTO to use what model.json says.
    - `body_memory`: memory for the bodies and responses of all requests.
    - `decode_memory`, `decode_seconds` (CPU time): limits for reading one image or one long text.
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
        """The number of threads of a worker process, not counting the one for /ping."""
        return self.admitted + self.queue + SPARE_THREADS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings. Raises SettingsError."""
        read = _Reader(environment)
        # By default, one prediction per CPU runs concurrently, and each one has one thread per CPU. Measured with
        # ResNet-50 on 2 cores: 57 ms for one client and 19 photos/s for 8 clients. With one thread per prediction:
        # 94 ms and 21 photos/s.
        cpus = machine.cpu_count()
        multi_model, requested_workers = read.boolean(MULTI_MODEL), read.integer(WORKERS, 1, 1, 64)
        # SageMaker sends one request to load a model, and only one process receives it.
        workers, admitted = 1 if multi_model else requested_workers, read.integer(ADMITTED, cpus, 1, 256)
        # Half of the memory is for concurrent sandboxes, an eighth for bodies and responses, and the rest for the model
        # and its predictions.
        memory, max_body = machine.memory_bytes() // workers, read.integer(BODY_MB, 100, 1, 1024) * 1024 * 1024
        share = memory // (2 * admitted) // 2**20
        return cls(
            model_dir=Path(environment.get(BASE_DIR) or "/opt/ml") / "model",
            port=read.integer(PORT, 8080, 1, 65535),
            batch=read.boolean(BATCH),
            # SDK v2's local mode, which writes Python's True, only understands the API's spelling.
            batch_strategy="SingleRecord" if environment.get(BATCH) == "True" else "SINGLE_RECORD",
            timeout=read.integer(TIMEOUT, 60, 1, 86400),
            multi_model=multi_model,
            workers=workers,
            workers_ignored=requested_workers if requested_workers > workers else 0,
            admitted=admitted,
            queue=read.integer(QUEUE, 64 if multi_model else 16, 0, 1000),
            model_threads=read.integer(MODEL_THREADS, min(cpus, MAX_DEFAULT_THREADS) if multi_model else cpus, 1, 256),
            max_body=max_body,
            body_memory=max(memory // 8, max_body),
            max_pixels=read.integer(PIXELS, MAX_PIXELS, 1, 10_000_000_000),
            decode_memory=read.integer(DECODE_MB, max(share, _MIN_DECODE_MB), _MIN_DECODE_MB, 1024 * 1024) * 2**20,
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
    """Reads typed values from the environment. An empty value counts as not set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        text = self._environment.get(name, "").strip()
        if not text:
            return default
        # str.isdecimal also accepts digits of other scripts, and int() also accepts "1_000".
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            hint = " (with `make serve`: PORT)" if name == PORT else ""
            raise SettingsError(f"{name} is {text!r}; it must be a whole number from {low} to {high}{hint}.")
        return int(text)

    def choice(self, name: str, values: tuple[str, ...], default: str) -> str:
        text = self._environment.get(name, "").strip().lower()
        if text and text not in values:
            raise SettingsError(f"{name} is {text!r}; it must be {' or '.join(values)}.")
        return text or default

    def boolean(self, name: str, default: bool = False) -> bool:
        text = self._environment.get(name, "").strip().lower()
        if not text:
            return default
        if text in ("true", "1"):
            return True
        if text in ("false", "0"):
            return False
        raise SettingsError(f"{name} is {text!r}; it must be true or false.")
