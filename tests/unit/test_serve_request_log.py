"""The request log: which requests are logged, and what a line holds."""

import json
import logging
import os
from collections.abc import Callable

import pytest

from serve.http.log import JsonFormatter, Record, TextFormatter
from serve.settings import ALL, ERRORS, NONE
from serve.telemetry.request_log import SILENT_SECONDS, RequestLog
from serve.telemetry.trace import DECODE, MODEL, QUEUE, Trace

FORGED = "x\r\n2030-01-01 INFO forged\x1b[2J\u202e"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_trace(status: int, reason: str = "", path: str = "/invocations", method: str = "POST") -> Trace:
    trace = Trace(method, path, "id-1")
    trace.status, trace.reason = status, reason
    return trace


@pytest.fixture
def lines_of(caplog: pytest.LogCaptureFixture) -> Callable[[logging.Formatter], list[str]]:
    """`lines_of(formatter)` returns the lines logged so far, as this formatter writes them."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Record)
    caplog.set_level(logging.INFO)
    yield lambda formatter: [formatter.format(record) for record in caplog.records]
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize(
    ("which", "lines"),
    [
        (ERRORS, ["400 POST /invocations: bad", "503 GET /ping: loading", "408: late"]),
        (ALL, ["200 POST /invocations", "400 POST /invocations: bad", "503 GET /ping: loading", "408: late"]),
        (NONE, []),
    ],
)
def test_the_setting_decides_which_requests_are_logged_and_pings_are_logged_only_if_rejected(
    caplog: pytest.LogCaptureFixture, which: str, lines: list[str]
) -> None:
    caplog.set_level(logging.INFO)
    log = RequestLog(which)
    for trace in (
        make_trace(200),
        make_trace(400, "bad"),
        make_trace(200, path="/ping", method="GET"),
        make_trace(200, path="/metrics", method="GET"),
        make_trace(503, "loading", "/ping", "GET"),
        make_trace(408, "late", "", ""),
    ):
        log.write(trace)
    assert [record.getMessage() for record in caplog.records] == lines
    refused = [record.levelno for record in caplog.records if not record.getMessage().startswith("200")]
    assert set(refused) <= {logging.WARNING}


def test_a_busy_server_logs_one_line_per_interval_with_a_count_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = RequestLog(ERRORS, clock)
    for _ in range(1000):
        log.write(make_trace(503, "The server is busy."))
        clock.now += 2.5 * SILENT_SECONDS / 1000
    log.write(make_trace(415, "no image"))
    assert [record.getMessage() for record in caplog.records] == [
        "503 POST /invocations: The server is busy.",
        "503 POST /invocations: The server is busy. (399 more since the last such line)",
        "503 POST /invocations: The server is busy. (399 more since the last such line)",
        "415 POST /invocations: no image",
    ]


def test_every_503_is_logged_if_all_requests_are(caplog: pytest.LogCaptureFixture) -> None:
    log = RequestLog(ALL, Clock())
    for _ in range(10):
        log.write(make_trace(503, "The server is busy."))
    assert len(caplog.records) == 10


def test_a_text_line_holds_the_fields_in_brackets_after_the_reason(
    lines_of: Callable[[logging.Formatter], list[str]],
) -> None:
    trace = make_trace(503, "The server is busy.")
    trace.model, trace.received, trace.sent, trace.unavailable, trace.seconds = "pets", 7, 95, "busy", 0.0125
    trace.add(QUEUE, 0.001)
    trace.add(DECODE, 0.002)
    trace.add(DECODE, 0.003)
    RequestLog(ERRORS).write(trace)
    assert lines_of(TextFormatter("%(levelname)s %(message)s")) == [
        "WARNING 503 POST /invocations: The server is busy. "
        "[id=id-1 model=pets unavailable=busy bytes_in=7 bytes_out=95 ms=12.5 queue_ms=1.0 decode_ms=5.0]"
    ]


def test_a_json_line_holds_every_field(lines_of: Callable[[logging.Formatter], list[str]]) -> None:
    trace = make_trace(200)
    trace.model, trace.received, trace.sent, trace.seconds = "pets", 7, 95, 0.0125
    trace.add(MODEL, 0.0101)
    RequestLog(ALL).write(trace)
    [line] = map(json.loads, lines_of(JsonFormatter()))
    assert line.pop("time").endswith("+00:00")
    assert line.pop("process") == os.getpid()
    assert line == {
        "level": "INFO",
        "message": "200 POST /invocations",
        "id": "id-1",
        "model": "pets",
        "method": "POST",
        "path": "/invocations",
        "status": 200,
        "reason": "",
        "unavailable": "",
        "bytes_in": 7,
        "bytes_out": 95,
        "ms": 12.5,
        "model_ms": 10.1,
    }


@pytest.mark.parametrize("formatter", [TextFormatter("%(message)s"), JsonFormatter()])
def test_a_line_is_short_and_printable_whatever_a_client_sends(
    lines_of: Callable[[logging.Formatter], list[str]], formatter: logging.Formatter
) -> None:
    trace = Trace("GET" + FORGED, "/a" + FORGED + "b" * 5000, FORGED)
    trace.status, trace.reason = 404, FORGED + "c" * 5000
    RequestLog(ERRORS).write(trace)
    [line] = lines_of(formatter)
    assert line.isprintable()
    assert len(line) < 3000


def test_an_id_cannot_imitate_another_field(lines_of: Callable[[logging.Formatter], list[str]]) -> None:
    trace = Trace("GET", "/", 'a model=other" ')
    trace.status = 404
    RequestLog(ERRORS).write(trace)
    [line] = lines_of(TextFormatter("%(message)s"))
    assert line.startswith('404 GET / [id="a model=other\\" " bytes_in=0')


def test_an_exception_is_a_field_of_a_json_line(lines_of: Callable[[logging.Formatter], list[str]]) -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        logging.getLogger("serve").exception("failed: %s", FORGED)
    [line] = lines_of(JsonFormatter())
    assert line.isprintable()
    document = json.loads(line)
    assert document["message"].startswith(r"failed: x\r\n2030")
    assert document["traceback"].splitlines()[0] == "| Traceback (most recent call last):"
    assert all(traced.startswith("| ") for traced in document["traceback"].splitlines())
