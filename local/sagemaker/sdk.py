"""Trains and serves an image in SageMaker local mode with SDK v3, for `train`, `deploy` and `local-mode`.

The SDK runs the image with the same files in /opt/ml as in the cloud. No AWS account is needed: the SDK gets dummy
credentials, and its telemetry is switched off, because it would wait for the network.
"""

import contextlib
import io
import os
import queue
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local import images
from local.errors import CommandFailed, UserError
from local.sagemaker import docker
from local.sagemaker.invocations import PORT
from local.sagemaker.opt_ml import IMAGES, RECORDIO

if TYPE_CHECKING:
    from sagemaker.core.local.local_session import LocalSession

# The name of the model, the endpoint configuration and the endpoint. They exist only in this process.
NAME = "local"
NO_TELEMETRY = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


class LocalModeError(CommandFailed):
    """A job or an endpoint failed. The message begins with the container's reason, if there is one."""


def default_image(name: str) -> str:
    """Return the reference of the image that `make build/NAME` builds with the environment's REGISTRY, TAG, VARIANT."""
    return images.reference(name, os.environ)


def channels(folder: Path) -> dict[str, Path]:
    """Return the channels below `folder`, one folder each, by name.

    Raises UserError if `train` or `validation` is missing.
    """
    paths = {path.name: path.resolve() for path in sorted(folder.iterdir()) if path.is_dir()} if folder.is_dir() else {}
    missing = {"train", "validation"} - paths.keys()
    if missing:
        raise UserError(
            f"{folder} has no folder {' and no folder '.join(sorted(missing))}: give a folder of channels, "
            "as `python3 -m local prepare NAME --data DIR --out DIR` writes it"
        )
    return paths


def fit(
    image: str, hyperparameters: Mapping[str, object], inputs: Mapping[str, Path], root: Path, instances: int = 1
) -> Path:
    """Train in `image` with ModelTrainer in Mode.LOCAL_CONTAINER; return the path of model.tar.gz, below `root`.

    Each instance is a container. `inputs` are folders by channel name; their content type is application/x-recordio if
    the train channel has a .rec file, else application/x-image. The container's log is streamed to standard output.
    Raises LocalModeError with the container's failure message if the job fails.
    """
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, InputData
    from sagemaker.train.model_trainer import Mode

    content_type = RECORDIO if any(inputs["train"].glob("*.rec")) else IMAGES
    trainer = ModelTrainer(
        training_mode=Mode.LOCAL_CONTAINER,
        training_image=image,
        hyperparameters=dict(hyperparameters),
        compute=Compute(instance_type="local_cpu", instance_count=instances),
        local_container_root=str(root),
        sagemaker_session=_session(root),
    )
    data = [
        InputData(channel_name=name, data_source=str(path), content_type=content_type) for name, path in inputs.items()
    ]
    call = _Call(lambda: trainer.train(data))
    try:
        call.result()
    except RuntimeError as error:
        raise LocalModeError(_failure(root) or f"the training container failed and gave no reason: {error}") from None
    finally:
        docker.remove_containers(root)
        call.join()
    return root / "compressed_artifacts" / "model.tar.gz"


@contextlib.contextmanager
def endpoint(image: str, model: Path, root: Path, port: int) -> Iterator[None]:
    """Serve `model`, a model.tar.gz, from `image` on `port` while the block runs.

    Raises UserError if `model` is not a model archive or the port is in use, LocalModeError if the container exits or
    does not respond to /ping within the SDK's limit of 120 s.
    """
    docker.check_port(port)
    folder = _unpack(model, root)
    session = _session(root, port)
    client = session.sagemaker_client
    primary = {"Image": image, "ModelDataUrl": f"file://{folder}", "Environment": {}}
    client.create_model(ModelName=NAME, PrimaryContainer=primary)
    variant = {"VariantName": NAME, "ModelName": NAME, "InstanceType": "local", "InitialInstanceCount": 1}
    client.create_endpoint_config(EndpointConfigName=NAME, ProductionVariants=[variant])
    try:
        _start(client, root)
        yield
    finally:
        # Remove the container first, which ends the SDK's thread that reads its log.
        docker.remove_containers(root)
        client.delete_endpoint(EndpointName=NAME)
        client.delete_endpoint_config(EndpointConfigName=NAME)
        client.delete_model(ModelName=NAME)


def _session(root: Path, port: int = PORT) -> "LocalSession":
    """Return a session that writes below `root` and serves on `port`.

    It makes no connections: it looks up no region, role, account or bucket.
    """
    import boto3
    from sagemaker.core.local.local_session import LocalSession

    dummy = boto3.Session(aws_access_key_id="none", aws_secret_access_key="none", region_name="us-east-1")
    session = LocalSession(boto_session=dummy, sagemaker_config=NO_TELEMETRY)
    session.config = {"local": {"serving_port": port, "container_root": str(root)}}
    return session


def _unpack(model: Path, root: Path) -> Path:
    """Unpack a model.tar.gz into a new folder below `root`, as SageMaker does into /opt/ml/model."""
    folder = root / "hosted"
    folder.mkdir()
    try:
        with tarfile.open(model) as archive:
            archive.extractall(folder, filter="data")
    except FileNotFoundError:
        raise UserError(f"{model} does not exist: give the model.tar.gz of a training job with --model") from None
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{model} cannot be unpacked ({error}): give the model.tar.gz of a training job") from None
    return folder


def _start(client: Any, root: Path) -> None:
    """Create the endpoint and wait until /ping returns 200; raise an error as soon as the container exits.

    The SDK polls /ping every 5 s for 120 s and does not check whether the container is still running.
    """

    def check() -> None:
        if docker.containers(root, state="exited"):
            raise LocalModeError("the serving container exited before it responded to /ping: see its log above")

    call = _Call(lambda: client.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME))
    try:
        call.result(check)
    except RuntimeError as error:
        raise LocalModeError(f"the endpoint did not start: {error}") from error


class _Call:
    """A long SDK call in a background thread.

    In the main thread Ctrl-C would be lost: the SDK's telemetry decorator returns from a `finally` clause, which drops
    KeyboardInterrupt, and the SDK treats Compose's exit status after Ctrl-C (130) as success.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # the SDK prints the container's log without flushing it
        self._outcome: queue.Queue[Exception | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def result(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait for the call and raise its exception, if any; `check` runs every second and can raise earlier."""
        while True:
            try:
                error = self._outcome.get(timeout=1.0)
            except queue.Empty:
                check()
                continue
            if error is not None:
                raise error
            return

    def join(self) -> None:
        """Wait up to 30 s for the thread to end, so that it writes no more files. Remove its containers first."""
        self._thread.join(timeout=30)

    def _run(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            self._outcome.put(error)
        else:
            self._outcome.put(None)


def _failure(root: Path) -> str:
    """Return the contents of the container's /opt/ml/output/failure; "" if it does not exist."""
    path = root / "artifacts" / "output" / "failure"
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
