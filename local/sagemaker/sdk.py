"""SageMaker local mode, driven with SDK v3: fit an image on a laptop, keep an endpoint of its model.

What the commands `train`, `deploy` and `local-mode` share. The SDK runs the same image with the same files
under /opt/ml as a cloud job would; there is no AWS account behind it, so it gets credentials that open nothing, and its
telemetry is switched off (it would wait for a network that need not be there).
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

# One model, one configuration, one endpoint in a process: their names never leave it.
NAME = "local"
NO_TELEMETRY = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


class LocalModeError(CommandFailed):
    """A job or an endpoint failed. The message begins with the reason the container gave, if it gave one."""


def default_image(name: str) -> str:
    """The reference that `make build/NAME` gives an image; REGISTRY, TAG and VARIANT are the Makefile's."""
    return images.reference(name, os.environ)


def channels(folder: Path) -> dict[str, Path]:
    """The channels below `folder`, as `python3 -m local prepare` writes them: one folder each, by name.

    Raises UserError when there are none, or `train` or `validation` is missing.
    """
    found = {path.name: path.resolve() for path in sorted(folder.iterdir()) if path.is_dir()} if folder.is_dir() else {}
    missing = {"train", "validation"} - found.keys()
    if missing:
        raise UserError(
            f"{folder} has no folder {' and no folder '.join(sorted(missing))}: give the folder of the channels, "
            "as `python3 -m local prepare NAME --data DIR --out DIR` writes it"
        )
    return found


def fit(
    image: str, hyperparameters: Mapping[str, object], inputs: Mapping[str, Path], root: Path, instances: int = 1
) -> Path:
    """Train in `image` with ModelTrainer in Mode.LOCAL_CONTAINER; return the path of model.tar.gz, below `root`.

    Each of the `instances` is a container of its own. `inputs` are folders by channel name; all get
    application/x-recordio when the train channel holds a .rec file, application/x-image otherwise. The container's log
    goes to standard output as it comes. Raises LocalModeError beginning with the container's own failure message when
    the job fails.
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
        raise LocalModeError(_failure(root) or f"the training container failed without a reason: {error}") from None
    finally:
        docker.remove_containers(root)
        call.join()
    return root / "compressed_artifacts" / "model.tar.gz"


@contextlib.contextmanager
def endpoint(image: str, model: Path, root: Path, port: int) -> Iterator[None]:
    """An endpoint on `port` that serves `model` (a model.tar.gz) from `image`, while the block runs.

    Raises UserError when `model` is no model archive or the port is taken, LocalModeError when the container ends
    before it answers /ping or does not answer within the SDK's 120 s.
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
        # The container first, then the SDK's record of it: so the thread that follows its log has ended by then.
        docker.remove_containers(root)
        client.delete_endpoint(EndpointName=NAME)
        client.delete_endpoint_config(EndpointConfigName=NAME)
        client.delete_model(ModelName=NAME)


def _session(root: Path, port: int = PORT) -> "LocalSession":
    """A session whose jobs write below `root` and whose endpoint is at `port`.

    Makes no connection: no region, role, account or bucket of anybody is looked up.
    """
    import boto3
    from sagemaker.core.local.local_session import LocalSession

    powerless = boto3.Session(aws_access_key_id="none", aws_secret_access_key="none", region_name="us-east-1")
    session = LocalSession(boto_session=powerless, sagemaker_config=NO_TELEMETRY)
    session.config = {"local": {"serving_port": port, "container_root": str(root)}}
    return session


def _unpack(model: Path, root: Path) -> Path:
    """The files of a model.tar.gz in a new folder below `root`, as the platform puts them into /opt/ml/model."""
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
    """Create the endpoint and return when /ping answers 200; sooner, with an error, when its container has ended.

    The SDK's own wait asks every 5 s for 120 s and never looks at the container.
    """

    def check() -> None:
        if docker.containers(root, state="exited"):
            raise LocalModeError("the serving container ended before it answered /ping: its log is above")

    call = _Call(lambda: client.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME))
    try:
        call.result(check)
    except RuntimeError as error:
        raise LocalModeError(f"the endpoint did not start: {error}") from error


class _Call:
    """A long call of the SDK in a thread of its own.

    In the main thread Ctrl-C would be lost: the SDK's telemetry decorator returns from a `finally` clause, which drops
    KeyboardInterrupt, and the SDK takes Compose's exit status after Ctrl-C (130) for success.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # the SDK passes on the container's log without flushing it
        self._outcome: queue.Queue[Exception | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def result(self, check: Callable[[], None] = lambda: None) -> None:
        """Return when the call has returned, raise what it raised; `check` runs every second and may raise earlier."""
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
        """Wait, 30 s at most, until the call writes no more files; its containers must be gone."""
        self._thread.join(timeout=30)

    def _run(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            self._outcome.put(error)
        else:
            self._outcome.put(None)


def _failure(root: Path) -> str:
    """What the container wrote to /opt/ml/output/failure; the empty string when it wrote none."""
    path = root / "artifacts" / "output" / "failure"
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
