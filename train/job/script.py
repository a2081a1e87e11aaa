"""Script mode: a program of the user's own, run as SageMaker's framework images run it.

Who names one (`sagemaker_program`, with its folder in `sagemaker_submit_directory`) gets it run instead of the image's
algorithm: requirements.txt installed first, hyperparameters as its arguments, the `SM_*` variables of SageMaker's
training toolkit. The toolkit's own `entry_point.run` waits a quarter of an hour for the host's name where there is no
DNS, keeps SIGTERM from the script, and tells of a failed `pip` only that it failed: so its parts are called here.
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
_WORKERS_PORT = 8890  # SageMaker's TensorFlow images take this one
_NOT_STARTED = {
    "sagemaker_parameter_server_enabled": "parameter servers",
    "sagemaker_mpi_enabled": "MPI",
    "sagemaker_distributed_dataparallel_enabled": "SageMaker's data parallel library",
}
_KEPT = 8192  # bytes of the end of a program's standard error
_READ = 65536
_LATE = 5.0  # seconds for what a program's own children still write after its end
_STOPPED = (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT)  # shells say it the second way


class ScriptError(TrainError):
    """The user's script failed: its own exit code becomes the job's, the end of its standard error the detail."""

    def __init__(self, message: str, code: int, detail: str) -> None:
        super().__init__(message)
        self.errno = code
        self.detail = detail


def requested_program(raw: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Return the program that the job's hyperparameters or environment name, or "" for none."""
    return (environ.get(PROGRAM.upper()) or raw.get(PROGRAM, "")).strip()


class _Stop(BaseException):
    """A stop request between the script's own time: no `except Exception` on the way takes it for a failure."""


def run(base: Path, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Fetch the script, install its requirements and run it to its end, or to that of a stop request.

    `base` is `/opt/ml`. Raises UserError when the script or what it needs is not there, ScriptError when it fails.
    """
    try:
        with stop.forwarded_to(_stop):
            _run(base, raw, environ)
    except _Stop:
        LOG.info("Stopped; what the script has saved in %s is kept", base / "model")


def _stop(number: int) -> None:
    raise _Stop


def _run(base: Path, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
    from sagemaker_training import environment

    program = requested_program(raw, environ)
    _refuse_unbuilt(raw)
    job = environment.Environment(hyperparameters=_decoded(base))
    code = Path(environment.code_dir)
    _fetch(job.module_dir, code)
    kind = _kind(program, code)
    _install(code, kind)
    variables = {**environ, **job.to_env_vars(), **_cluster(job, raw), "PYTHONPATH": str(code)}
    command = _command(program, kind, job.to_cmd_args())
    earlier_model.set_aside(base / "model")
    LOG.info("Script mode: running %s in %s", shlex.join(command), code)
    ended, said = execute(command, code, variables, whole_group=kind == "command")
    if stop.requested() and ended in (0, *_STOPPED):
        raise _Stop
    if ended:
        raise _failure(program, ended, said)
    if job.is_master:
        _convert(base / "model")


def _refuse_unbuilt(raw: Mapping[str, str]) -> None:
    for name, what in _NOT_STARTED.items():
        if raw.get(name, "").lower() in ("true", "1"):
            raise UserError(
                f"hyperparameter {name}={raw[name]} asks for {what}, which this image does not start: leave "
                "`distribution` out of the estimator, or set it to multi_worker_mirrored_strategy"
            )


def _decoded(base: Path) -> dict[str, Any]:
    """Return the hyperparameters as the toolkit decodes them, which shows in the arguments: `1e-3` becomes 0.001."""
    decoded = {}
    for name, value in configuration.read(base / "input" / "config" / "hyperparameters.json").items():
        decoded[name] = value
        with suppress(ValueError, TypeError):
            decoded[name] = json.loads(value)
    return decoded


def _fetch(uri: str, code: Path) -> None:
    """Bring the script's folder from S3, a tarball or a folder into `code`; what is mounted there already stays."""
    from sagemaker_training import files

    try:
        files.download_and_extract(uri, str(code))
    except Exception as error:  # boto3's, tarfile's and the file system's have no base in common
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{DIRECTORY}={uri} cannot be fetched: {told}. It must be a folder, a .tar.gz file, or the address of one "
            "in S3 that the job's role may read"
        ) from error


def _kind(program: str, code: Path) -> str:
    """Return how the program is run: as a "package" (beside a setup.py), a Python "file", or a "command"."""
    from sagemaker_training import errors, process

    try:
        process.validate_entry_point(program)
    except errors.ClientError as error:
        raise UserError(f"hyperparameter {PROGRAM}={program!r} cannot be run: {error}") from None
    if not program.endswith(".sh") and (code / "setup.py").is_file():
        return "package"
    if not (code / program).is_file():
        raise UserError(
            f"hyperparameter {PROGRAM}={program!r} names no file in {code}, which holds {channels.listing(code)}: "
            "name the script by its path in the source folder (entry_point beside source_dir)"
        )
    return "file" if program.endswith(".py") else "command"


