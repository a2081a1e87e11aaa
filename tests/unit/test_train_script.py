"""Script mode: the reason found in a failed program's output, and stop requests while a program runs."""

import signal
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.job import script, stop


def trace(error: BaseException) -> str:
    """Return the traceback that Python writes for the error."""
    try:
        raise error
    except type(error):
        return traceback.format_exc()


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (trace(ValueError("no photos")), "ValueError: no photos"),
        ("epoch 1\n" + trace(KeyError("cat")) + "\nW0000 a library's farewell", "KeyError: 'cat'"),
        (trace(ValueError("first line\nsecond line")), "ValueError: first line"),
        (trace(KeyError(1)) + "\nDuring handling of the above exception, another exception occurred:\n\n"
         + trace(OSError("disk")), "OSError: disk"),
        (
            "Traceback (most recent call last):\n  File\ntensorflow.InvalidArgumentError: Graph execution error:\n\n"
            'Detected at node Reshape defined at (most recent call last):\n  File "t.py", line 4, in f\n\n'
            "Input to reshape is a tensor with 3 values, but the requested shape has 4\n"
            "\t [[{{node Reshape}}]] [Op:__inference_f_10]",
            "tensorflow.InvalidArgumentError: Graph execution error: Input to reshape is a tensor with 3 values, but "
            "the requested shape has 4",
        ),
        ("train.py: error: unrecognized arguments: --x", "train.py: error: unrecognized arguments: --x"),
        ("ERROR\n  -----\n\n", "ERROR"),
        ("Traceback (most recent call last):\n  File", "File"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_line_that_says_why_a_program_failed_is_found(output: str, line: str) -> None:
    assert script.error_line(output) == line


@given(st.text(max_size=400))
def test_the_reason_is_always_a_line_of_the_programs_output_or_empty(output: str) -> None:
    line = script.error_line(output)
    assert line == "" or any(line in output_line for output_line in output.splitlines())


def test_a_programs_whole_output_is_passed_on_and_only_its_end_is_kept(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    text = "import sys\nsys.stderr.write('\\rprogress' * 5000 + '\\xe9nd')\nsys.exit(5)\n"
    code, output = script.execute([sys.executable, "-c", text], tmp_path, {"PYTHONIOENCODING": "latin-1"})
    assert code == 5
    assert capfdbinary.readouterr().err == b"\rprogress" * 5000 + b"\xe9nd"
    assert len(output) <= 8192
    assert output.endswith("progress\ufffdnd")


def test_a_stop_request_inside_the_block_is_forwarded_and_remembered(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stop, "_state", {"requested": False, "keeping": False})
    before, forwarded = signal.getsignal(signal.SIGTERM), []
    signal.signal(signal.SIGTERM, stop._handle)
    try:
        with stop.forwarded_to(forwarded.append):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (forwarded, stop.requested()) == ([signal.SIGTERM], True)
    assert "SIGTERM received): forwarding it to the running process" in capfd.readouterr().out
