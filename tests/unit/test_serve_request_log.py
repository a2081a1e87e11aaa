"""The request log: which requests are written, and what a line says of one."""

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
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def answered(status: int, reason: str = "", path: str = "/invocations", method: str = "POST") -> Trace:
    trace = Trace(method, path, "id-1")
    trace.status, trace.reason = status, reason
    return trace


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> Callable[[logging.Formatter], list[str]]:
    """`written(formatter)`: the lines so far, as the formatter has them."""
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
def test_which_requests_are_written_is_a_setting_and_a_ping_is_only_where_it_is_refused(
    caplog: pytest.LogCaptureFixture, which: str, lines: list[str]
) -> None:
    caplog.set_level(logging.INFO)
    log = RequestLog(which)
    for trace in (
        answered(200),
        answered(400, "bad"),
        answered(200, path="/ping", method="GET"),
        answered(200, path="/metrics", method="GET"),
        answered(503, "loading", "/ping", "GET"),
        answered(408, "late", "", ""),
    ):
        log.write(trace)
    assert [record.getMessage() for record in caplog.records] == lines
    refused = [record.levelno for record in caplog.records if not record.getMessage().startswith("200")]
    assert set(refused) <= {logging.WARNING}


def test_a_full_server_is_a_line_in_so_many_seconds_that_counts_the_others(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = RequestLog(ERRORS, clock)
    for _ in range(1000):
        log.write(answered(503, "The server is busy."))
        clock.now += 2.5 * SILENT_SECONDS / 1000
    log.write(answered(415, "no image"))
    assert [record.getMessage() for record in caplog.records] == [
        "503 POST /invocations: The server is busy.",
        "503 POST /invocations: The server is busy. (399 more since the last such line)",
        "503 POST /invocations: The server is busy. (399 more since the last such line)",
        "415 POST /invocations: no image",
    ]


def test_every_503_is_a_line_where_all_requests_are_written(caplog: pytest.LogCaptureFixture) -> None:
    log = RequestLog(ALL, Clock())
    for _ in range(10):
        log.write(answered(503, "The server is busy."))
    assert len(caplog.records) == 10


def test_a_line_of_text_has_the_fields_in_brackets_behind_the_reason(
    written: Callable[[logging.Formatter], list[str]],
) -> None:
    trace = answered(503, "The server is busy.")
    trace.model, trace.received, trace.sent, trace.unavailable, trace.seconds = "pets", 7, 95, "busy", 0.0125
    trace.add(QUEUE, 0.001)
    trace.add(DECODE, 0.002)
    trace.add(DECODE, 0.003)
    RequestLog(ERRORS).write(trace)
    assert written(TextFormatter("%(levelname)s %(message)s")) == [
        "WARNING 503 POST /invocations: The server is busy. "
        "[id=id-1 model=pets unavailable=busy bytes_in=7 bytes_out=95 ms=12.5 queue_ms=1.0 decode_ms=5.0]"
    ]


def test_a_line_of_json_has_every_field(written: Callable[[logging.Formatter], list[str]]) -> None:
    trace = answered(200)
    trace.model, trace.received, trace.sent, trace.seconds = "pets", 7, 95, 0.0125
    trace.add(MODEL, 0.0101)
    RequestLog(ALL).write(trace)
    [line] = map(json.loads, written(JsonFormatter()))
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
def test_a_line_stays_one_printable_line_and_short_whatever_a_client_sends(
    written: Callable[[logging.Formatter], list[str]], formatter: logging.Formatter
) -> None:
    trace = Trace("GET" + FORGED, "/a" + FORGED + "b" * 5000, FORGED)
    trace.status, trace.reason = 404, FORGED + "c" * 5000
    RequestLog(ERRORS).write(trace)
    [line] = written(formatter)
    assert line.isprintable()
    assert len(line) < 3000


def test_an_id_cannot_pass_for_another_field(written: Callable[[logging.Formatter], list[str]]) -> None:
    trace = Trace("GET", "/", 'a model=other" ')
    trace.status = 404
    RequestLog(ERRORS).write(trace)
    [line] = written(TextFormatter("%(message)s"))
    assert line.startswith('404 GET / [id="a model=other\\" " bytes_in=0')


def test_an_exception_is_a_field_of_a_line_of_json(written: Callable[[logging.Formatter], list[str]]) -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        logging.getLogger("serve").exception("failed: %s", FORGED)
    [line] = written(JsonFormatter())
    assert line.isprintable()
    found = json.loads(line)
    assert found["message"].startswith(r"failed: x\r\n2030")
    assert found["traceback"].splitlines()[0] == "| Traceback (most recent call last):"
    assert all(one.startswith("| ") for one in found["traceback"].splitlines())
