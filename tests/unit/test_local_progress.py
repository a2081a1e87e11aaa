"""Progress lines: their numbers are right, and they do not flood a log."""

import io

import pytest

from local.progress import Progress, duration


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_has_count_percentage_rate_and_time_left() -> None:
    clock = Clock()
    progress = Progress("Drawing", 450, "photo", stream=io.StringIO(), clock=clock)
    clock.now += 2
    progress.done(90)
    assert progress.line() == "Drawing 90 of 450 photos (20 %), 45 photos/s, 8 s left"


@pytest.mark.parametrize(("total", "beginning"), [(1, "Drawing 1 of 1 photo (100 %)"), (None, "Drawing 1 photo")])
def test_a_count_of_one_is_in_the_singular(total: int | None, beginning: str) -> None:
    clock = Clock()
    progress = Progress("Drawing", total, "photo", stream=io.StringIO(), clock=clock)
    clock.now += 2
    progress.done(1)
    assert progress.line() == f"{beginning}, 0 photos/s"


def test_a_resumed_download_counts_earlier_bytes_but_not_in_its_rate() -> None:
    clock = Clock()
    progress = Progress("Downloading", 100_000_000, "B", already=40_000_000, stream=io.StringIO(), clock=clock)
    clock.now += 10
    progress.done(60_000_000)
    assert progress.line() == "Downloading 60.0 MB of 100.0 MB (60 %), 2.0 MB/s, 20 s left"


def test_a_line_without_a_total_has_no_percentage() -> None:
    clock = Clock()
    progress = Progress("Downloading", None, "B", stream=io.StringIO(), clock=clock)
    clock.now += 1
    progress.done(5_000_000)
    assert progress.line() == "Downloading 5.0 MB, 5.0 MB/s"


def test_a_log_gets_a_line_every_five_seconds_and_a_terminal_rewrites_one_line() -> None:
    clock = Clock()
    log, terminal = io.StringIO(), Terminal()
    with (
        Progress("Reading", 100, "photo", stream=log, clock=clock) as logged,
        Progress("Reading", 100, "photo", stream=terminal, clock=clock) as shown,
    ):
        for count in range(1, 101):
            clock.now += 0.11
            logged.done(count)
            shown.done(count)
    assert len(log.getvalue().splitlines()) == 2
    assert terminal.getvalue().count("\n") == 1
    assert "100 of 100 photos (100 %)" in terminal.getvalue().split("\r")[-1]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (11_400, "3 h 10 min")],
)
def test_durations_have_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
