"""Script mode: run the user's program, as SageMaker's framework images do.

If a job has a program (`sagemaker_program`, in the folder `sagemaker_submit_directory`), run it instead of the image's
algorithm: install its requirements.txt, then pass it the hyperparameters as arguments and the `SM_*` variables of
SageMaker's training toolkit. This module calls parts of the toolkit rather than its `entry_point.run`, which waits 15
minutes for the host's name if there is no DNS, does not forward SIGTERM, and does not report why `pip` failed.
"""

import functools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from serve.artifact import EARLIER, ArtifactError
from serve.user_model import discovery
from serve.words import sentence
from train.data import channels
from train.errors import TrainError, UserError
from train.files import replace
from train.job import configuration, earlier_model, stop
from train.log import LOG

PROGRAM, DIRECTORY = "sagemaker_program", "sagemaker_submit_directory"
REQUIREMENTS = "requirements.txt"
WORKERS = "sagemaker_multi_worker_mirrored_strategy_enabled"
_WORKERS_PORT = 8890  # as in SageMaker's TensorFlow images
_UNSUPPORTED = {
    "sagemaker_parameter_server_enabled": "parameter servers",
    "sagemaker_mpi_enabled": "MPI",
    "sagemaker_distributed_dataparallel_enabled": "SageMaker's data parallel library",
}
_MAX_TAIL = 8192  # bytes kept from the end of a program's standard error
_READ = 65536
_LATE = 5.0  # seconds to wait for output of the program's children after it ends
_STOPPED = (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT)  # 128 + n comes from shells


class ScriptError(TrainError):
    """The user's script failed. The job gets its exit code, and the end of its standard error as detail."""

    def __init__(self, message: str, code: int, detail: str) -> None:
        super().__init__(message)
        self.errno = code
        self.detail = detail


