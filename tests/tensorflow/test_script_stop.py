"""Script mode with the real `train`: the script handles SIGTERM and Ctrl-C."""

import signal
from pathlib import Path

import pytest

from tests import scripts

SAVES_ON_STOP = """
import os, signal, sys
def save(number, frame):
    open(os.path.join(os.environ["SM_MODEL_DIR"], "saved"), "w").write("half way")
    sys.exit(CODE)
signal.signal(signal.SIGTERM, save)
print("waiting")
signal.pause()
"""


@pytest.mark.parametrize("code", [0, 4])
def test_a_script_can_save_on_sigterm_and_choose_the_exit_code(code: int, tmp_path: Path) -> None:
    base = scripts.prepare(tmp_path, {"train.py": SAVES_ON_STOP.replace("CODE", str(code))})
    done = scripts.run(base, until="waiting")
    assert (done.code, (done.model / "saved").read_text()) == (code, "half way")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_script_that_dies_from_the_stop_signal_counts_as_stopped_and_not_failed(number: int, tmp_path: Path) -> None:
    files = {"train.py": "import signal\nprint('waiting')\nsignal.pause()\n"}
    done = scripts.run(scripts.prepare(tmp_path, files), until="waiting", number=number)
    assert (done.code, done.failure) == (0, "")
    assert f"Stopped; the files that the script saved in {done.model} are kept" in done.log


def test_sigterm_reaches_the_processes_of_a_shell_script(tmp_path: Path) -> None:
    files = {"train.py": SAVES_ON_STOP.replace("CODE", "0"), "go.sh": "#!/bin/sh\npython3 train.py\necho ended $?\n"}
    done = scripts.run(scripts.prepare(tmp_path, files, "go.sh"), until="waiting")
    assert (done.code, (done.model / "saved").read_text()) == (0, "half way")