def _install(code: Path, kind: str) -> None:
    """Install the package and the requirements with pip. Raises UserError with pip's own first error."""
    wanted = ["."] if kind == "package" else []
    if kind != "command" and (code / REQUIREMENTS).is_file():
        wanted += ["-r", REQUIREMENTS]
    if not wanted:
        return
    LOG.info("Script mode: installing %s", " and ".join(word for word in wanted if word != "-r"))
    command = [sys.executable, "-m", "pip", "install", "--root-user-action=ignore", *_index(), *wanted]
    ended, said = execute(command, code, dict(os.environ))
    if stop.requested():
        raise _Stop
    if ended:
        errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
        told = errors[-1] if errors else f"pip ended with exit code {ended}"
        error = UserError(f"{code / wanted[-1]} cannot be installed: {told}")
        error.detail = said
        raise error


def _index() -> list[str]:
    """Return pip's option for the index in CodeArtifact that the toolkit's variable names."""
    from sagemaker_training import modules

    if not os.environ.get(modules.CA_REPOSITORY_ARN_ENV):
        return []
    return ["--index-url", modules._get_codeartifact_index()]


def _cluster(job: Any, raw: Mapping[str, str]) -> dict[str, str]:
    """Return TF_CONFIG for tf.distribute's MultiWorkerMirroredStrategy, once every host's name is known."""
    from sagemaker_training import entry_point

    if len(job.hosts) > 1:
        with stop.forwarded_to(lambda number: os._exit(0)):  # an exception would only be another try to look a name up
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
    # Not executed directly: a shell also runs a file whose first line names no interpreter.
    return ["/bin/sh", "-c", 'chmod +x "$0" 2>/dev/null; exec "$0" "$@"', f"./{program}", *arguments]


def execute(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], whole_group: bool = False
) -> tuple[int, str]:
    """Run a program in `folder` to its end and return its exit code and the end of its standard error.

    What it writes is ours at once. A stop request is passed on to it, with `whole_group` to its children too, and it
    alone decides what to do about it; a code below zero is the signal that it died of.
    """
    children: list[subprocess.Popen[bytes]] = []

    def tell(number: int) -> None:
        for child in children:
            with suppress(ProcessLookupError):
                if whole_group:
                    os.killpg(child.pid, number)
                else:
                    child.send_signal(number)

    unbuffered = {"PYTHONUNBUFFERED": "1"} | dict(variables)
    tail = bytearray()
    with stop.forwarded_to(tell):
        # A session of its own: a terminal's Ctrl-C reaches it once, through us, and not twice.
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=unbuffered,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        children.append(child)
        if stop.requested():  # between the block's begin and the child's
            tell(signal.SIGTERM)
        reader = threading.Thread(target=_copy, args=(child.stderr, tail), daemon=True)
        reader.start()
        code = child.wait()
        reader.join(_LATE)
    return code, bytes(tail).decode("utf-8", "replace").strip()


def _copy(stream: IO[bytes], tail: bytearray) -> None:
    """Write what comes to our own standard error, progress bars and all, and keep its end in `tail`."""
    with stream:  # closed here and not by who waits for the program: a child that it left behind may write on
        while block := os.read(stream.fileno(), _READ):
            sys.stderr.buffer.write(block)
            sys.stderr.buffer.flush()
            tail += block
            del tail[:-_KEPT]


def _convert(model_dir: Path) -> None:
    """Convert the model that the script left as `serve` would at its start, so that every image can serve it.

    A model that cannot be converted is no failure: `serve` in this image runs it under TensorFlow.
    """
    from train.verify import serving_python  # imports NumPy, before which the thread variables must be set

    if not any(path.is_file() and EARLIER not in path.parts for path in model_dir.rglob("*")):
        LOG.warning("the script left nothing in %s (SM_MODEL_DIR): the job ends without a model", model_dir)
        return
    try:
        found = discovery.find(model_dir)
        if found is None:
            return
        discovery.refuse_handlers(model_dir)
        LOG.info("Script mode: converting %s for ONNX Runtime", found.name)
        with tempfile.TemporaryDirectory(prefix="converted-") as folder:
            out = Path(folder)
            said = discovery.convert(found, out, Path(sys.executable), serving_python())
            for path in sorted(out.iterdir(), key=lambda path: path.suffix == ".json"):  # model.json last
                if path.suffix in (".onnx", ".json"):
                    replace(model_dir / path.name, functools.partial(shutil.copyfile, path))
        LOG.info("%s; %s/model.onnx is what will be served, in the image inference too", said, model_dir)
    except (discovery.NotConverted, ArtifactError) as error:
        LOG.warning("the model is kept as the script left it, without a version for ONNX Runtime: %s", error)


def _failure(program: str, code: int, said: str) -> ScriptError:
    if code < 0:
        name = signal.Signals(-code).name
        why = ": most likely it took all of the instance's memory" if name == "SIGKILL" else ""
        return ScriptError(f"{program} was ended by {name}{why}", 128 - code, said)
    return ScriptError(f"{error_line(said) or 'it gave no reason'} ({program} ended with exit code {code})", code, said)


def error_line(said: str) -> str:
    """Return what a program's standard error says of why it failed: the exception's sentence, or the last line."""
    lines = [line.rstrip() for line in said.splitlines()]
    begins = [number for number, line in enumerate(lines) if line.lstrip().startswith("Traceback (most recent call")]
    if begins:
        indent = len(lines[begins[-1]]) - len(lines[begins[-1]].lstrip())
        after = [line[indent:] for line in lines[begins[-1] + 1 :] if line.strip()]
        error = next((number for number, line in enumerate(after) if not line.startswith(" ")), None)
        if error is not None:
            return sentence("\n".join(after[error:]))
    return next((line.strip() for line in reversed(lines) if any(letter.isalnum() for letter in line)), "")