def requested_program(raw: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Return the program that the job's hyperparameters or environment variables name, or "" if there is none."""
    return (environ.get(PROGRAM.upper()) or raw.get(PROGRAM, "")).strip()


class _Stop(BaseException):
    """A stop request while the script is not running. A BaseException, so that no `except Exception` catches it."""


def run(base: Path, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Fetch the script, install its requirements and run it until it ends or a stop request arrives.

    `base` is `/opt/ml`. Raises UserError if the script or a requirement is not available, ScriptError if it fails.
    """
    try:
        with stop.forwarded_to(_stop):
            _run(base, raw, environ)
    except _Stop:
        LOG.info("Stopped; the files that the script saved in %s are kept", base / "model")


def _stop(number: int) -> None:
    raise _Stop


def _run(base: Path, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
    from sagemaker_training import environment

    program = requested_program(raw, environ)
    _refuse_unsupported(raw)
    job = environment.Environment(hyperparameters=_decoded(base))
    code = Path(environment.code_dir)
    _fetch(job.module_dir, code)
    kind = _kind(program, code)
    _install(code, kind)
    variables = {**environ, **job.to_env_vars(), **_cluster(job, raw), "PYTHONPATH": str(code)}
    command = _command(program, kind, job.to_cmd_args())
    earlier_model.set_aside(base / "model")
    LOG.info("Script mode: running %s in %s", shlex.join(command), code)
    exit_code, stderr = execute(command, code, variables, whole_group=kind == "command")
    if stop.requested() and exit_code in (0, *_STOPPED):
        raise _Stop
    if exit_code:
        raise _failure(program, exit_code, stderr)
    if job.is_master:
        _convert(base / "model")


def _refuse_unsupported(raw: Mapping[str, str]) -> None:
    for name, what in _UNSUPPORTED.items():
        if raw.get(name, "").lower() in ("true", "1"):
            raise UserError(
                f"hyperparameter {name}={raw[name]} requests {what}, which this image does not support: "
                "remove `distribution` from the estimator, or set it to multi_worker_mirrored_strategy"
            )


def _decoded(base: Path) -> dict[str, Any]:
    """Return the hyperparameters as the toolkit decodes them: the script gets 0.001 for `1e-3`."""
    decoded = {}
    for name, value in configuration.read(base / "input" / "config" / "hyperparameters.json").items():
        decoded[name] = value
        with suppress(ValueError, TypeError):
            decoded[name] = json.loads(value)
    return decoded


def _fetch(uri: str, code: Path) -> None:
    """Copy the script's folder from S3, a tarball or a folder to `code`. Keep the files that are mounted there."""
    from sagemaker_training import files

    try:
        files.download_and_extract(uri, str(code))
    except Exception as error:  # the errors of boto3, tarfile and the file system have no common base class
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{DIRECTORY}={uri} cannot be fetched: {reason}. It must be a folder, a .tar.gz file, or the S3 address of "
            "one that the job's role can read"
        ) from error


def _kind(program: str, code: Path) -> str:
    """Return how to run the program: as a "package" (if there is a setup.py), a Python "file", or a "command"."""
    from sagemaker_training import errors, process

    try:
        process.validate_entry_point(program)
    except errors.ClientError as error:
        raise UserError(f"hyperparameter {PROGRAM}={program!r} cannot be run: {error}") from None
    if not program.endswith(".sh") and (code / "setup.py").is_file():
        return "package"
    if not (code / program).is_file():
        raise UserError(
            f"hyperparameter {PROGRAM}={program!r} is not a file in {code}, which contains {channels.listing(code)}: "
            "set entry_point to the script's path inside source_dir"
        )
    return "file" if program.endswith(".py") else "command"


def _install(code: Path, kind: str) -> None:
    """Install the package and the requirements with pip. Raises UserError with pip's last error message."""
    targets = ["."] if kind == "package" else []
    if kind != "command" and (code / REQUIREMENTS).is_file():
        targets += ["-r", REQUIREMENTS]
    if not targets:
        return
    LOG.info("Script mode: installing %s", " and ".join(target for target in targets if target != "-r"))
    command = [sys.executable, "-m", "pip", "install", "--root-user-action=ignore", *_index(), *targets]
    exit_code, stderr = execute(command, code, dict(os.environ))
    if stop.requested():
        raise _Stop
    if exit_code:
        errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
        reason = errors[-1] if errors else f"pip ended with exit code {exit_code}"
        error = UserError(f"{code / targets[-1]} cannot be installed: {reason}")
        error.detail = stderr
        raise error


def _index() -> list[str]:
    """Return pip's option for the CodeArtifact index that the toolkit's environment variable names."""
    from sagemaker_training import modules

    if not os.environ.get(modules.CA_REPOSITORY_ARN_ENV):
        return []
    return ["--index-url", modules._get_codeartifact_index()]


def _cluster(job: Any, raw: Mapping[str, str]) -> dict[str, str]:
    """Wait until all hosts' names resolve, and return TF_CONFIG if the job uses MultiWorkerMirroredStrategy."""
    from sagemaker_training import entry_point

    if len(job.hosts) > 1:
        with stop.forwarded_to(lambda number: os._exit(0)):  # the toolkit would catch an exception and try again
            entry_point._wait_hostname_resolution()
    if raw.get(WORKERS, "").lower() not in ("true", "1"):
        return {}
    workers = [f"{host}:{_WORKERS_PORT}" for host in job.hosts]
    task = {"type": "worker", "index": job.hosts.index(job.current_host)}
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": task, "environment": "cloud"})}


def _command(program: str, kind: str, arguments: Sequence[str]) -> list[str]:
    if kind == "package":
        return [sys.executable, "-m", program.removesuffix(".py").replace("/", "."), *arguments]
    if kind == "file":
        return [sys.executable, program, *arguments]
    # Not executed directly, because a shell also runs a file without a shebang line.
    return ["/bin/sh", "-c", 'chmod +x "$0" 2>/dev/null; exec "$0" "$@"', f"./{program}", *arguments]


def execute(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], whole_group: bool = False
) -> tuple[int, str]:
    """Run a program in `folder` and return its exit code and the end of its standard error.

    Its output is passed through immediately. A stop request is forwarded to the program, and to its children if
    `whole_group` is set; the program decides how to handle it. A negative exit code is the signal that killed it.
    """
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int) -> None:
        for child in children:
            with suppress(ProcessLookupError):
                if whole_group:
                    os.killpg(child.pid, number)
                else:
                    child.send_signal(number)

    unbuffered = {"PYTHONUNBUFFERED": "1"} | dict(variables)
    tail = bytearray()
    with stop.forwarded_to(forward):
        # In a new session, so that a terminal's Ctrl-C reaches the program only once, through this process.
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=unbuffered,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        children.append(child)
        if stop.requested():  # before the child was in the list
            forward(signal.SIGTERM)
        reader = threading.Thread(target=_copy, args=(child.stderr, tail), daemon=True)
        reader.start()
        code = child.wait()
        reader.join(_LATE)
    return code, bytes(tail).decode("utf-8", "replace").strip()


