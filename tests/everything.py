"""`python -m tests -p tests.everything --lane A,B --lane C` combines several pytest sessions into one report.

A lane is a list of make targets that run one after the other. Lanes run in parallel. Each target sends its test reports
through a pipe, and this session shows and counts them as its own. A target that fails without a failed test counts as
one failed test.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

REPORTED = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


class Lanes:
    """Runs the targets. Iterating yields (target, event) until all have ended. Leaving the block interrupts the rest.

    An event is a parsed line of pytest-reportlog, or Ended.
    """

    def __init__(self, lanes: list[list[str]], folder: Path, options: str) -> None:
        """Take the Makefile's folder, and additional pytest options for every target."""
        self._folder, self._options = folder, options
        self._events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False
        self._threads = [threading.Thread(target=self._follow, args=(lane,)) for lane in lanes]
        self._targets = sum(map(len, lanes))

    def __enter__(self) -> "Lanes":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):  # it ended a moment ago
                    os.killpg(process.pid, signal.SIGINT)  # lets pytest tear down its fixtures
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        left = self._targets
        while left:
            target, event = self._events.get()
            left -= isinstance(event, Ended)
            yield target, event

    def _follow(self, lane: list[str]) -> None:
        for target in lane:
            with tempfile.TemporaryFile() as output:
                self._make(target, output)

    def _make(self, target: str, output: Any) -> None:
        reading, writing = os.pipe()
        command = ["make", target, f"ARGS=--report-log=/dev/fd/{writing} {self._options}"]
        began = time.monotonic()
        with self._lock, open(writing, "wb"):
            if self._stopped:
                return
            process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                pass_fds=[writing], start_new_session=True,
            )  # fmt: skip
            self._running.add(process)
        with open(reading, encoding="utf-8") as reports:
            for line in reports:
                self._events.put((target, json.loads(line)))
        code = process.wait()
        with self._lock:
            self._running.remove(process)
        output.seek(0)
        self._events.put((target, Ended(code, time.monotonic() - began, output.read().decode(errors="replace"))))


class Ended:
    """A target's exit code, duration in seconds, and output."""

    def __init__(self, code: int, seconds: float, output: str) -> None:
        self.code, self.seconds, self.output = code, seconds, output


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --lane and --pass."""
    lanes = "make targets, one after the other: test/unit,test/mxnet"
    parser.addoption("--lane", action="append", default=[], help=lanes)
    parser.addoption("--pass", default="", help="additional pytest options for every target")


def pytest_collection() -> bool:
    """Collect nothing, because the targets' sessions do that."""
    return True


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run the lanes and treat every report as one of this session."""
    hook, config = session.config.hook, session.config
    terminal: TerminalReporter = config.pluginmanager.get_plugin("terminalreporter")
    counts: dict[str, Counter[str]] = {}
    exit_status: dict[str, int] = {}
    targets = [lane.split(",") for lane in config.getoption("lane")]
    with Lanes(targets, config.rootpath, config.getoption("pass")) as lanes:
        for target, event in lanes:
            count = counts.setdefault(target, Counter())
            if isinstance(event, Ended):
                # make exits with 2 on any failure. Failed tests have reports, and -k may leave a folder without tests.
                if event.code != 0 and exit_status.get(target) not in REPORTED:
                    hook.pytest_runtest_logreport(report=failure(target, event))
                counted = ", ".join(f"{number} {outcome}" for outcome, number in count.items())
                terminal.ensure_newline()
                terminal.write_line(f"make {target}: {counted or f'exit code {event.code}'} in {event.seconds:.0f} s")
            elif event["$report_type"] == "SessionFinish":
                exit_status[target] = event["exitstatus"]
            elif event["$report_type"] in ("TestReport", "CollectReport"):
                report = restored(config, event)
                if isinstance(report, pytest.TestReport):
                    count[report.outcome] += report.when == "call" or not report.passed
                    session.testscollected = sum(map(Counter.total, counts.values()))
                    hook.pytest_runtest_logreport(report=report)
                elif report.failed:
                    count["not collected"] += 1
                    hook.pytest_collectreport(report=report)
    return True


def restored(config: pytest.Config, data: dict[str, Any]) -> pytest.TestReport | pytest.CollectReport:
    """Return the report in a line of pytest-reportlog."""
    data.pop("node", None)  # the name of pytest-xdist's worker
    report = config.hook.pytest_report_from_serializable(config=config, data=data)
    if isinstance(report.longrepr, list):  # file, line and reason of a skip, which was a tuple
        report.longrepr = tuple(report.longrepr)
    return report


def failure(target: str, ended: Ended) -> pytest.TestReport:
    """Return the report of a target that failed without a failed test. It shows the end of the output."""
    return pytest.TestReport(
        nodeid=f"make {target}",
        location=("Makefile", None, target),
        keywords={},
        outcome="failed",
        longrepr=f"make {target} ended with {ended.code}\n" + ended.output[-20_000:],
        when="call",
        duration=ended.seconds,
    )
