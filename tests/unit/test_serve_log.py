"""The log: each record is one short line, whatever text it holds."""

import subprocess
import sys

from serve.http import log

FORGED = "x\r\n2030-01-01 INFO forged\x1b[2J\u202e\ud800"

_PROGRAM = """
import logging, sys, warnings
from serve.http import log
log.install()
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
forged = sys.argv[1].encode().decode("unicode_escape")
logging.getLogger("gunicorn.error").warning("from ip=%s: %s", "127.0.0.1", forged)
warnings.warn("about " + forged, stacklevel=1)
logging.warning("y" * 100_000)
try:
    raise ValueError(forged)
except ValueError:
    logging.exception("failed: %s", forged)
"""


def test_unprintable_characters_are_escaped_and_long_text_is_cut() -> None:
    assert log.printable("plain, \u00e9\u4e2d") == "plain, \u00e9\u4e2d"
    assert log.printable(FORGED) == "x\\r\\n2030-01-01 INFO forged\\x1b[2J\\u202e\\ud800"
    assert log.printable("abcdef", 3) == "abc..."
    assert len(log.printable("\n" * 100_000)) <= 2 * log.MAX_MESSAGE + 3


def test_every_logger_and_warning_writes_one_short_line_and_a_traceback_cannot_forge_another() -> None:
    forged = FORGED.encode("unicode_escape").decode()
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, forged], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines[:4]] == ["WARNING", "WARNING", "WARNING", "ERROR"]
    assert lines[0] == f"WARNING from ip=127.0.0.1: {forged}"
    assert f"UserWarning: about {forged}" in lines[1]
    assert lines[2] == f"WARNING {'y' * log.MAX_MESSAGE}..."
    assert lines[4] == "| Traceback (most recent call last):"
    assert "| ValueError: x" in lines
    assert all(line.startswith("| ") and line.isprintable() for line in lines[4:])