def _copy(stream: IO[bytes], tail: bytearray) -> None:
    """Copy a stream to this process's standard error unbuffered, for progress bars, and keep its end in `tail`."""
    with stream:  # closed here, because children of the program may still write after it ends
        while block := os.read(stream.fileno(), _READ):
            sys.stderr.buffer.write(block)
            sys.stderr.buffer.flush()
            tail += block
            del tail[:-_MAX_TAIL]


def _convert(model_dir: Path) -> None:
    """Convert the script's model, as `serve` would when it starts, so that every image can serve it.

    A model that cannot be converted is not an error: `serve` in this image runs it under TensorFlow.
    """
    from train.verify import serving_python  # imports NumPy, so only after the thread variables are set

    if not any(path.is_file() and EARLIER not in path.parts for path in model_dir.rglob("*")):
        LOG.warning("the script saved nothing in %s (SM_MODEL_DIR): the job ends without a model", model_dir)
        return
    try:
        model = discovery.find(model_dir)
        if model is None:
            return
        discovery.refuse_handlers(model_dir)
        LOG.info("Script mode: converting %s for ONNX Runtime", model.name)
        with tempfile.TemporaryDirectory(prefix="converted-") as folder:
            out = Path(folder)
            message = discovery.convert(model, out, Path(sys.executable), serving_python())
            for path in sorted(out.iterdir(), key=lambda path: path.suffix == ".json"):  # model.json last
                if path.suffix in (".onnx", ".json"):
                    replace(model_dir / path.name, functools.partial(shutil.copyfile, path))
        LOG.info("%s; %s/model.onnx will be served by this image and by the image inference", message, model_dir)
    except (discovery.NotConverted, ArtifactError) as error:
        LOG.warning("the model is kept as the script saved it, without an ONNX version: %s", error)


def _failure(program: str, code: int, stderr: str) -> ScriptError:
    if code < 0:
        name = signal.Signals(-code).name
        why = ": most likely the instance ran out of memory" if name == "SIGKILL" else ""
        return ScriptError(f"{program} was killed by {name}{why}", 128 - code, stderr)
    reason = error_line(stderr) or "no error message"
    return ScriptError(f"{reason} ({program} ended with exit code {code})", code, stderr)


def error_line(stderr: str) -> str:
    """Return the line of a program's standard error that says why it failed: the exception, or the last line."""
    lines = [line.rstrip() for line in stderr.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.lstrip().startswith("Traceback (most recent call")]
    if starts:
        indent = len(lines[starts[-1]]) - len(lines[starts[-1]].lstrip())
        after = [line[indent:] for line in lines[starts[-1] + 1 :] if line.strip()]
        error = next((number for number, line in enumerate(after) if not line.startswith(" ")), None)
        if error is not None:
            return sentence("\n".join(after[error:]))
    return next((line.strip() for line in reversed(lines) if any(letter.isalnum() for letter in line)), "")
