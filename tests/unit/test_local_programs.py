"""Starting, awaiting and stopping programs, with real processes that behave and misbehave."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local import ROOT
from local.errors import UserError
from local.sagemaker import opt_ml, programs

SERVER = """
import http.server, os, pathlib, signal, sys
pings = iter([503, 503])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(next(pings, 200)); self.end_headers()
    def log_message(self, *_): pass
def stop(*_):
    pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "stopped").touch(); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""
STUBBORN = """
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "child").write_text(str(child.pid))
time.sleep(600)
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "ml"
    folder.mkdir()
    return folder


def environment(tmp_path: Path, name: str, program: str) -> Path:
    """Create a folder of environments in which the interpreter of `name` always runs `program`."""
    python = tmp_path / "envs" / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{sys.executable}\n{program}")
    python.chmod(0o755)
    return tmp_path / "envs"


def has_ended(pid: int) -> bool:
    """Return whether the process has ended. A zombie has ended."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def test_the_server_is_ready_when_ping_returns_200_and_is_stopped_with_sigterm(base: Path, tmp_path: Path) -> None:
    envs = environment(tmp_path, "serve", SERVER)
    with programs.server(base, tmp_path / "log", envs) as port:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/ping")
            assert connection.getresponse().status == 200
        assert not (base / "stopped").exists()
    assert (base / "stopped").exists()
    assert (tmp_path / "log").read_text() == "listening\n"


def test_the_server_is_stopped_if_the_block_is_interrupted(base: Path, tmp_path: Path) -> None:
    envs = environment(tmp_path, "serve", SERVER)
    with pytest.raises(KeyboardInterrupt), programs.server(base, tmp_path / "log", envs):
        raise KeyboardInterrupt
    assert (base / "stopped").exists()


def test_a_server_that_exits_early_fails_at_once_with_its_last_output(base: Path, tmp_path: Path) -> None:
    envs = environment(tmp_path, "serve", "import sys; print('model.json is missing', file=sys.stderr); sys.exit(3)")
    start = time.monotonic()
    with pytest.raises(programs.ProgramError) as caught, programs.server(base, tmp_path / "log", envs):
        pytest.fail("the server is reported as ready")
    assert "serve exited with code 3 before it was ready" in str(caught.value)
    assert "model.json is missing" in str(caught.value)
    assert time.monotonic() - start < programs.READY_SECONDS / 4


def test_a_server_that_never_responds_is_killed_with_its_children(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "SERVE_GRACE", 0.3)
    envs = environment(tmp_path, "serve", STUBBORN)
    with (
        pytest.raises(programs.ProgramError, match="did not return 200 for /ping within 2 s"),
        programs.server(base, tmp_path / "log", envs, ready_seconds=2),
    ):
        pytest.fail("the server is reported as ready")
    child = int((base / "child").read_text())
    end = time.monotonic() + 10
    while not has_ended(child):
        assert time.monotonic() < end, "the child is still running"


def test_failed_training_is_reported_with_its_failure_file(base: Path, tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "folder = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], 'output'); folder.mkdir()\n"
        "(folder / 'failure').write_text('ClientError: num_classes=0 is too small'); sys.exit(2)"
    )
    with pytest.raises(programs.ProgramError) as caught:
        programs.train(base, "image-classification", environment(tmp_path, "mxnet", program))
    assert str(caught.value) == "train failed with exit code 2: ClientError: num_classes=0 is too small"


def test_programs_get_the_environment_variables_of_sagemaker_and_our_code(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import json, os, pathlib\n"
        "names = ('SAGEMAKER_BASE_DIR', 'VISION_ALGORITHM', 'PYTHONPATH')\n"
        "path = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], 'seen.json')\n"
        "path.write_text(json.dumps([os.environ[name] for name in names] + [os.getcwd()]))"
    )
    envs = environment(tmp_path, "mxnet", program)
    monkeypatch.chdir(tmp_path)  # programs run elsewhere, so relative paths must be made absolute
    programs.train(base.relative_to(tmp_path), "image-classification", envs.relative_to(tmp_path))
    root = str(ROOT)
    assert json.loads((base / "seen.json").read_text()) == [str(base), "image-classification", root, root]


def test_a_missing_environment_is_reported_with_the_command_that_makes_it(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mxnet/bin/python does not exist: create the environments with `make envs`"):
        programs.train(base, "image-classification", tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_stops_the_training_it_started(
    tmp_path: Path, drawn: Path, number: signal.Signals, code: int
) -> None:
    program = (
        "import os, pathlib, signal, sys, time\n"
        "base = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'])\n"
        "signal.signal(signal.SIGTERM, lambda *_: ((base / 'stopped').touch(), sys.exit(0)))\n"
        "print('training', flush=True)\n"
        "time.sleep(600)"
    )
    envs = environment(tmp_path, "mxnet", program)
    command = [sys.executable, "-c", "import sys; from local.__main__ import main; sys.exit(main(sys.argv[1:]))"]
    options = ["demo", "image-classification", "--data", drawn, "--out", tmp_path / "out", "--envs", envs]
    with subprocess.Popen(
        [*command, *map(str, options)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line == "training\n":
                break
        demo.send_signal(number)
        demo.communicate(timeout=30)
    assert demo.returncode == code
    assert (tmp_path / "out" / "opt" / "ml" / "stopped").exists()


def test_opt_ml_has_the_layout_of_the_sdks_local_mode(tmp_path: Path) -> None:
    channel = tmp_path / "channels" / "train"
    channel.mkdir(parents=True)
    (channel / "a.jpg").write_bytes(b"a")
    base = tmp_path / "opt" / "ml"
    opt_ml.lay_out(base, {"train": channel}, {"epochs": 3, "image_shape": "3,64,64"})
    config = {file.stem: json.loads(file.read_text()) for file in (base / "input" / "config").iterdir()}
    assert config == {
        "hyperparameters": {"epochs": "3", "image_shape": "3,64,64"},
        "inputdataconfig": {"train": {"TrainingInputMode": "File", "ContentType": "application/x-image"}},
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"},
    }
    assert (base / "input" / "data" / "train" / "a.jpg").read_bytes() == b"a"
    assert (base / "model").is_dir()
    assert (base / "output").is_dir()
