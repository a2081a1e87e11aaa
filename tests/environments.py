"""Runs a function of a test module in another environment: a framework's, which the tests' own cannot hold."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

_CALL = """
import importlib, json, sys
module, function, arguments, answer = sys.argv[1:]
result = getattr(importlib.import_module(module), function)(*json.loads(arguments))
open(answer, "w").write(json.dumps(result))
"""


def python(environment: str) -> Path:
    """The interpreter of .venvs/`environment`. FileNotFoundError when it is not made."""
    path = REPOSITORY / ".venvs" / environment / "bin" / "python"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: run `make envs`")
    return path


def live_in(home: Path, patch: "pytest.MonkeyPatch", access_key: str | None) -> None:
    """Make `home` the home folder and hide what this machine says of AWS.

    With an `access_key` there are a region and made-up credentials, with None there is neither.
    """
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEMAKER_", "XDG_"))]:
        patch.delenv(name)
    patch.setenv("HOME", str(home))
    if access_key is not None:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", access_key)


def run_in(environment: str, function: Callable[..., Any], *args: Any, timeout: float = 300) -> Any:
    """Call a module-level function in .venvs/`environment` and return what it returns.

    Arguments and result travel as JSON; a Path among the arguments arrives as str. The function's module is imported
    there, so it must not import pytest at its top. An exception, or `timeout` seconds, fails the test with what the
    function wrote.
    """
    import pytest

    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        command = [python(environment), "-c", _CALL, function.__module__, function.__name__]
        try:
            done = subprocess.run(
                [*command, json.dumps(args, default=os.fspath), answer],
                cwd=REPOSITORY,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                timeout=timeout,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            written = (late.stdout or b"").decode(errors="replace")
            pytest.fail(
                f"{function.__name__} did not end in {timeout:.0f} s in {environment}\n{written}", pytrace=False
            )
        if done.returncode != 0:
            pytest.fail(
                f"{function.__name__} failed in {environment} ({done.returncode})\n{done.stdout}", pytrace=False
            )
        print(done.stdout, end="")
        return json.loads(answer.read_text())
